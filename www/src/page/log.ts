/** What was run and what came of it, line by line; the latest at the end. */

import type { Answer } from "./edge.ts";
import { made } from "./element.ts";
import { shown } from "./words.ts";

/** Older ones are dropped. */
const ENTRIES_MAX = 100;

export class Log {
  readonly #box: HTMLElement;

  constructor(box: HTMLElement) {
    this.#box = box;
  }

  /** Shows a command; gives what shows its answer below it. */
  ran(prompt: string, line: string): (answer: Answer) => void {
    const entry = made("div", "entry");
    const command = made("p", "ran");
    command.append(made("span", "at", `${prompt}> `), line);
    const reply = made("pre", "reply waiting", "…");
    entry.append(command, reply);
    this.#box.append(entry);
    while (this.#box.childElementCount > ENTRIES_MAX) this.#box.firstElementChild?.remove();
    this.#toEnd();
    return (answer) => {
      const isError = answer.error !== undefined;
      reply.className = isError ? "reply error" : "reply";
      reply.textContent = isError ? `(error) ${answer.error}` : shown(answer.result);
      if (!isError && answer.isProvisional) entry.append(made("p", "provisional", "provisional: by this edge’s own writes alone"));
      this.#toEnd();
    };
  }

  #toEnd(): void {
    this.#box.scrollTop = this.#box.scrollHeight;
  }
}
