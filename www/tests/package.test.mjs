/**
 * The npm package as an application meets it: `npm pack`, a new project with Vite and strict TypeScript, and what it builds
 * in a real Chromium against a real edge. `page.test.mjs` has the contract with whoever starts it; besides,
 * HEADWATER_TEST_PACKAGE is the folder of the built package.
 *
 * Vite, TypeScript and React come from this repository's own node_modules, so that no test needs a registry.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { build, preview } from "vite";
import { DEADLINE_MS, elsewhere, eventually, here, post, required, tab, test, token } from "./support.mjs";

const run = promisify(execFile);
const modules = resolve("node_modules");

/** Counts, and shows the count. */
const PLAIN = `import { open } from "headwater";

const { url, token, key } = Object.fromEntries(new URLSearchParams(location.search)) as Record<string, string>;
const store = await open({ url: url!, token: token!, storage: key! });
const hits = store.counter(key!);
store.subscribe([hits.key], () => (document.title = String(hits.value)));
document.onclick = () => hits.increment();
`;

/** The same as a component, with what the types of the other views are checked by. */
const REACT = `import { open, type Decision, type Ranked, type Store } from "headwater";
import { useHeadwater, useStatus } from "headwater/react";
import { createRoot } from "react-dom/client";

const parameters = new URLSearchParams(location.search);
const key = parameters.get("key") ?? "";
const store = await open({ url: parameters.get("url") ?? "", token: parameters.get("token") ?? "", storage: false });

function Page({ store }: { store: Store }) {
  const hits = useHeadwater(store, [key], () => store.counter(key).value);
  const top: readonly Ranked[] | undefined = useHeadwater(store, [key + ":board"], () => store.board(key + ":board").top(3));
  const allowed: Decision | undefined = useHeadwater(store, [key + ":limit"], () =>
    store.limit(key + ":limit", { limit: 2, windowMs: 2_592_000_000, algorithm: "fixed" }).peek(),
  );
  const { phase } = useStatus(store);
  return (
    <button onClick={() => store.board(key + ":board").add("ada", store.counter(key).increment())}>
      {phase} {hits} {top?.map(({ member, score }) => member + "=" + score).join()} {String(allowed?.remaining)}
    </button>
  );
}

const root = document.body.appendChild(document.createElement("main"));
createRoot(root).render(<Page store={store} />);
`;

const COMPILER_OPTIONS = {
  target: "es2023",
  lib: ["es2023", "dom", "dom.iterable"],
  module: "esnext",
  moduleResolution: "bundler",
  moduleDetection: "force",
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  verbatimModuleSyntax: true,
  isolatedModules: true,
  jsx: "react-jsx",
  types: [],
  noEmit: true,
};

test("a new project builds with the package under strict types, and counts at a real edge", async (t) => {
  const project = await newProject(t);
  const page = await served(t, project, "index.html");
  await eventually("it knows the counter", () => page.title(), "0");
  await page.locator("html").click();
  await eventually("the page shows it", () => page.title(), "1");
  await eventually("the edge has it", () => result(page.key), "1");
  await post(elsewhere, "/", ["INCRBY", page.key, "4"]);
  await eventually("what another edge did arrives", () => page.title(), "5");
});

test("a React component of that project draws what it reads anew", async (t) => {
  const project = await newProject(t);
  const page = await served(t, project, "react.html");
  const text = () => page.locator("button").textContent();
  await eventually("it knows the keys", text, "synced 0  1");
  await page.locator("button").click();
  await eventually("the component is drawn anew", text, "synced 1 ada=1 1");
  await post(here, "/", ["HW.LIMIT", `${page.key}:limit`, "FIXED", "2", "2592000000"]);
  await eventually("the limit is that of all nodes", text, "synced 1 ada=1 0");
});

/** A project that has the packed package in its node_modules and type-checks. */
async function newProject(t) {
  const project = await mkdtemp(join(tmpdir(), "headwater-project-"));
  t.after(() => rm(project, { recursive: true, force: true }));
  const npm = (...words) => run("npm", words, { cwd: project });
  const packed = await npm("pack", "--json", "--ignore-scripts", required("HEADWATER_TEST_PACKAGE"));
  const [{ filename, files }] = JSON.parse(packed.stdout);
  const names = files.map(({ path }) => path);
  for (const name of ["index.js", "index.d.ts", "react/index.js", "react/index.d.ts", "headwater_bg.wasm", "headwater_all_bg.wasm"]) {
    assert.ok(names.includes(name), `${name} is packed`);
  }
  await writeFile(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
  await npm("install", "--offline", "--no-audit", "--no-fund", `./${filename}`);
  await mkdir(join(project, "node_modules/@types"), { recursive: true });
  for (const name of ["react", "react-dom", "@types/react", "@types/react-dom"]) {
    await symlink(join(modules, name), join(project, "node_modules", name));
  }
  const page = (source) => `<!doctype html><html lang="en"><title>…</title><body><script type="module" src="/${source}"></script>`;
  const contents = {
    "tsconfig.json": JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ["*.ts", "*.tsx"] }),
    "index.html": page("plain.ts"),
    "plain.ts": PLAIN,
    "react.html": page("react.tsx"),
    "react.tsx": REACT,
  };
  for (const [name, content] of Object.entries(contents)) await writeFile(join(project, name), content);
  await run(join(modules, ".bin/tsc"), ["--project", project]).catch(({ stdout }) => assert.fail(stdout));
  return project;
}

/** A page of the project, built and served, in Chromium; it has a key of its own. */
async function served(t, project, file) {
  const settings = { root: project, configFile: false, logLevel: "warn" };
  const output = { target: "es2022", rolldownOptions: { input: join(project, file) } };
  await build({ ...settings, build: output });
  const server = await preview({ ...settings, preview: { host: "127.0.0.1", port: 0 } });
  t.after(() => server.close());
  const key = `package:${randomUUID()}`;
  const { port } = server.httpServer.address();
  const page = await tab(t, `http://127.0.0.1:${port}/${file}?${new URLSearchParams({ url: here, token, key })}`);
  page.setDefaultTimeout(DEADLINE_MS);
  return Object.assign(page, { key });
}

async function result(key) {
  return (await post(here, "/", ["GET", key])).result;
}
