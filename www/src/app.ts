/**
 * The page: the demo's counters and leaderboard, from the tab's own store.
 *
 * The key names are those of the demo (xtask/src/demo/keys.rs).
 */

import { CommandError, RefusedEvent, open, type Argument, type Reply, type Store } from "./index.ts";
import { BOARD_ROWS, Board, type Entry } from "./page/board.ts";
import { Connection } from "./page/connection.ts";
import { Statuses, Total } from "./page/counters.ts";
import { showEdges } from "./page/edges.ts";
import { element, grouped } from "./page/element.ts";
import { placeOf } from "./page/place.ts";
import { showRefusal } from "./page/refusals.ts";

const HITS_TOTAL = "hits:total";
const BOARD_PATHS = "board:paths";
const HITS_STATUS = "hits:status:";

/** What an added hit counts as. */
const OWN_STATUS = "200";

/** The board is drawn at most this often, so that a row has reached its rank before it is given another. */
const BOARD_MS_MIN = 400;

async function main(): Promise<void> {
  const address = new URL(location.href);
  const { edges, token } = placeOf(address);
  // Another token must not cost the choice of edges.
  element("access-edges", HTMLInputElement).value = address.searchParams.get("edges") ?? "";
  let [edge] = edges;
  const store = await open({ url: edge.url, token });

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
    const flat = this.#read(["ZRANGE", BOARD_PATHS, 0, BOARD_ROWS - 1, "REV", "WITHSCORES"]);
    if (Array.isArray(flat)) this.#board.show(pairs(flat));
    const [rank, hits] = asArray(this.#read(["ZREVRANK", BOARD_PATHS, this.#path.value, "WITHSCORE"]));
    const place = rank === undefined ? "not on the board yet" : `no. ${Number(rank) + 1} with ${grouped(Number(hits))}`;
    this.#own.textContent = place;
  }

  /** A counter that does not exist stands at zero; of one that is not known here, nothing. */
  #counter(key: string): number | undefined {
    const reply = this.#read(["GET", key]);
    return reply === undefined ? undefined : Number(reply ?? 0);
  }

  #read(words: readonly Argument[]): Reply | undefined {
    try {
      return this.#store.command(words);
    } catch (error) {
      // The edge may not hold the key yet.
      if (error instanceof CommandError) return undefined;
      throw error;
    }
  }
}

/** Counts as the demo counts a request. */
function addHit(store: Store, path: string): void {
  const commands = [
    ["INCR", HITS_TOTAL],
    ["INCR", HITS_STATUS + OWN_STATUS],
    ["ZINCRBY", BOARD_PATHS, 1, path],
  ] as const;
  for (const command of commands) {
    try {
      store.command(command);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      showRefusal(new RefusedEvent(command[1], error.message));
    }
  }
}

/** The reply of WITHSCORES: members and scores in turn. */
function pairs(flat: readonly Reply[]): Entry[] {
  return flat.flatMap((path, index) => (index % 2 === 0 ? [{ path: String(path), hits: Number(flat[index + 1]) }] : []));
}

function asArray(reply: Reply | undefined): readonly Reply[] {
  return Array.isArray(reply) ? reply : [];
}

main().catch((error: unknown) => {
  element("connection", HTMLElement).dataset.state = "denied";
  element("status", HTMLElement).textContent = "This page could not start.";
  element("detail", HTMLElement).textContent = String(error);
});
