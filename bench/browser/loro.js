import load, { LoroDoc } from "loro-crdt/web";

export async function instance() {
  await load({ module_or_path: "/loro_wasm_bg.wasm" });
  return new LoroDoc();
}
