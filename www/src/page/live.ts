/**
 * The live page: the demo's counters and leaderboard, from the tab's own store.
 *
 * The key names are those of the demo (xtask/src/demo/keys.rs).
 */

import { CommandError, RefusedEvent, type Store } from "../index.ts";
import { BOARD_ROWS, Board } from "./board.ts";
import { Connection } from "./connection.ts";
import { Statuses, Total } from "./counters.ts";
import { showEdges } from "./edges.ts";
import { element, grouped } from "./element.ts";
import type { Place } from "./place.ts";
import { showRefusal } from "./refusals.ts";

const HITS_TOTAL = "hits:total";
const BOARD_PATHS = "board:paths";
const HITS_STATUS = "hits:status:";

/** What an added hit counts as. */
const OWN_STATUS = "200";

/** The board is drawn at most this often, so that a row has reached its rank before it is given another. */
const BOARD_MS_MIN = 400;

/** Shows what the store has, which is connected to the first edge. */
export function showLive(store: Store, { edges }: Place): void {
  let [edge] = edges;
  new Connection(store, () => edge.name);
  showEdges(edges, (chosen) => {
    edge = chosen;
    store.roam(chosen.url);
  });
  store.addEventListener("refused", (event) => event instanceof RefusedEvent && showRefusal(event));
  store.addEventListener("error", (event) => console.error((event as ErrorEvent).message));
  // What has reached neither the edge nor the disk would be lost.
  addEventListener("beforeunload", (event) => {
    const { pending, storage } = store.status;
    if (pending > 0 && storage !== "saved") event.preventDefault();
  });

  const view = new View(store);
  store.subscribe(view.keys, (keys) => view.stale(keys));
  const path = element("path", HTMLInputElement);
  path.addEventListener("input", () => view.stale([BOARD_PATHS]));
  element("hit", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    addHit(store, path.value);
  });
}

/** The counters as the store has them, drawn at most once a frame, and the board. */
class View {
  readonly #store: Store;
  readonly #total = new Total();
  readonly #statuses = new Statuses();
  readonly #board = new Board();
  readonly #own = element("own", HTMLElement);
  readonly #path = element("path", HTMLInputElement);
  readonly #stale = new Set<string>();
  #boardDrawnAt = 0;
  #isBoardDue = false;

  constructor(store: Store) {
    this.#store = store;
  }

  /** What it shows. */
  get keys(): string[] {
    return [HITS_TOTAL, BOARD_PATHS, ...this.#statuses.shown.map((status) => HITS_STATUS + status)];
  }

  /** These keys read differently now. */
  stale(keys: readonly string[]): void {
    if (this.#stale.size === 0) requestAnimationFrame(() => this.#draw());
    for (const key of keys) this.#stale.add(key);
  }

  #draw(): void {
    for (const key of this.#stale) {
      if (key === HITS_TOTAL) this.#total.show(this.#counter(key));
      else if (key === BOARD_PATHS) this.#drawBoardSoon();
      else this.#statuses.show(key.slice(HITS_STATUS.length), this.#counter(key));
    }
    this.#stale.clear();
  }

  #drawBoardSoon(): void {
    if (this.#isBoardDue) return;
    this.#isBoardDue = true;
    setTimeout(() => this.#drawBoard(), Math.max(this.#boardDrawnAt + BOARD_MS_MIN - performance.now(), 0));
  }

  #drawBoard(): void {
    this.#isBoardDue = false;
    this.#boardDrawnAt = performance.now();
    const board = this.#store.board(BOARD_PATHS);
    const path = this.#path.value;
    const [top, rank, score] = readable(() => [board.top(BOARD_ROWS), board.rank(path), board.score(path)] as const) ?? [];
    if (top) this.#board.show(top.map(({ member, score }) => ({ path: member, hits: score })));
    this.#own.textContent = typeof rank === "number" ? `no. ${rank + 1} with ${grouped(score ?? 0)}` : "not on the board yet";
  }

  /** A counter that does not exist stands at zero; of one that is not known here, nothing. */
  #counter(key: string): number | undefined {
    return readable(() => this.#store.counter(key).value);
  }
}

/** What is read; nothing where the key is of another type than the demo gives it. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}

/** Counts as the demo counts a request. */
function addHit(store: Store, path: string): void {
  const hits: [string, () => unknown][] = [
    [HITS_TOTAL, () => store.counter(HITS_TOTAL).increment()],
    [HITS_STATUS + OWN_STATUS, () => store.counter(HITS_STATUS + OWN_STATUS).increment()],
    [BOARD_PATHS, () => store.board(BOARD_PATHS).add(path)],
  ];
  for (const [key, count] of hits) {
    try {
      count();
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      showRefusal(new RefusedEvent(key, error.message));
    }
  }
}
