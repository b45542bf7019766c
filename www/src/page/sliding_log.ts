/** The exact answer to a sliding window: one log of all that was allowed, wherever it was asked. */

export class SlidingLog {
  readonly #limit: number;
  readonly #windowMs: number;
  /** When each was allowed, as far as it still counts. */
  #allowedAt: number[] = [];

  constructor(limit: number, windowMs: number) {
    this.#limit = limit;
    this.#windowMs = windowMs;
  }

  /** Whether a request at this time is allowed; times do not go back. */
  take(at: number): boolean {
    const first = this.#allowedAt.findIndex((before) => before > at - this.#windowMs);
    this.#allowedAt = first === -1 ? [] : this.#allowedAt.slice(first);
    if (this.#allowedAt.length >= this.#limit) return false;
    this.#allowedAt.push(at);
    return true;
  }
}
