/**
 * Sessions: hashes with a deadline, made, touched, rotated and revoked by ordinary commands at an edge of choice, and how long
 * each edge gives them.
 */

import { offerEdges } from "./choices.ts";
import type { Answer, EdgeClient } from "./edge.ts";
import { element, made } from "./element.ts";
import { Log } from "./log.ts";
import type { Page } from "./views.ts";

/** Between two looks at every edge. */
const LOOK_MS = 1_000;
/** Older ones are no longer shown; they end by themselves. */
const SHOWN_MAX = 6;

/** What TTL says of a key that is not there. */
const TTL_GONE = -2;

export class Sessions implements Page {
  readonly #edges: readonly EdgeClient[];
  readonly #chosen: () => readonly EdgeClient[];
  readonly #list = element("session-list", HTMLUListElement);
  readonly #form = element("session-form", HTMLFormElement);
  readonly #log = new Log(element("session-log", HTMLElement));
  #rows: readonly Row[] = [];
  #looking: ReturnType<typeof setInterval> | undefined;

  constructor(edges: readonly EdgeClient[]) {
    this.#edges = edges;
    this.#chosen = offerEdges("session-edges", "radio", edges);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#create(String(new FormData(this.#form).get("user")));
    });
  }

  shown(): void {
    this.#looking = setInterval(() => void this.#look(), LOOK_MS);
  }

  hidden(): void {
    clearInterval(this.#looking);
  }

  async #create(user: string): Promise<void> {
    const key = newKey();
    const answers = await this.#run([
      ["HSET", key, "user", user, "since", new Date().toISOString()],
      ["EXPIRE", key, this.#ttl],
    ]);
    if (answers.some(({ error }) => error !== undefined)) return;
    const row = new Row(user, key, this.#edges, {
      touch: () => void this.#run([["EXPIRE", row.key, this.#ttl]]).then(() => this.#look()),
      rotate: () => void this.#rotate(row),
      revoke: () => void this.#run([["DEL", row.key]]).then(() => this.#look()),
    });
    this.#rows = [row, ...this.#rows].slice(0, SHOWN_MAX);
    this.#list.replaceChildren(...this.#rows.map(({ line }) => line));
    await this.#look();
  }

  /** The same session under another name, so that whoever knows the old one has nothing. */
  async #rotate(row: Row): Promise<void> {
    const key = newKey();
    const [answer] = await this.#run([["RENAME", row.key, key]]);
    if (answer && answer.error === undefined) row.key = key;
    await this.#look();
  }

  /** Runs these at the chosen edge, as one step where they are several. */
  async #run(commands: readonly (readonly string[])[]): Promise<readonly Answer[]> {
    const [edge] = this.#chosen();
    if (!edge) return [];
    const answered = commands.map((words) => this.#log.ran(edge.name, words.map(quoted).join(" ")));
    const answers = commands.length === 1 ? [await edge.run(commands[0] ?? [])] : await edge.transaction(commands);
    // A transaction that is refused whole has one error for all.
    answered.forEach((show, index) => show(answers[index] ?? answers[0] ?? { error: "nothing was answered" }));
    return answers;
  }

  /** Asks every edge how long the sessions live. */
  async #look(): Promise<void> {
    const rows = this.#rows;
    if (rows.length === 0) return;
    await Promise.all(
      this.#edges.map(async (edge, index) => {
        const answers = await edge.pipeline(rows.map(({ key }) => ["TTL", key]));
        rows.forEach((row, at) => row.show(index, answers[at] ?? answers[0]));
      }),
    );
  }

  get #ttl(): string {
    return String(new FormData(this.#form).get("ttl"));
  }
}

/** One session: its name, what each edge says of it, and what can be done to it. */
class Row {
  readonly line = made("li", "session");
  readonly #name = made("code", "");
  readonly #states: readonly HTMLElement[];
  #key: string;

  constructor(user: string, key: string, edges: readonly EdgeClient[], acts: Readonly<Record<string, () => void>>) {
    this.#key = key;
    this.#name.textContent = key;
    const title = made("p", "session-name");
    title.append(made("b", "", user), " ", this.#name);
    const states = made("dl", "session-states");
    this.#states = edges.map(({ name }) => {
      const state = made("dd", "", "…");
      const pair = made("div", "");
      pair.append(made("dt", "", name), state);
      states.append(pair);
      return state;
    });
    const buttons = Object.entries(acts).map(([name, act]) => {
      const button = made("button", "secondary", name[0]?.toUpperCase() + name.slice(1));
      button.type = "button";
      button.setAttribute("aria-label", `${button.textContent} the session of ${user}`);
      button.addEventListener("click", act);
      return button;
    });
    const bar = made("div", "session-acts");
    bar.append(...buttons);
    this.line.append(title, states, bar);
  }

  get key(): string {
    return this.#key;
  }

  set key(key: string) {
    this.#key = key;
    this.#name.textContent = key;
  }

  /** What the edge of this number says. */
  show(edge: number, answer: Answer | undefined): void {
    const state = this.#states[edge];
    if (!state || !answer) return;
    const isError = answer.error !== undefined;
    const seconds = isError ? undefined : Number(answer.result);
    state.className = isError ? "unknown" : seconds === TTL_GONE ? "gone" : "lives";
    state.textContent = isError ? "unknown" : seconds === TTL_GONE ? "gone" : `${seconds} s`;
    state.title = isError ? answer.error : "";
  }
}

/** A name that nobody guesses. */
function newKey(): string {
  return `session:${crypto.randomUUID().slice(0, 18)}`;
}

function quoted(word: string): string {
  return /^[^\s"']+$/.test(word) ? word : JSON.stringify(word);
}
