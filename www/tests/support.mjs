/**
 * What the tests in Chromium share: the edges of the stack, tabs, a proxy that can be cut, and waiting for what is true in
 * the end. `page.test.mjs` has the contract with whoever starts them.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createPrivateKey, sign } from "node:crypto";
import { connect, createServer } from "node:net";
import { after, before, test as nodeTest } from "node:test";
import { chromium } from "playwright-core";

/** Far more than anything takes, on a machine that does much else. */
export const DEADLINE_MS = 90_000;
/** What a whole test may take. What a page waits for has no deadline of its own. */
const TEST_TIMEOUT_MS = 3 * DEADLINE_MS;
export const OFFLINE_HITS = 5;
export const HITS_ELSEWHERE = 7;
/** INCR hits:total, INCR hits:status:200, ZINCRBY board:paths. */
export const OPERATIONS_PER_HIT = 3;

export const edges = required("HEADWATER_TEST_EDGE_URLS").split(",").map((edge) => edge.slice(edge.indexOf("=") + 1));
export const token = required("HEADWATER_TEST_TOKEN");
export const [here, elsewhere] = edges;

export let browser;

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    timeout: DEADLINE_MS,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
  });
});

after(() => browser?.close());

/** A test that, where it hangs, fails by its own name, so that the others of its file go on. */
export function test(name, run) {
  nodeTest(name, { timeout: TEST_TIMEOUT_MS }, run);
}

/** Cuts the page off, writes on both sides, and connects it again; then once more without writing. */
export async function countsThrough(page, { path, cut, restore }) {
  const before = await agreedTotal();
  const boardBefore = await scoreAt(here, path);
  await shows(page, before);

  await cut();
  await page.locator('#connection[data-state="offline"]').waitFor({ timeout: DEADLINE_MS });
  await addHits(page, path, OFFLINE_HITS);
  await shows(page, before + OFFLINE_HITS);
  await pending(page, OFFLINE_HITS * OPERATIONS_PER_HIT);
  await hitsAt(elsewhere, path, HITS_ELSEWHERE);
  await shows(page, before + OFFLINE_HITS);

  await restore();
  const sum = before + OFFLINE_HITS + HITS_ELSEWHERE;
  await shows(page, sum);
  await pending(page, 0);
  await agreedTotal(sum);

  // Whatever the page would send again, it sends now.
  await cut();
  await page.locator('#connection[data-state="offline"]').waitFor({ timeout: DEADLINE_MS });
  await restore();
  await page.locator('#connection[data-state="synced"]').waitFor({ timeout: DEADLINE_MS });
  await addHits(page, path, 1);
  await shows(page, sum + 1);
  await pending(page, 0);
  await agreedTotal(sum + 1);
  for (const edge of edges) {
    // Keys reach the other edge each in its own time.
    await eventually(`the board at ${edge}`, () => scoreAt(edge, path), boardBefore + OFFLINE_HITS + HITS_ELSEWHERE + 1);
  }
}

/** Adds hits that reach the edge, whose verdicts do not reach the page; returns the total before. */
export async function sendsUnheard(page, proxy) {
  const before = await agreedTotal();
  await shows(page, before);
  proxy.mute();
  await addHits(page, "/unheard", OFFLINE_HITS);
  await agreedTotal(before + OFFLINE_HITS);
  await pending(page, OFFLINE_HITS * OPERATIONS_PER_HIT);
  return before;
}

/** A tab at an edge, connected. */
export async function opened(t, url, parameters = {}, options = {}) {
  const page = await tab(t, `${url}/?${new URLSearchParams({ ...parameters, token })}`, options);
  await page.locator('#connection[data-state="synced"]').waitFor({ timeout: DEADLINE_MS });
  return page;
}

/** A tab that shows a page of the site, with every edge of the stack to choose from. */
export async function siteOpened(t, name = "live", options = {}) {
  const place = { edges: required("HEADWATER_TEST_EDGE_URLS"), token, links: required("HEADWATER_TEST_LINKS") };
  const page = await tab(t, `${here}/?${new URLSearchParams(place)}#${name}`, options);
  await page.locator(`.pages [aria-current][href="#${name}"]`).waitFor({ timeout: DEADLINE_MS });
  page.setDefaultTimeout(DEADLINE_MS);
  if (name === "live") await page.locator('#connection[data-state="synced"]').waitFor();
  return page;
}

