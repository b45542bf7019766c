/**
 * The link to one edge: a socket, dialled, redialled with jittered backoff, cut and restored; where sockets are blocked,
 * requests in its place until a socket works again.
 *
 * Invariant: at most one connection is in use, and `closed` is called exactly once for each `opened`. What the frames mean
 * is not known here.
 */

import { Socket, type Connection, type ConnectionEvents, type Transport } from "./connection.ts";
import { Polling } from "./polling.ts";

/**
 * Why there is no connection, as far as a browser can tell: no answer, the token was not accepted, or what came was not
 * understood, as between different versions.
 */
export type Problem = "unreachable" | "denied" | "misunderstood";

/** What an edge asks of its clients: a token, or what gives the one that holds now, asked before each dialling. */
export type Token = string | (() => string | Promise<string>);

/** What the link tells its owner. */
export interface LinkEvents {
  opened(): void;
  received(frames: Uint8Array): void;
  closed(): void;
  /** `url`, `isCut`, `problem`, `transport` or `retryAt` may have changed. */
  changed(): void;
}

/** The first pause before redialling is up to this, and doubles from there. */
const PAUSE_MS_FIRST = 250;
/** No pause is longer: a page should be back soon after its edge is. */
const PAUSE_MS_MAX = 15_000;
/** A connection that has lasted this long was a good one: what ends it is a first failure. */
const STEADY_MS = 3_000;
/** An edge that owes an answer and is silent for this long is taken to be gone; TCP alone would take minutes. */
const SILENCE_MS_MAX = 10_000;
/** An edge that has said nothing for this long is asked whether it is there; proxies end a connection after a minute. */
const HEARTBEAT_MS = 25_000;
/** Sockets that fail one after the other at an edge that answers requests: they are blocked. */
const BLOCKED_SOCKETS = 2;
/** The status of an edge that takes the token and waits for a socket. */
const UPGRADE_REQUIRED = 426;
/** While they are, whether they still are is tried after up to this. */
const PROBE_MS_MAX = 60_000;

export class Link {
  readonly #events: LinkEvents;
  readonly #token: Token;
  #url: URL;
  #connection: Connection | undefined;
  #isOpen = false;
  /** The last dialling that waits for a token. */
  #dialling: symbol | undefined;
  /** The token of the last connection. */
  #lastToken = "";
  #attempts = 0;
  #welcomedAt: number | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: ReturnType<typeof setTimeout> | undefined;
  /** Sockets that failed one after the other though the edge answers requests. */
  #failedSockets = 0;
  #probe: Socket | undefined;
  #probing: ReturnType<typeof setTimeout> | undefined;
  #isCut = false;
  #isEnded = false;
  #problem: Problem | undefined;
  #retryAt: number | undefined;

