/**
 * A connection by requests, where sockets are blocked: one request after the other waits for what the edge has to say, and
 * what this side says goes in requests of its own, one at a time.
 *
 * Invariant: answers are taken up in the order in which the edge gave them, by the numbers that they bear. A request that
 * fails ends the connection, since what the edge answered to it is lost.
 */

import type { Connection, ConnectionEvents } from "./connection.ts";

/** The edge answers after 20 seconds if there is nothing to say. */
const ANSWER_MS_MAX = 30_000;
/** What one request carries, unless a single frame is larger. */
const REQUEST_BYTES = 4 << 20;

export class Polling implements Connection {
  readonly transport = "requests";
  readonly #address: URL;
  readonly #token: string;
  readonly #events: ConnectionEvents;
  /** Names the connection at the edge. */
  readonly #link = crypto.getRandomValues(new Uint8Array(16));
  readonly #ended = new AbortController();
  readonly #outbox: Uint8Array<ArrayBuffer>[] = [];
  #isSaying = false;
  #isListening = false;
  /** Answers that came before their turn. */
  readonly #early = new Map<number, Uint8Array>();
  #next = 1;

  constructor(address: URL, token: string, events: ConnectionEvents) {
    this.#address = address;
    this.#token = token;
    this.#events = events;
    // There is nothing to wait for, but the owner is told after it has the connection.
    queueMicrotask(() => this.#ended.signal.aborted || events.opened());
  }

  send(frame: Uint8Array<ArrayBuffer>): void {
    this.#outbox.push(frame);
    if (!this.#isSaying) void this.#say();
  }

  ping(): void {
    // A request that waits is answered in any case.
  }

  close(): void {
    this.#ended.abort();
  }

  async #say(): Promise<void> {
    this.#isSaying = true;
    while (this.#outbox.length > 0) {
      if (!(await this.#exchange(this.#batch()))) return;
    }
    this.#isSaying = false;
    // The edge knows the connection only now.
    if (this.#isListening) return;
    this.#isListening = true;
    while (await this.#exchange([]));
  }

  #batch(): Uint8Array<ArrayBuffer>[] {
    let bytes = 0;
    const tooMany = this.#outbox.findIndex((frame, at) => (bytes += frame.length) > REQUEST_BYTES && at > 0);
    return this.#outbox.splice(0, tooMany < 0 ? this.#outbox.length : tooMany);
  }

  /** Makes one request; gives whether there may be another. */
  async #exchange(frames: readonly Uint8Array<ArrayBuffer>[]): Promise<boolean> {
    const { signal } = this.#ended;
    let isDenied = false;
    try {
      const answer = await fetch(this.#address, {
        method: "POST",
        headers: { authorization: `Bearer ${this.#token}` },
        body: new Blob([this.#link, ...frames]),
        signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]),
      });
      isDenied = answer.status === 401;
      if (!answer.ok) throw new Error(`the edge answered with status ${answer.status}`);
      const body = await answer.arrayBuffer();
      if (signal.aborted) return false;
      this.#events.heard();
      this.#take(body);
    } catch {
      // Whatever it was, the next connection finds out.
      if (!signal.aborted) {
        this.#ended.abort();
        this.#events.closed(isDenied);
      }
    }
    return !signal.aborted;
  }

  #take(body: ArrayBuffer): void {
    if (body.byteLength === 0) return;
    this.#early.set(new DataView(body).getUint32(0, true), new Uint8Array(body, 4));
    for (;;) {
      const frames = this.#early.get(this.#next);
      if (!frames || this.#ended.signal.aborted) return;
      this.#early.delete(this.#next);
      this.#next += 1;
      this.#events.received(frames);
    }
  }
}