/** A tab; whatever goes wrong in it fails the test. */
export async function tab(t, url, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(DEADLINE_MS);
  const errors = [];
  t.after(async () => {
    await context.close();
    assert.deepEqual(errors, [], "thrown in the page");
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(url);
  return page;
}

export async function addHits(page, path, times) {
  await page.getByLabel("Path", { exact: true }).fill(path);
  for (let hit = 0; hit < times; hit += 1) await page.getByRole("button", { name: "Add a hit" }).click();
}

export function shows(page, total) {
  return eventually(`the page shows ${total}`, async () => number(await page.locator("#total").textContent()), total);
}

export function pending(page, operations) {
  return eventually(`${operations} pending`, async () => number(await page.locator("#pending").textContent()), operations);
}

/** What has moved since the page began to load, other than by what its reader did. */
export function shiftsIn(page) {
  return page.evaluate(
    () =>
      new Promise((resolve) => {
        const described = ({ value, sources }) => ({ value, moved: sources.map(({ node }) => (node?.outerHTML ?? node?.textContent)?.slice(0, 80)) });
        new PerformanceObserver((list) => resolve(list.getEntries().map(described))).observe({
          type: "layout-shift",
          buffered: true,
        });
        // The observer reports what was buffered at once, and nothing where there was none.
        requestAnimationFrame(() => requestAnimationFrame(() => resolve([])));
      }),
  );
}

export function number(text) {
  return Number(text.replaceAll(",", ""));
}

export async function hitsAt(edge, path, times) {
  const hit = [["INCR", "hits:total"], ["INCR", "hits:status:200"], ["ZINCRBY", "board:paths", "1", path]];
  for (const { error } of await post(edge, "/pipeline", Array(times).fill(hit).flat())) assert.equal(error, undefined);
}

/** What all edges say of the total; `expected`, where it is known that they will come to say it. */
export async function agreedTotal(expected) {
  const totals = () => Promise.all(edges.map(async (edge) => Number((await post(edge, "/", ["GET", "hits:total"])).result)));
  const target = expected ?? Math.max(...(await totals()));
  await eventually(`every edge says ${target}`, async () => JSON.stringify(await totals()), JSON.stringify(edges.map(() => target)));
  return target;
}

export async function scoreAt(edge, path) {
  return Number((await post(edge, "/", ["ZSCORE", "board:paths", path])).result);
}

export async function post(edge, route, body) {
  const answer = await fetch(edge + route, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  const told = () => answer.clone().text().then((text) => `${edge}${route}: ${answer.status} ${text}`);
  if (answer.status === 503) throw new Away(await told());
  assert.ok(answer.ok, await told());
  return answer.json();
}

/** What an edge answers that asked its origin in vain for five seconds, as it may on a machine that does much else. */
class Away extends Error {}

/** Waits until `read` gives `wanted`; fails at the deadline with what it gave last. An edge that is away may come back. */
export async function eventually(what, read, wanted) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await Promise.resolve(read()).catch((error) => {
      if (error instanceof Away) return error;
      throw error;
    });
    if (found === wanted) return;
    assert.ok(Date.now() < deadline, `${what}: still ${found}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Signs a token that holds for so many seconds, and lets its bearer read and write these keys. */
export function signedToken(holdsSeconds, keys) {
  const seed = Buffer.from(required("HEADWATER_TEST_SIGNING_SEED"), "base64url");
  // The frame of PKCS #8 around an Ed25519 key (RFC 8410).
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const part = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");
  const grants = [{ verbs: ["read", "write"], keys }];
  const text = `${part({ alg: "EdDSA", kid: "test", typ: "JWT" })}.${part({ exp: Math.floor(Date.now() / 1000) + holdsSeconds, grants })}`;
  return `${text}.${sign(null, Buffer.from(text), key).toString("base64url")}`;
}

/** What Redis itself replies to a command whose reply is one line or one string: the end of all that edges do. */
export async function redis(...words) {
  const { hostname, port } = new URL(required("HEADWATER_TEST_REDIS"));
  const socket = connect(Number(port), hostname);
  try {
    socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`);
    let reply = "";
    for await (const chunk of socket) {
      reply += chunk;
      const [line, text] = reply.split("\r\n");
      assert.notEqual(line[0], "-", line);
      if (reply.endsWith("\r\n") && (line[0] !== "$" || line === "$-1" || text?.length >= Number(line.slice(1)))) {
        if (line === "$-1") return null;
        return line[0] === "$" ? text : line.slice(1);
      }
    }
    assert.fail("Redis hung up");
  } finally {
    socket.destroy();
  }
}

/**
 * A TCP proxy. Muted, it passes on what clients send and nothing that comes back; cut, it has no connections at all. It may be
 * told to refuse WebSockets, or to swallow them, as middleboxes do; and to hold back what it passes on.
 */
export async function proxyTo(url, { sockets: policy = "pass", delayMs = 0 } = {}) {
  const { hostname, port } = new URL(url);
  const sockets = new Set();
  let isMuted = false;
  let upgrades = policy;
  const server = createServer((near) => {
    sockets.add(near);
    near.on("error", () => {});
    near.on("close", () => sockets.delete(near));
    near.once("data", (first) => {
      const isUpgrade = /^upgrade: websocket/im.test(first.toString("latin1"));
      if (isUpgrade && upgrades === "refuse") near.destroy();
      else if (!isUpgrade || upgrades === "pass") pass(near, first);
    });
  });
  const later = (work) => (delayMs > 0 ? setTimeout(work, delayMs) : work());
  const pass = (near, first) => {
    const far = connect(Number(port), hostname);
    far.write(first);
    near.on("data", (chunk) => later(() => far.writable && far.write(chunk)));
    far.on("data", (chunk) => isMuted || later(() => near.writable && near.write(chunk)));
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      // Whatever ends one side ends the other; an error is followed by a close.
      one.on("error", () => {});
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  };
  const listen = async (at) => {
    isMuted = false;
    server.listen(at, "127.0.0.1");
    await once(server, "listening");
  };
  await listen(0);
  const own = server.address().port;
  return {
    url: `http://127.0.0.1:${own}`,
    mute: () => {
      isMuted = true;
    },
    /** What becomes of WebSockets from now on. */
    treatSockets: (how) => {
      upgrades = how;
    },
    endConnections: () => sockets.forEach((socket) => socket.destroy()),
    cut: async () => {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    restore: () => listen(own),
  };
}

export function required(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: run \`cargo xtask test browser\``);
  return value;
}
