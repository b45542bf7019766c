/**
 * The browser package: `open` gives a {@link Store} that answers from the tab's own memory.
 *
 * ```js
 * import { open } from "headwater";
 * const store = await open({ url: "https://edge.example", token });
 * const hits = store.counter("hits");
 * store.subscribe([hits.key], () => console.log(hits.value));
 * hits.increment(); // at once, with or without a network
 * ```
 */

import { WasmLeaf, begin, imports } from "./headwater.js";
import { claimed } from "./client/locks.ts";
import { load, type ModuleSource } from "./client/module.ts";
import { Rows, StorageError, databaseName } from "./client/rows.ts";
import type { Token } from "./client/link.ts";
import type { Shared } from "./client/status.ts";
import { Store } from "./client/store.ts";

export { StorageError, forget } from "./client/rows.ts";
export { CommandError, RefusedEvent, UnknownKeyError } from "./client/status.ts";
export type { Abortable, Argument, Phase, Status, Storage } from "./client/status.ts";
export { Store } from "./client/store.ts";
export type {
  Counter,
  Decision,
  Fields,
  Leaderboard,
  Limit,
  LimitOptions,
  Members,
  Ranked,
  Standing,
  Standings,
  StandingsQuery,
} from "./client/views.ts";
export type { Transport } from "./client/connection.ts";
export type { Problem, Token } from "./client/link.ts";
export type { Reply } from "./headwater.js";

/** Where to connect to, and as whom. */
export interface Options {
  /** The edge: `https://edge.example`, without a path. */
  url: string;
  /**
   * What the edge asks of its clients: a token, or what gives the one that holds now. A function is asked before each
   * attempt to connect, so that tokens may be short-lived; one that fails is asked again after a pause.
   */
  token: Token;
  /**
   * Under which name the tab keeps what it knows and what it has not synchronised, so that it is there when the page is
   * opened again; all tabs of a name share it, and one socket. The edge's origin where none is given, and `false` for
   * nowhere.
   */
  storage?: string | false;
  /** Aborted, the store is closed, or never opened. */
  signal?: AbortSignal;
  /**
   * What `store.command` knows: the commands of which counters, sets, maps, boards and limits are made, or `"all"` that a tab can
   * answer, for which a larger module is loaded. A page loads one of both; the first store that it opens says which.
   */
  commands?: "all";
  /** Where the module is, if a bundler has put it elsewhere than beside this one. */
  wasm?: ModuleSource;
}

/**
 * Loads the leaf with what it stored, and starts to connect; resolves before there is a connection.
 *
 * @throws where the module cannot be loaded or the URL is malformed; {@link StorageError} where what is stored cannot be
 * read; the signal's reason where it is aborted first.
 */
export async function open(options: Options): Promise<Store> {
  const { url, token, storage = new URL(url).origin, signal, commands, wasm } = options;
  signal?.throwIfAborted();
  // Written out, so that bundlers find both.
  const all = () => new URL("headwater_all_bg.wasm", import.meta.url);
  const few = () => new URL("headwater_bg.wasm", import.meta.url);
  await load(wasm ?? (commands ? all() : few()), { imports, begin });
  const store = await begun(url, token, storage);
  const close = () => store.close();
  if (signal?.aborted) close();
  signal?.throwIfAborted();
  signal?.addEventListener("abort", close, { once: true });
  return store;
}

async function begun(url: string, token: Token, name: string | false): Promise<Store> {
  const alone = () => new Store({ leaf: newLeaf(false), url, token, rows: undefined, shared: undefined });
  if (name === false || !("indexedDB" in globalThis) || !("locks" in navigator)) return alone();
  const [tab = 0n] = crypto.getRandomValues(new BigUint64Array(1));
  const release = await claimed(databaseName(name));
  const shared: Shared = { name, tab, release };
  if (!release) return new Store({ leaf: WasmLeaf.mirror(tab), url, token, rows: undefined, shared });
  let opened: Awaited<ReturnType<typeof Rows.open>>;
  try {
    opened = await Rows.open(name);
    if (!opened) {
      release();
      return alone();
    }
    const { rows, stored } = opened;
    const leaf = stored.length > 0 ? WasmLeaf.restore(stored) : newLeaf(true);
    return new Store({ leaf, url, token, rows, shared });
  } catch (cause) {
    opened?.rows.close();
    release();
    if (cause instanceof StorageError) throw cause;
    throw new StorageError(`what "${name}" stores is of no use: forget("${name}") deletes it`, { cause });
  }
}

function newLeaf(isStored: boolean): WasmLeaf {
  const [high, low] = crypto.getRandomValues(new BigUint64Array(2)) as unknown as [bigint, bigint];
  return new WasmLeaf(high, low, isStored);
}
