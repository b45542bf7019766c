/** One edge over HTTP, as any client without the package speaks to it. */

import type { Edge } from "./place.ts";

/** A reply as JSON has it. */
export type JsonReply = null | string | number | readonly JsonReply[];

/** What an edge answers to a command: a reply, or an error in Redis' words. */
export type Answer =
  | { readonly result: JsonReply; readonly isProvisional: boolean; readonly error?: undefined }
  | { readonly error: string };

/** The same as it travels. */
interface JsonAnswer {
  readonly result?: JsonReply;
  readonly error?: string;
}

/** A check for `POST /v1/limit`; docs/limits.md says what each field means. */
export interface Check {
  readonly key: string;
  readonly algorithm: string;
  readonly limit: number;
  readonly window_ms: number;
}

/** How safe a count must be before it is answered; docs/durability.md says what each means. */
export type Durability = "hub" | "leaf";

/** What is answered to it. */
export interface Decision {
  readonly allowed: boolean;
  readonly remaining?: number;
  readonly staleness?: number | null;
  readonly over_admit_max?: number | "unbounded";
  readonly over_admit_expected?: number;
  /** Where nothing could be decided. */
  readonly error?: string;
}

/** What an edge says of itself, as far as the page shows it. */
export interface EdgeStatus {
  readonly pending: number;
  readonly unstable: number;
  readonly origin_connected: boolean;
}

/** For how long an edge may be silent: it may ask the origin for a key, which takes up to five seconds. */
const TIMEOUT_MS = 8_000;

export class EdgeClient {
  readonly name: string;
  readonly #url: string;
  readonly #token: string;

  constructor({ name, url }: Edge, token: string) {
    this.name = name;
    this.#url = url;
    this.#token = token;
  }

  /** Runs one command. Never throws: what goes wrong is the answer. */
  async run(words: readonly string[]): Promise<Answer> {
    const [answer = { error: "nothing was answered" }] = await this.#commands("/", words);
    return answer;
  }

  /** Runs several commands in one step that no other request comes between. */
  transaction(commands: readonly (readonly string[])[]): Promise<readonly Answer[]> {
    return this.#commands("/multi-exec", commands);
  }

  /** Runs several commands, each by itself. */
  pipeline(commands: readonly (readonly string[])[]): Promise<readonly Answer[]> {
    return this.#commands("/pipeline", commands);
  }

  /** Decides on one request and counts it if it is allowed. */
  async limit(check: Check, durability: Durability): Promise<Decision> {
    try {
      const answer = await this.#fetch("/v1/limit", check, { "headwater-durability": durability });
      return (await answer.json()) as Decision;
    } catch (cause) {
      return { allowed: false, error: this.#unreachable(cause) };
    }
  }

  /** How the edge is; nothing where it does not say. */
  async status(): Promise<EdgeStatus | undefined> {
    try {
      const answer = await this.#fetch("/v1/status");
      return answer.ok ? ((await answer.json()) as EdgeStatus) : undefined;
    } catch {
      return undefined;
    }
  }

  async #commands(path: string, body: unknown): Promise<readonly Answer[]> {
    try {
      const response = await this.#fetch(path, body);
      const isProvisional = response.headers.has("headwater-provisional");
      const json = (await response.json()) as JsonAnswer | JsonAnswer[];
      // A request that is refused whole has one error, whatever it asked for.
      const answers = Array.isArray(json) ? json : [json];
      return answers.map(({ result = null, error }) => (error === undefined ? { result, isProvisional } : { error }));
    } catch (cause) {
      return [{ error: this.#unreachable(cause) }];
    }
  }

  #fetch(path: string, body?: unknown, more: Readonly<Record<string, string>> = {}): Promise<Response> {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    if (body === undefined) return fetch(this.#url + path, { signal });
    const headers = { authorization: `Bearer ${this.#token}`, "content-type": "application/json", ...more };
    return fetch(this.#url + path, { method: "POST", headers, body: JSON.stringify(body), signal });
  }

  #unreachable(cause: unknown): string {
    return `${this.name} cannot be reached (${cause instanceof Error ? cause.message : String(cause)})`;
  }
}
