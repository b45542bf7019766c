/**
 * The page in a real Chromium, against a real stack.
 *
 * `cargo xtask test browser` provides it and runs `node --test www/tests/*.test.mjs`. The contract:
 *
 * - two edges that serve www/dist, one Redis or embedded store, and a daemon connected to both, all running;
 * - HEADWATER_TEST_EDGE_URLS: `name=url,name=url`, at least two;
 * - HEADWATER_TEST_TOKEN: what those edges accept of clients;
 * - HEADWATER_TEST_SIGNING_SEED: the seed of the key `test`, with which they accept signed tokens, in base64url;
 * - HEADWATER_TEST_REDIS: the store's `redis://host:port`;
 * - CHROMIUM: the browser's program; /usr/bin/chromium where it is not set;
 *
 * Nothing is assumed of what the store holds: every count is compared with the one before.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import {
  DEADLINE_MS,
  HITS_ELSEWHERE,
  OFFLINE_HITS,
  addHits,
  agreedTotal,
  countsThrough,
  elsewhere,
  eventually,
  here,
  hitsAt,
  opened,
  pending,
  post,
  proxyTo,
  sendsUnheard,
  shiftsIn,
  shows,
  tab,
  test,
  token,
} from "./support.mjs";

test("a write at another edge arrives in the page", async (t) => {
  const page = await opened(t, here);
  const before = await agreedTotal();
  await hitsAt(elsewhere, "/elsewhere", HITS_ELSEWHERE);
  await shows(page, before + HITS_ELSEWHERE);
});

test("a hit in the page arrives at every edge", async (t) => {
  const page = await opened(t, here);
  const before = await agreedTotal();
  await addHits(page, "/from-the-page", 1);
  await shows(page, before + 1);
  await pending(page, 0);
  await agreedTotal(before + 1);
});

test("cut by its switch, the page counts on and nothing is lost or counted twice", async (t) => {
  const page = await opened(t, here);
  const cut = page.getByRole("switch", { name: "Cut the network" });
  await countsThrough(page, {
    path: "/by-the-switch",
    cut: () => cut.check({ force: true }),
    restore: () => cut.uncheck({ force: true }),
  });
});

test("cut off by the network itself, the page counts on and nothing is lost or counted twice", async (t) => {
  const proxy = await proxyTo(here);
  t.after(() => proxy.cut());
  const page = await opened(t, proxy.url);
  await countsThrough(page, { path: "/by-the-network", cut: proxy.cut, restore: proxy.restore });
});

test("what was sent but never acknowledged is counted once", async (t) => {
  const proxy = await proxyTo(here);
  t.after(() => proxy.cut());
  const page = await opened(t, proxy.url);
  const before = await sendsUnheard(page, proxy);
  await proxy.cut();
  await addHits(page, "/unheard", 1);
  await proxy.restore();
  await pending(page, 0);
  await shows(page, before + OFFLINE_HITS + 1);
  await agreedTotal(before + OFFLINE_HITS + 1);
});

test("the page goes on with another edge, which settles what the first one never acknowledged", async (t) => {
  const proxy = await proxyTo(here);
  t.after(() => proxy.cut());
  const page = await opened(t, proxy.url, { edges: `here=${proxy.url},elsewhere=${elsewhere}` });
  const before = await sendsUnheard(page, proxy);
  await page.getByRole("radio", { name: "elsewhere" }).check({ force: true });
  await page.getByText("Connected to elsewhere").waitFor({ timeout: DEADLINE_MS });
  await addHits(page, "/unheard", 1);
  await pending(page, 0);
  await shows(page, before + OFFLINE_HITS + 1);
  await agreedTotal(before + OFFLINE_HITS + 1);
});

test("a wrong token is named as the cause, and a right one mends it", async (t) => {
  const page = await tab(t, `${here}/?token=wrong`);
  await page.getByText("does not accept this access token").waitFor({ timeout: DEADLINE_MS });
  await page.getByLabel("Access token").fill(token);
  await page.getByRole("button", { name: "Use this token" }).click();
  await page.getByText(`Connected to ${new URL(here).host}`).waitFor({ timeout: DEADLINE_MS });
});

test("nothing moves while the page loads, and all of it fits", async (t) => {
  await hitsAt(here, "/for-the-board", 1);
  for (const viewport of [{ width: 1280, height: 900 }, { width: 390, height: 844 }]) {
    const page = await opened(t, here, {}, { viewport });
    await page.locator("#board li").first().waitFor();
    const shifts = await shiftsIn(page);
    assert.deepEqual(shifts, [], `at ${viewport.width} px`);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(width, viewport.width, "nothing hangs over the side");
  }
});

test("the package answers commands, calls subscribers back and reports errors as Redis does", async (t) => {
  const page = await opened(t, here);
  const answers = await page.evaluate(async (token) => {
    const { CommandError, open } = await import("/index.js");
    const store = await open({ url: location.origin, token });
    const key = `package:${crypto.randomUUID()}`;
    // What a set holds is an error until the edge has asked the origin.
    const isKnown = () => {
      try {
        return store.command(["SCARD", key]) === 0;
      } catch {
        return false;
      }
    };
    const keys = await new Promise((resolve) => store.subscribe([key], (keys) => isKnown() && resolve(keys)));
    const wrote = store.command(["SADD", key, "a", "b"]);
    let error;
    try {
      store.command(["INCR", key]);
    } catch (thrown) {
      error = thrown instanceof CommandError && thrown.message;
    }
    const read = store.command(["SMEMBERS", key]).sort();
    store.close();
    return { wrote, isMine: keys.length === 1 && keys[0] === key, read, error };
  }, token);
  assert.deepEqual(answers, {
    wrote: 2,
    isMine: true,
    read: ["a", "b"],
    error: "WRONGTYPE Operation against a key holding the wrong kind of value",
  });
});

test("an operation that the edge refuses is rolled back and reported", async (t) => {
  const page = await opened(t, here);
  const most = "9000000000000000000";
  const key = `refused:${randomUUID()}`;
  await page.evaluate(
    async ({ key, most, token }) => {
      const { open } = await import("/index.js");
      const store = await open({ url: location.origin, token });
      const isKnown = () => {
        try {
          return store.command(["GET", key]) === null;
        } catch {
          return false;
        }
      };
      await new Promise((resolve) => store.subscribe([key], () => isKnown() && resolve()));
      store.cut();
      store.command(["INCRBY", key, most]);
      Object.assign(window, { store });
    },
    { key, most, token },
  );
  // Each fits alone; the sum does not.
  assert.equal((await post(here, "/", ["INCRBY", key, most])).error, undefined);
  const refused = await page.evaluate(async (key) => {
    const refusal = new Promise((resolve) => store.addEventListener("refused", resolve, { once: true }));
    store.restore();
    const { key: refusedKey, error } = await refusal;
    return { isMine: refusedKey === key, error, pending: store.status.pending };
  }, key);
  assert.deepEqual(refused, { isMine: true, error: "ERR increment or decrement would overflow", pending: 0 });
  await eventually("the page reads the other's sum", () => page.evaluate((key) => store.command(["GET", key]), key), most);
});

test("a tab answers all commands where it is opened for them, and says how where it is not", async (t) => {
  const answers = async (commands) => {
    const page = await tab(t, `${here}/icon.svg`);
    return page.evaluate(
      async ([token, options]) => {
        const { open } = await import("/index.js");
        const key = `commands:${crypto.randomUUID()}`;
        const store = await open({ url: location.origin, token, storage: false, ...options });
        store.subscribe([key], () => {});
        await store.ready([key]);
        store.command(["SADD", key, "a", "b"]);
        try {
          return store.command(["SINTERCARD", 1, key]);
        } catch ({ message }) {
          return message;
        } finally {
          store.close();
        }
      },
      [token, commands === undefined ? {} : { commands }],
    );
  };
  assert.equal(await answers("all"), 2);
  const refusal = "the 'sintercard' command is not in the module that is loaded; open the store with commands: \"all\"";
  assert.equal(await answers(undefined), `ERR Headwater: ${refusal}`);
});
