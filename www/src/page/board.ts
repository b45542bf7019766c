/** The leaderboard: rows keyed by path, which move to their new ranks. */

import { element, grouped, made, mayMove } from "./element.ts";

/** How many paths are shown. */
export const BOARD_ROWS = 20;

/** How long a row takes to its new rank. */
const MOVE_MS = 250;

/** A path with its hits. */
export interface Entry {
  readonly path: string;
  readonly hits: number;
}

interface Row {
  readonly line: HTMLLIElement;
  readonly rank: HTMLSpanElement;
  readonly bar: HTMLSpanElement;
  readonly score: HTMLSpanElement;
}

export class Board {
  readonly #list = element("board", HTMLOListElement);
  #rows = new Map<string, Row>();

  /** Shows these, highest first. */
  show(entries: readonly Entry[]): void {
    const most = entries[0]?.hits ?? 0;
    const before = new Map([...this.#rows].map(([path, { line }]) => [path, line.offsetTop]));
    const rows = new Map(entries.map(({ path }) => [path, this.#rows.get(path) ?? newRow(path)]));
    for (const [index, { path, hits }] of entries.entries()) {
      const row = rows.get(path);
      if (!row) continue;
      row.rank.textContent = String(index + 1);
      row.score.textContent = grouped(hits);
      row.bar.style.setProperty("--share", String(most > 0 ? Math.max(hits, 0) / most : 0));
      const here = this.#list.children[index];
      if (here !== row.line) this.#list.insertBefore(row.line, here ?? null);
    }
    for (const [path, { line }] of this.#rows) if (!rows.has(path)) line.remove();
    this.#rows = rows;
    if (mayMove()) this.#move(before);
  }

  /** Each row starts from where it was. */
  #move(before: ReadonlyMap<string, number>): void {
    for (const [path, { line }] of this.#rows) {
      const from = before.get(path);
      const distance = from === undefined ? 0 : from - line.offsetTop;
      if (distance === 0) continue;
      line.animate([{ translate: `0 ${distance}px` }, { translate: "0 0" }], { duration: MOVE_MS, easing: "ease-out" });
    }
  }
}

function newRow(path: string): Row {
  const line = document.createElement("li");
  const bar = made("span", "bar");
  const rank = made("span", "rank");
  const name = made("span", "name", path);
  name.title = path;
  const score = made("span", "score");
  line.append(bar, rank, name, score);
  return { line, rank, bar, score };
}
