/**
 * How a tab stays connected: sockets that are blocked, slow or dead, tokens that expire, queues that are long, edges that are
 * away. Each ends with what Redis itself says. `page.test.mjs` has the contract with whoever starts it.
 *
 * Each test has keys of its own, so that it can run beside others.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { elsewhere, eventually, here, post, proxyTo, redis, signedToken, tab, test, token } from "./support.mjs";

test("where sockets are refused the tab speaks by requests, and goes back to a socket once one works", async (t) => {
  const proxy = await proxied(t, { sockets: "refuse" });
  const key = named();
  const page = await opened(t, proxy.url, key);
  assert.equal(await transport(page), "requests");
  await increment(page, key, 5);
  await settled(page);
  await post(elsewhere, "/", ["INCRBY", key, "7"]);
  await eventually("what another edge did arrives", () => valueAt(page, key), 12);
  await eventually("Redis says so", () => redis("GET", key), "12");

  // The network is another one, which lets sockets pass.
  proxy.treatSockets("pass");
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await eventually("a socket takes over", () => transport(page), "socket");
  await increment(page, key, 1);
  await settled(page);
  await eventually("Redis says so", () => redis("GET", key), "13");
});

test("where sockets are swallowed the tab speaks by requests", async (t) => {
  const proxy = await proxied(t, { sockets: "swallow" });
  const key = named();
  const page = await opened(t, proxy.url, key);
  assert.equal(await transport(page), "requests");
  await increment(page, key, 3);
  await settled(page);
  await eventually("Redis says so", () => redis("GET", key), "3");
});

test("requests that fail under way lose and repeat nothing", async (t) => {
  const proxy = await proxied(t, { sockets: "refuse" });
  const key = named();
  const page = await opened(t, proxy.url, key);
  for (let round = 0; round < 4; round += 1) {
    await increment(page, key, 10);
    proxy.endConnections();
    await increment(page, key, 10);
  }
  await settled(page);
  await eventually("Redis says so", () => redis("GET", key), "80");
  await eventually("and so does the tab", () => valueAt(page, key), 80);
});

test("over a slow network all arrives once", async (t) => {
  const proxy = await proxied(t, { delayMs: 300 });
  const key = named();
  const page = await opened(t, proxy.url, key);
  for (let round = 0; round < 20; round += 1) await increment(page, key, 10);
  await settled(page);
  await eventually("Redis says so", () => redis("GET", key), "200");
});

test("a connection that is dead without a word is found out when the page is looked at", async (t) => {
  const proxy = await proxied(t);
  const key = named();
  const page = await opened(t, proxy.url, key);
  proxy.mute();
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await eventually("it is found out", () => page.evaluate(() => store.status.phase), "offline");
  await increment(page, key, 1);
  await proxy.cut();
  await proxy.restore();
  await settled(page);
  await eventually("Redis says so", () => redis("GET", key), "1");
});

test("a connection that lives answers when the page is looked at", async (t) => {
  const proxy = await proxied(t);
  const page = await opened(t, proxy.url, named());
  const pong = page.evaluate(
    () =>
      new Promise((resolve) => {
        const { onmessage } = sockets.at(-1);
        sockets.at(-1).onmessage = (event) => {
          onmessage(event);
          if (event.data === "pong") resolve(true);
        };
        document.dispatchEvent(new Event("visibilitychange"));
      }),
  );
  assert.ok(await pong);
  assert.equal(await page.evaluate(() => store.status.phase), "synced");
});

for (const [how, sockets] of [["sockets", "pass"], ["requests", "refuse"]]) {
  test(`by ${how}, a token that expires is replaced by the next one, and nothing is lost`, async (t) => {
    const proxy = await proxied(t, { sockets });
    const key = named();
    // Each of them must live until its socket is open, also on a slow machine.
    const holdsSeconds = 6;
    let asked = 0;
    const page = await opened(t, proxy.url, key, () => {
      asked += 1;
      return signedToken(holdsSeconds, ["connection:*"]);
    });
    const first = asked;
    await increment(page, key, 1);
    await settled(page);
    const end = Date.now() + holdsSeconds * 1000 + 500;
    await eventually("the token has expired", () => Date.now() > end, true);
    await increment(page, key, 1);
    await settled(page);
    await eventually("Redis says so", () => redis("GET", key), "2");
    assert.ok(asked > first, "another token was asked for");
  });
}

test("by requests, what a token does not grant is refused and rolled back", async (t) => {
  const proxy = await proxied(t, { sockets: "refuse" });
  const key = named();
  const page = await opened(t, proxy.url, key, () => signedToken(600, ["connection:*"]));
  const other = key.replace("connection", "elsewhere");
  const refused = await page.evaluate(
    (other) =>
      new Promise((resolve) => {
        store.addEventListener("refused", ({ key, error }) => resolve({ key, error }), { once: true });
        store.counter(other).increment();
      }),
    other,
  );
  assert.equal(refused.key, other);
  assert.match(refused.error, /^NOPERM /);
  await increment(page, key, 1);
  await settled(page);
  await eventually("Redis has what is granted", () => redis("GET", key), "1");
  assert.equal(await redis("GET", other), null);
});

test("a token that nobody gives is told as such, and asked for again", async (t) => {
  const proxy = await proxied(t);
  const key = named();
  const page = await blank(t);
  let isGiven = false;
  await page.exposeFunction("freshToken", () => {
    if (!isGiven) throw new Error("signed out");
    return token;
  });
  await openStore(page, proxy.url, key);
  await eventually("it is told", () => page.evaluate(() => store.status.problem), "denied");
  isGiven = true;
  await eventually("the tab is connected", () => page.evaluate(() => store.status.phase), "synced");
});

test("ten thousand operations that were made offline arrive once", async (t) => {
  const key = named();
  const page = await opened(t, here, key);
  await page.evaluate((key) => {
    store.cut();
    for (let at = 0; at < 5_000; at += 1) {
      store.counter(key).increment();
      store.set(`${key}:members`).add(`member ${at}`);
    }
  }, key);
  assert.equal(await page.evaluate(() => store.status.pending), 10_000);
  await page.evaluate(() => store.restore());
  await settled(page);
  await eventually("Redis has the counter", () => redis("GET", key), "5000");
  await eventually("Redis has the set", () => redis("SCARD", `${key}:members`), "5000");
});

test("of two browsers one loses its edge, goes on at another, and both end as Redis does", async (t) => {
  const proxy = await proxied(t);
  const key = named();
  const [first, second] = [await opened(t, proxy.url, key), await opened(t, elsewhere, key)];
  await increment(first, key, 1);
  await increment(second, key, 2);
  // What is sent from here on is never acknowledged by the edge that goes down.
  proxy.mute();
  await increment(first, key, 10);
  await proxy.cut();
  await increment(first, key, 100);
  await increment(second, key, 200);
  await eventually("the first is offline", () => first.evaluate(() => store.status.phase), "offline");
  await first.evaluate((url) => store.roam(url), elsewhere);
  await increment(first, key, 1_000);
  for (const page of [first, second]) await settled(page);
  for (const page of [first, second]) await eventually("each reads all", () => valueAt(page, key), 1_313);
  await eventually("Redis says so", () => redis("GET", key), "1313");
  await proxy.restore();
  await first.evaluate((url) => store.roam(url), proxy.url);
  await increment(first, key, 1);
  await settled(first);
  await eventually("Redis says so", () => redis("GET", key), "1314");
  await eventually("the other reads so", () => valueAt(second, key), 1_314);
});

function named() {
  return `connection:${randomUUID()}`;
}

async function proxied(t, options) {
  const proxy = await proxyTo(here, options);
  t.after(() => proxy.cut());
  return proxy;
}

/** A page of the edge's own that runs none of the site's scripts, so that the store is this test's alone. */
async function blank(t) {
  const page = await tab(t, `${here}/icon.svg`);
  await page.evaluate(() => {
    window.sockets = [];
    window.WebSocket = class extends WebSocket {
      constructor(url) {
        super(url);
        sockets.push(this);
      }
    };
  });
  return page;
}

/** A page whose `store` is connected to the edge at this address, and knows the key. */
async function opened(t, url, key, giveToken = () => token) {
  const page = await blank(t);
  await page.exposeFunction("freshToken", giveToken);
  await openStore(page, url, key);
  await eventually("it is connected", () => page.evaluate(() => store.status.phase), "synced");
  await page.evaluate((key) => store.ready([key]), key);
  return page;
}

function openStore(page, url, key) {
  return page.evaluate(
    async ([url, key]) => {
      const { open } = await import("/index.js");
      window.store = await open({ url, token: () => freshToken(), storage: false });
      store.subscribe([key], () => {});
    },
    [url, key],
  );
}

function increment(page, key, by) {
  return page.evaluate(([key, by]) => store.counter(key).increment(by), [key, by]);
}

function valueAt(page, key) {
  return page.evaluate((key) => store.counter(key).value, key);
}

function transport(page) {
  return page.evaluate(() => store.status.transport);
}

async function settled(page) {
  await eventually("all is settled", () => page.evaluate(() => `${store.status.phase} ${store.status.pending}`), "synced 0");
}
