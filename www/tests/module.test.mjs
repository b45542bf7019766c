/**
 * How the module is loaded, whatever serves it. `page.test.mjs` has the contract with whoever starts these.
 */

import assert from "node:assert/strict";
import { here, tab, test } from "./support.mjs";

test("a server that does not know what it serves, serves the module all the same", async (t) => {
  const page = await tab(t, `${here}/icon.svg`);
  await page.route("**/headwater_bg.wasm", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, contentType: "application/octet-stream" });
  });
  assert.equal(await counted(page, "undefined"), 2);
});

test("a server that fails is named, and the next attempt begins anew", async (t) => {
  const page = await tab(t, `${here}/icon.svg`);
  await page.route("**/headwater_bg.wasm", (route) => route.fulfill({ status: 503, body: "later" }));
  await assert.rejects(counted(page, "undefined"), /headwater_bg\.wasm answers with status 503/);
  await page.unroute("**/headwater_bg.wasm");
  assert.equal(await counted(page, "undefined"), 2);
});

for (const [what, source] of [
  ["its address", "'/headwater_all_bg.wasm'"],
  ["a URL", "new URL('/headwater_bg.wasm', location.href)"],
  ["a request", "new Request('/headwater_bg.wasm')"],
  ["a response", "await fetch('/headwater_bg.wasm')"],
  ["its bytes", "await (await fetch('/headwater_bg.wasm')).arrayBuffer()"],
  ["a compiled module", "await WebAssembly.compileStreaming(fetch('/headwater_bg.wasm'))"],
]) {
  test(`the module may be given as ${what}`, async (t) => {
    const page = await tab(t, `${here}/icon.svg`);
    assert.equal(await counted(page, source), 2);
  });
}

/** Opens a store with the module from there, and counts to two. */
function counted(page, source) {
  return page.evaluate(`(async () => {
    const { open } = await import("/index.js");
    const store = await open({ url: location.origin, token: "", storage: false, wasm: ${source} });
    store.cut();
    store.counter("counted").increment();
    const sum = store.counter("counted").increment();
    store.close();
    return sum;
  })()`);
}