  constructor(url: string, token: Token, events: LinkEvents) {
    this.#url = new URL(url);
    this.#token = token;
    this.#events = events;
    addEventListener("online", this.#awake);
    addEventListener("offline", this.redial);
    globalThis.document?.addEventListener("visibilitychange", this.#shown);
  }

  get url(): string {
    return this.#url.origin;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  get problem(): Problem | undefined {
    return this.#problem;
  }

  /** By what it is connected. */
  get transport(): Transport | undefined {
    return this.#isOpen ? this.#connection?.transport : undefined;
  }

  /** When the next attempt will be made, where one is waited for. */
  get retryAt(): number | undefined {
    return this.#retryAt;
  }

  start(): void {
    this.#dial();
  }

  /** The present connection; another one is another value. */
  get connection(): unknown {
    return this.#connection;
  }

  /** Sends a frame, or loses it where that connection is not open any more; `closed` has told the owner so. */
  send(frame: Uint8Array<ArrayBuffer>, connection: unknown): void {
    if (this.#isOpen && this.#connection === connection) this.#connection?.send(frame);
  }

  /** The edge owes an answer. */
  expectAnswer(): void {
    this.#silence ??= setTimeout(() => {
      this.#problem = "unreachable";
      this.#lost();
    }, SILENCE_MS_MAX);
  }

  /** The edge has accepted this client. */
  welcomed(): void {
    this.#welcomedAt = Date.now();
    if (this.#connection?.transport === "socket") this.#failedSockets = 0;
    this.#note(undefined, undefined);
  }

  /** Gives up on what the edge says, and dials again after a pause. */
  misunderstood(): void {
    this.#problem = "misunderstood";
    this.redial();
  }

  /** Gives the present connection up and dials again after a pause. */
  readonly redial = (): void => {
    this.#drop();
    this.#dialLater();
  };

  /** Closes the connection and dials no more until `restore`. */
  cut(): void {
    this.#isCut = true;
    clearTimeout(this.#retry);
    this.#drop();
    this.#note(undefined, undefined);
  }

  /** Undoes `cut` and dials at once. */
  restore(): void {
    this.#isCut = false;
    this.#dialNow();
  }

  /** Goes on with another edge. */
  roam(url: string): void {
    this.#url = new URL(url);
    this.#failedSockets = 0;
    this.#drop();
    this.#dialNow();
  }

  /** Closes the connection for good. */
  end(): void {
    this.#isEnded = true;
    removeEventListener("online", this.#awake);
    removeEventListener("offline", this.redial);
    globalThis.document?.removeEventListener("visibilitychange", this.#shown);
    clearTimeout(this.#retry);
    this.#drop();
  }

  /** The network has changed: what did not work before may work now, also a socket. */
  readonly #awake = (): void => {
    if (this.#connection) this.#tryASocket();
    else this.#dialNow();
  };

  /** A page that was hidden may have slept, and its timers with it. */
  readonly #shown = (): void => {
    if (document.visibilityState !== "visible") return;
    if (this.#isOpen) this.#ask();
    else if (!this.#connection) this.#dialNow();
  };

  readonly #dialNow = (): void => {
    this.#attempts = 0;
    this.#note(undefined, undefined);
    this.#dial();
  };

  #dialLater(): void {
    if (this.#isCut || this.#isEnded) return;
    const ceiling = Math.min(PAUSE_MS_MAX, PAUSE_MS_FIRST * 2 ** this.#attempts);
    this.#attempts += 1;
    // Full jitter: the clients of an edge that restarts must not come back all at once.
    const pause = Math.random() * ceiling;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#dial(), pause);
    this.#note(this.#problem, Date.now() + pause);
  }

  #dial(): void {
    clearTimeout(this.#retry);
    if (this.#isCut || this.#isEnded || this.#connection || this.#dialling) return;
    this.#note(this.#problem, undefined);
    // A token, and then a handshake, are owed.
    this.expectAnswer();
    if (typeof this.#token === "string") {
      this.#connect(this.#token);
      return;
    }
    const dialling = Symbol();
    this.#dialling = dialling;
    const isLast = () => this.#dialling === dialling;
    Promise.resolve(this.#token()).then(
      (token) => isLast() && this.#connect(token),
      () => {
        if (!isLast()) return;
        this.#problem = "denied";
        this.redial();
      },
    );
  }

  #connect(token: string): void {
    this.#dialling = undefined;
    this.#lastToken = token;
    const events: ConnectionEvents = {
      opened: () => {
        this.#isOpen = true;
        this.#beat();
        this.#events.opened();
      },
      heard: () => this.#heard(),
      received: (frames) => this.#events.received(frames),
      closed: (isDenied) => this.#lost(isDenied),
    };
    if (this.#failedSockets < BLOCKED_SOCKETS) {
      this.#connection = new Socket(this.#address, token, events);
    } else {
      this.#connection = new Polling(this.#address, token, events);
      this.#probing = setTimeout(() => this.#tryASocket(), (0.5 + Math.random() / 2) * PROBE_MS_MAX);
    }
  }

  /** The connection ended by itself, or says nothing. */
  #lost(isDenied = false): void {
    const wasWelcomed = this.#welcomedAt !== undefined;
    const wasSocket = this.#connection?.transport === "socket";
    this.#drop();
    if (isDenied) this.#denied();
    else if (wasSocket && !wasWelcomed) void this.#diagnose();
    else this.#dialLater();
  }

  /** Forgets the connection. */
  #drop(): void {
    this.#heard();
    clearTimeout(this.#heartbeat);
    clearTimeout(this.#probing);
    this.#probe?.close();
    this.#probe = undefined;
    this.#dialling = undefined;
    this.#connection?.close();
    this.#connection = undefined;
    if (this.#welcomedAt !== undefined && Date.now() - this.#welcomedAt > STEADY_MS) this.#attempts = 0;
    this.#welcomedAt = undefined;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#events.closed();
  }

  #heard(): void {
    clearTimeout(this.#silence);
    this.#silence = undefined;
    if (this.#isOpen) this.#beat();
  }

  #beat(): void {
    clearTimeout(this.#heartbeat);
    this.#heartbeat = setTimeout(() => this.#ask(), HEARTBEAT_MS);
  }

  #ask(): void {
    if (this.#connection?.transport !== "socket") return;
    this.#connection.ping();
    this.expectAnswer();
  }

  /** Goes back to a socket if the edge answers over one. */
  #tryASocket(): void {
    clearTimeout(this.#probing);
    if (this.#connection?.transport !== "requests" || this.#probe) return;
    const failed = () => {
      this.#probe?.close();
      this.#probe = undefined;
      this.#probing = setTimeout(() => this.#tryASocket(), (0.5 + Math.random() / 2) * PROBE_MS_MAX);
    };
    const probe = new Socket(this.#address, this.#lastToken, {
      opened: () => probe.ping(),
      heard: () => {
        this.#failedSockets = 0;
        this.#drop();
        this.#dialNow();
      },
      received: () => undefined,
      closed: failed,
    });
    this.#probe = probe;
    this.#probing = setTimeout(failed, SILENCE_MS_MAX);
  }

  /** A browser does not say how a handshake was refused; the same request without the upgrade does. */
  async #diagnose(): Promise<void> {
    const url = this.#url;
    let status: number | undefined;
    try {
      const address = new URL(this.#address);
      address.searchParams.set("token", this.#lastToken);
      ({ status } = await fetch(address, { signal: AbortSignal.timeout(SILENCE_MS_MAX) }));
    } catch {
      // No answer, or none that this origin may read.
    }
    // It may have dialled elsewhere meanwhile.
    if (this.#connection || this.#dialling || this.#url !== url) return;
    if (status === 401) {
      this.#denied();
      return;
    }
    // The edge takes the token and waits for an upgrade, which does not get through.
    if (status === UPGRADE_REQUIRED) this.#failedSockets += 1;
    this.#problem = "unreachable";
    this.#dialLater();
  }

  #denied(): void {
    this.#problem = "denied";
    // What was refused once will hardly be accepted soon: only the longest pause makes sense.
    if (typeof this.#token === "string") this.#attempts = Number.POSITIVE_INFINITY;
    this.#dialLater();
  }

  get #address(): URL {
    return new URL("/v1/leaf", this.#url);
  }

  #note(problem: Problem | undefined, retryAt: number | undefined): void {
    this.#problem = problem;
    this.#retryAt = retryAt;
    this.#events.changed();
  }
}
