/**
 * How much a browser loads. The bounds are what was reached last, features that came since included; what is sought is 60 kB of
 * wasm for what every page loads and 10 kB of JavaScript, with gzip. `page.test.mjs` has the contract with whoever starts it.
 */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { required, test } from "./support.mjs";

const WASM_BYTES_MAX = 156_500;
const ALL_COMMANDS_BYTES_MAX = 188_500;
const SCRIPT_BYTES_MAX = 10_000;

const folder = required("HEADWATER_TEST_PACKAGE");

for (const [module, most] of [
  ["headwater_bg.wasm", WASM_BYTES_MAX],
  ["headwater_all_bg.wasm", ALL_COMMANDS_BYTES_MAX],
]) {
  test(`${module} is no larger than it was`, async (t) => {
    const bytes = packed(await readFile(join(folder, module)));
    t.diagnostic(`${bytes} bytes with gzip`);
    assert.ok(bytes <= most, `${bytes} bytes with gzip`);
  });
}

test("the script, as a bundler makes it, is no larger than it was", async (t) => {
  const { outputFiles } = await build({
    entryPoints: [join(folder, "index.js")],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  const bytes = packed(outputFiles[0].contents);
  t.diagnostic(`${bytes} bytes with gzip`);
  assert.ok(bytes <= SCRIPT_BYTES_MAX, `${bytes} bytes with gzip`);
});

function packed(bytes) {
  return gzipSync(bytes, { level: 9 }).length;
}
