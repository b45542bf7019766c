// The Worker as `wrangler deploy` would upload it, with wrangler.toml and without uploading. It is built already.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { test } from "node:test";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const wrangler = fileURLToPath(new URL("node_modules/.bin/wrangler", import.meta.url));

/** What is uploaded, compressed: a third of what the platform allows without a plan. */
const UPLOAD_BYTES_MAX = 1024 * 1024;

/** It takes seconds. Node's own limit cannot end what is waited for in one call. */
const WRANGLER_DEADLINE_MS = 180_000;

test("the Worker deploys, and what is uploaded is small", () => {
  const folder = mkdtempSync(join(tmpdir(), "headwater-deploy-"));
  // Beside the real one, from where its paths count.
  const config = join(root, `wrangler.${process.pid}.toml`);
  try {
    const declared = readFileSync(join(root, "wrangler.toml"), "utf8");
    const [built, rest] = declared.split(/^\[build\]\n(?:(?!\[).*\n)*/m);
    assert.ok(rest, "wrangler.toml has no [build]");
    writeFileSync(config, built + rest);
    const said = execFileSync(wrangler, ["deploy", "--dry-run", "--config", config, "--outdir", folder], {
      cwd: root,
      encoding: "utf8",
      timeout: WRANGLER_DEADLINE_MS,
      killSignal: "SIGKILL",
      // Nothing is told or fetched, and nobody is asked.
      env: { ...process.env, WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false", CI: "1" },
    });
    for (const binding of ["env.HUB (Hub)", "env.DIRECTORY (Directory)", "env.ASSETS"]) {
      assert.ok(said.includes(binding), `${binding} is not bound:\n${said}`);
    }
    const files = readdirSync(folder).filter((name) => name.endsWith(".js") || name.endsWith(".wasm"));
    assert.ok(files.some((name) => name.endsWith(".js")) && files.some((name) => name.endsWith(".wasm")), said);
    let upload = 0;
    for (const name of files) {
      const bytes = readFileSync(join(folder, name));
      const compressed = gzipSync(bytes, { level: 9 }).length;
      upload += compressed;
      console.log(`${name}: ${bytes.length} bytes, ${compressed} compressed`);
    }
    console.log(`the upload: ${upload} bytes compressed`);
    assert.ok(upload <= UPLOAD_BYTES_MAX, `${upload} bytes`);
  } finally {
    rmSync(folder, { recursive: true });
    rmSync(config, { force: true });
  }
});
