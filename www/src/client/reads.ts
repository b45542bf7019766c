/**
 * What reads of one thing gave, kept so that the next one costs no call into the leaf.
 *
 * Invariant: what is kept of a key is what the leaf would answer. Whoever gives the leaf anything drops the keys that it,
 * or the extent of a command, says have changed before anyone else is told, and all of them where it could not say; what ends by itself is not kept. Only what
 * nobody can change is kept, so no lists.
 */

/** About the most that is kept, in bytes. */
const BYTES_MAX = 8 << 20;
/** About what an entry takes besides its texts, if it is the only one of its key. */
const ENTRY_BYTES = 512;

export class Reads {
  /** By key, by what was asked of it, and by the name that was asked for. */
  readonly #keys = new Map<string, Map<string, Map<string | undefined, unknown>>>();
  /** What was kept since nothing was, dropped or not. */
  #bytes = 0;

  /** What is kept of a question; `undefined` where nothing is. */
  get(key: string, question: string, name: string | undefined): unknown {
    return this.#keys.get(key)?.get(question)?.get(name);
  }

  keep(key: string, question: string, name: string | undefined, answer: unknown): void {
    this.#bytes += ENTRY_BYTES + 2 * `${key}${name}${answer}`.length;
    if (this.#bytes > BYTES_MAX) return this.clear();
    let questions = this.#keys.get(key);
    if (!questions) this.#keys.set(key, (questions = new Map()));
    let answers = questions.get(question);
    if (!answers) questions.set(question, (answers = new Map()));
    answers.set(name, answer);
  }

  drop(key: string): void {
    this.#keys.delete(key);
  }

  clear(): void {
    this.#keys.clear();
    this.#bytes = 0;
  }
}
