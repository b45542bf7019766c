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

import load, { WasmLeaf, type InitInput } from "./headwater.js";
import { Rows, StorageError } from "./client/rows.ts";
import { Store } from "./client/store.ts";

export { StorageError, forget } from "./client/rows.ts";
export { CommandError, RefusedEvent, Store, UnknownKeyError } from "./client/store.ts";
export type { Abortable, Argument, Phase, Status, Storage } from "./client/store.ts";
export type { Counter, Decision, Fields, Leaderboard, Limit, LimitOptions, Members, Ranked } from "./client/views.ts";
export type { Problem } from "./client/link.ts";
export type { Reply } from "./headwater.js";

/** Where to connect to, and as whom. */
export interface Options {
  /** The edge: `https://edge.example`, without a path. */
  url: string;
  /** What the edge asks of its clients. */
  token: string;
  /**
   * Under which name the tab keeps what it knows and what it has not synchronised, so that it is there when the page is
   * opened again; the edge's origin where none is given, and `false` for nowhere.
   */
  storage?: string | false;
  /** Aborted, the store is closed, or never opened. */
  signal?: AbortSignal;
  /** Where the module is, if a bundler has put it elsewhere than beside this one. */
  wasm?: InitInput;
}

/**
 * Loads the leaf with what it stored, and starts to connect; resolves before there is a connection.
 *
 * @throws where the module cannot be loaded or the URL is malformed; {@link StorageError} where what is stored cannot be
 * read; the signal's reason where it is aborted first.
 */
export async function open(options: Options): Promise<Store> {
  const { url, storage = new URL(url).origin, signal, wasm } = options;
  signal?.throwIfAborted();
  const loading = load(wasm === undefined ? undefined : { module_or_path: wasm });
  const opening = storage === false ? undefined : Rows.open(storage);
  await Promise.allSettled([loading, opening]);
  const opened = await opening;
  try {
    await loading;
  } catch (error) {
    opened?.rows.close();
    throw error;
  }
  const store = storeOn(opened, options);
  const close = () => store.close();
  if (signal?.aborted) close();
  signal?.throwIfAborted();
  signal?.addEventListener("abort", close, { once: true });
  return store;
}

function storeOn(opened: Awaited<ReturnType<typeof Rows.open>>, { url, token, storage }: Options): Store {
  if (!opened) return new Store(newLeaf(false), undefined, url, token);
  const { rows, stored } = opened;
  try {
    return new Store(stored.length > 0 ? WasmLeaf.restore(stored) : newLeaf(true), rows, url, token);
  } catch (cause) {
    rows.close();
    const name = storage || new URL(url).origin;
    throw new StorageError(`what "${name}" stores is of no use: forget("${name}") deletes it`, { cause });
  }
}

function newLeaf(isStored: boolean): WasmLeaf {
  const [high, low] = crypto.getRandomValues(new BigUint64Array(2)) as unknown as [bigint, bigint];
  return new WasmLeaf(high, low, isStored);
}
