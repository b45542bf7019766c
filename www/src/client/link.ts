/**
 * The socket to one edge: dialled, redialled with jittered backoff, cut and restored.
 *
 * Invariant: at most one socket is in use, and `closed` is called exactly once for each `opened`. What the frames mean is
 * not known here.
 */

/**
 * Why there is no connection, as far as a browser can tell: no answer, the token was not accepted, or what came was not
 * understood, as between different versions.
 */
export type Problem = "unreachable" | "denied" | "misunderstood";

/** What the link tells its owner. */
export interface LinkEvents {
  opened(): void;
  received(frame: Uint8Array): void;
  closed(): void;
  /** `url`, `isCut`, `problem` or `retryAt` may have changed. */
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

export class Link {
  readonly #events: LinkEvents;
  readonly #token: string;
  #url: URL;
  #socket: WebSocket | undefined;
  #isOpen = false;
  #attempts = 0;
  #welcomedAt: number | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #isCut = false;
  #isEnded = false;
  #problem: Problem | undefined;
  #retryAt: number | undefined;

  constructor(url: string, token: string, events: LinkEvents) {
    this.#url = new URL(url);
    this.#token = token;
    this.#events = events;
    addEventListener("online", this.#dialNow);
    addEventListener("offline", this.redial);
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

  /** When the next attempt will be made, where one is waited for. */
  get retryAt(): number | undefined {
    return this.#retryAt;
  }

  start(): void {
    this.#dial();
  }

  /** The present socket; another one is another value. */
  get socket(): unknown {
    return this.#socket;
  }

  /** Sends a frame, or loses it where that socket is not open any more; `closed` has told the owner so. */
  send(frame: Uint8Array<ArrayBuffer>, socket: unknown): void {
    if (this.#isOpen && this.#socket === socket) this.#socket?.send(frame);
  }

  /** The edge owes an answer. */
  expectAnswer(): void {
    this.#silence ??= setTimeout(() => {
      this.#problem = "unreachable";
      this.redial();
    }, SILENCE_MS_MAX);
  }

  /** The edge has accepted this client. */
  welcomed(): void {
    this.#welcomedAt = Date.now();
    this.#note(undefined, undefined);
  }

  /** Gives up on what the edge says, and dials again after a pause. */
  misunderstood(): void {
    this.#problem = "misunderstood";
    this.redial();
  }

  /** Gives the present socket up and dials again after a pause. */
  readonly redial = (): void => {
    this.#drop();
    this.#dialLater();
  };

  /** Closes the socket and dials no more until `restore`. */
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
    this.#drop();
    this.#dialNow();
  }

  /** Closes the socket for good. */
  end(): void {
    this.#isEnded = true;
    removeEventListener("online", this.#dialNow);
    removeEventListener("offline", this.redial);
    clearTimeout(this.#retry);
    this.#drop();
  }

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
    if (this.#isCut || this.#isEnded || this.#socket) return;
    const socket = new WebSocket(this.#address("ws"));
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#note(this.#problem, undefined);
    // The edge owes a handshake.
    this.expectAnswer();

    socket.onopen = () => {
      this.#isOpen = true;
      this.#events.opened();
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      this.#heard();
      if (data instanceof ArrayBuffer) this.#events.received(new Uint8Array(data));
    };
    socket.onclose = () => {
      const wasOpen = this.#isOpen;
      this.#drop();
      if (wasOpen) this.#dialLater();
      else void this.#diagnose();
    };
  }

  /** Forgets the socket without waiting for its closing handshake. */
  #drop(): void {
    const socket = this.#socket;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#socket = undefined;
    this.#heard();
    if (this.#welcomedAt !== undefined && Date.now() - this.#welcomedAt > STEADY_MS) this.#attempts = 0;
    this.#welcomedAt = undefined;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#events.closed();
  }

  #heard(): void {
    clearTimeout(this.#silence);
    this.#silence = undefined;
  }

  /** A browser does not say how a handshake was refused; the same request without the upgrade does. */
  async #diagnose(): Promise<void> {
    const url = this.#url;
    let problem: Problem = "unreachable";
    try {
      const answer = await fetch(this.#address("http"), { signal: AbortSignal.timeout(SILENCE_MS_MAX) });
      if (answer.status === 401) problem = "denied";
    } catch {
      // No answer, or none that this origin may read.
    }
    // It may have dialled elsewhere meanwhile.
    if (this.#socket || this.#url !== url) return;
    this.#problem = problem;
    // What was refused once will hardly be accepted soon: only the longest pause makes sense.
    if (problem === "denied") this.#attempts = Number.POSITIVE_INFINITY;
    this.#dialLater();
  }

  #address(scheme: "http" | "ws"): URL {
    const address = new URL("/v1/leaf", this.#url);
    address.protocol = address.protocol.replace(/^http/, scheme);
    address.searchParams.set("token", this.#token);
    return address;
  }

  #note(problem: Problem | undefined, retryAt: number | undefined): void {
    this.#problem = problem;
    this.#retryAt = retryAt;
    this.#events.changed();
  }
}
