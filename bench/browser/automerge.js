import * as Automerge from "@automerge/automerge/slim";
export { Automerge };

export async function instance() {
  await Automerge.initializeWasm("/automerge.wasm");
  return Automerge.init();
}
