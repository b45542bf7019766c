/**
 * The browser package: `open` gives a {@link Store} that answers Redis commands from the tab's own memory.
 *
 * ```js
 * import { open } from "https://edge.example/index.js";
 * const store = await open({ url: "https://edge.example", token });
 * store.subscribe(["hits"], () => console.log(store.command(["GET", "hits"])));
 * store.command(["INCR", "hits"]); // at once, with or without a network
 * ```
 */

import load, { WasmLeaf } from "./headwater.js";
import { Rows, StorageError } from "./client/rows.ts";
import { Store } from "./client/store.ts";

export { StorageError, forget } from "./client/rows.ts";
export { CommandError, RefusedEvent, Store } from "./client/store.ts";
export type { Argument, Phase, Status, Storage } from "./client/store.ts";
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
}

/**
 * Loads the leaf with what it stored, and starts to connect; resolves before there is a connection.
 *
 * @throws where the module cannot be loaded or the URL is malformed; {@link StorageError} where what is stored cannot be
 * read.
 */
export async function open({ url, token, storage = new URL(url).origin }: Options): Promise<Store> {
  const [opened] = await Promise.all([storage === false ? undefined : Rows.open(storage), load()]);
  if (!opened) return new Store(newLeaf(false), undefined, url, token);
  const { rows, stored } = opened;
  try {
    return new Store(stored.length > 0 ? WasmLeaf.restore(stored) : newLeaf(true), rows, url, token);
  } catch (cause) {
    rows.close();
    throw new StorageError(`what "${storage}" stores is of no use: forget("${storage}") deletes it`, { cause });
  }
}

function newLeaf(isStored: boolean): WasmLeaf {
  const [high, low] = crypto.getRandomValues(new BigUint64Array(2)) as unknown as [bigint, bigint];
  return new WasmLeaf(high, low, isStored);
}
