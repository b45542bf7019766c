// Ours, as an application has it: the npm package, in memory and without an edge.

import { open } from "headwater";
export { WasmLeaf } from "headwater-bindings";

/** A store that has its leaf and no network. */
export async function instance() {
  const store = await open({ url: "http://127.0.0.1:9", token: "", storage: false });
  store.cut();
  return store;
}
