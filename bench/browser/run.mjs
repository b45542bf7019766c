// Runs the benches in one page of a real Chromium, and prints what it measured, one JSON object per line:
// `node run.mjs PACKAGE FOLDER [--quick] [--only TEXT]`. PACKAGE is the built npm package, FOLDER where the bundles go, and
// CHROMIUM the browser's program.

import { once } from "node:events";
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const options = { quick: { type: "boolean", default: false }, only: { type: "string", default: "" } };
const { values, positionals } = parseArgs({ options, allowPositionals: true });
const [packaged, folder] = positionals;
const { resolve } = createRequire(import.meta.url);
const rounds = values.quick ? 1 : 9;
const NAMES = { headwater: "headwater", yjs: "Yjs", loro: "loro-crdt", automerge: "@automerge/automerge" };
const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };

const BENCHES = {
  "instantiation of the package": async (name) => {
    // Each in a page that has loaded nothing, in turn.
    const taken = Object.fromEntries(Object.keys(NAMES).map((each) => [each, []]));
    for (let round = 0; round <= rounds; round += 1) {
      for (const each of Object.keys(NAMES)) {
        const time = await inPage("instantiation", each);
        if (round > 0) taken[each].push(time);
      }
    }
    for (const [each, times] of Object.entries(taken)) print(name, 1, "instances", NAMES[each], median(times), "ns");
  },
  "read of a map's field": async (name) => {
    const operations = values.quick ? 1_000 : 20_000;
    for (const [contender, value] of await inPage("reads", { rounds, operations })) print(name, 1_000, "fields", contender, value, "ns");
  },
  "increment of a counter": (name) => writes(name, "counter"),
  "write of a map's field": (name) => writes(name, "map"),
  "B3.1 in the page": async (name) => {
    const size = values.quick ? 100 : 1_549;
    const { times, bytes } = await inPage("clients", { rounds, size });
    for (const [contender, value] of times) print(name, size, "clients", contender, value, "ns");
    for (const [contender, value] of bytes) print(`${name}: bytes that the clients send`, size, "clients", contender, value, "bytes");
  },
  "top 50 of a board under 1,000 updates a second": async (name) => {
    const members = values.quick ? 1_000 : 100_000;
    const { frame, work } = await inPage("board", { members, seconds: values.quick ? 1 : 10 });
    print(`${name}: frame, 95th percentile`, members, "members", "headwater", frame, "ns");
    print(`${name}: work in a frame, 95th percentile`, members, "members", "headwater", work, "ns");
  },
};

await bundle();
const server = createServer(serve).listen(0, "127.0.0.1");
await once(server, "listening");
const origin = `http://127.0.0.1:${server.address().port}`;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
});
try {
  for (const [name, measure] of Object.entries(BENCHES)) {
    if (!name.includes(values.only)) continue;
    console.error(`${name} in Chromium`);
    await measure(name);
  }
} finally {
  await browser.close();
  server.close();
}

async function writes(name, kind) {
  const operations = values.quick ? 100 : 1_000;
  for (const [contender, value] of await inPage("writes", { rounds, operations, kind })) print(name, operations, "writes", contender, value, "ns");
}

/** Calls a function of page.js in a page of its own. */
async function inPage(measure, argument) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(`${origin}/index.html`);
    return await page.evaluate(async ([measure, argument]) => (await import("/page.js"))[measure](argument), [measure, argument]);
  } finally {
    await context.close();
  }
}

async function bundle() {
  await mkdir(folder, { recursive: true });
  const own = dirname(new URL(import.meta.url).pathname);
  await build({
    entryPoints: ["page", ...Object.keys(NAMES)].map((name) => join(own, `${name}.js`)),
    outdir: folder,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    logLevel: "error",
    alias: { headwater: join(packaged, "index.js"), "headwater-bindings": join(packaged, "headwater.js") },
  });
  await copyFile(join(packaged, "headwater_bg.wasm"), join(folder, "headwater_bg.wasm"));
  await copyFile(join(dirname(resolve("loro-crdt/web")), "loro_wasm_bg.wasm"), join(folder, "loro_wasm_bg.wasm"));
  await copyFile(resolve("@automerge/automerge/automerge.wasm"), join(folder, "automerge.wasm"));
}

async function serve({ url }, response) {
  const { pathname } = new URL(url, "http://localhost");
  try {
    const body = pathname === "/index.html" ? "<!doctype html><title>bench</title><body>" : await readFile(join(folder, pathname));
    response.setHeader("content-type", TYPES[extname(pathname)] ?? "application/octet-stream");
    response.end(body);
  } catch {
    response.statusCode = 404;
    response.end();
  }
}

function median(all) {
  return all.sort((a, b) => a - b)[all.length >> 1];
}

function print(name, size, of, contender, value, unit) {
  console.log(JSON.stringify({ name, size, of, contender, value, unit }));
}
