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
import { Store } from "./client/store.ts";

export { CommandError, RefusedEvent, Store } from "./client/store.ts";
export type { Argument, Phase, Status } from "./client/store.ts";
export type { Problem } from "./client/link.ts";
export type { Reply } from "./headwater.js";

/** Where to connect to, and as whom. */
export interface Options {
  /** The edge: `https://edge.example`, without a path. */
  url: string;
  /** What the edge asks of its clients. */
  token: string;
}

/**
 * Loads the leaf and starts to connect; resolves before there is a connection, and rejects only where the module cannot
 * be loaded or the URL is malformed.
 */
export async function open({ url, token }: Options): Promise<Store> {
  await load();
  const [high, low] = crypto.getRandomValues(new BigUint64Array(2)) as unknown as [bigint, bigint];
  return new Store(new WasmLeaf(high, low), url, token);
}
