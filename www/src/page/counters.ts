/** The counters: the total with its rate, and one tile for each status. */

import { element, grouped } from "./element.ts";

/** Over how long the rate is taken. */
const RATE_SECONDS = 5;

export class Total {
  readonly #figure = element("total", HTMLElement);
  readonly #rate = element("rate", HTMLElement);
  readonly #past: number[] = [];
  #total: number | undefined;

  constructor() {
    setInterval(() => this.#measure(), 1000);
  }

  /** Shows the total; nothing is known of it yet where it is `undefined`. */
  show(total: number | undefined): void {
    this.#total = total;
    this.#figure.textContent = grouped(total);
  }

  /** Once a second. */
  #measure(): void {
    if (this.#total === undefined) return;
    this.#past.push(this.#total);
    if (this.#past.length > RATE_SECONDS + 1) this.#past.shift();
    const seconds = Math.max(this.#past.length - 1, 1);
    const rate = (this.#total - (this.#past[0] ?? this.#total)) / seconds;
    this.#rate.textContent = rate.toLocaleString("en", { maximumFractionDigits: rate < 10 ? 1 : 0 });
  }
}

export class Statuses {
  readonly #figures = new Map<string, HTMLElement>();

  constructor() {
    for (const figure of document.querySelectorAll<HTMLElement>("[data-status]")) {
      this.#figures.set(figure.dataset.status ?? "", figure);
    }
  }

  /** The statuses that the page has a tile for. */
  get shown(): string[] {
    return [...this.#figures.keys()];
  }

  /** Shows one status' count. */
  show(status: string, count: number | undefined): void {
    const figure = this.#figures.get(status);
    if (figure) figure.textContent = grouped(count);
  }
}
