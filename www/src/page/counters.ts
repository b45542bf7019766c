/** The counters: the total with its rate, and one tile for each status. */

import { element, grouped, made } from "./element.ts";

/** The statuses that are shown, with the names that HTTP gives them. */
export const STATUSES = new Map([
  [200, "OK"],
  [206, "Partial Content"],
  [301, "Moved Permanently"],
  [304, "Not Modified"],
  [400, "Bad Request"],
  [403, "Forbidden"],
  [404, "Not Found"],
  [416, "Range Not Satisfiable"],
  [500, "Internal Server Error"],
]);

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
  readonly #figures: ReadonlyMap<number, HTMLElement>;

  constructor() {
    this.#figures = new Map([...STATUSES.keys()].map((status) => [status, made("dd", "", "–")]));
    const tiles = [...STATUSES].map(([status, name]) => {
      const tile = document.createElement("div");
      tile.dataset.class = String(status).charAt(0);
      const term = document.createElement("dt");
      term.append(made("b", "", String(status)), ` ${name}`);
      tile.append(term, this.#figures.get(status) ?? "");
      return tile;
    });
    element("statuses", HTMLDListElement).replaceChildren(...tiles);
  }

  /** Shows one status' count. */
  show(status: number, count: number | undefined): void {
    const figure = this.#figures.get(status);
    if (figure) figure.textContent = grouped(count);
  }
}
