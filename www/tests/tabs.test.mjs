/**
 * Several tabs of one name, in a real Chromium with its locks and channels. `page.test.mjs` has the contract with whoever
 * starts it.
 *
 * Each test has a browser context, and so storage, locks and channels, of its own.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { DEADLINE_MS, elsewhere, eventually, here, post, proxyTo, tab, test, token } from "./support.mjs";

test("three tabs share one socket, and each reads at once what another wrote, also offline", async (t) => {
  const counter = `tabs:${randomUUID()}`;
  const { tabs, sockets } = await threeTabs(t, here, counter);
  await eventually("one tab alone has a socket", sockets, 1);

  // Any tab cuts and restores the network of all.
  await tabs[1].evaluate(() => store.cut());
  for (const page of tabs) await eventually("all know that the network is cut", () => page.evaluate(() => store.status.isCut), true);
  for (const page of tabs) await page.evaluate((counter) => store.counter(counter).increment(), counter);
  for (const page of tabs) {
    await eventually("each reads all three", () => valueAt(page, counter), 3);
    await eventually("what is written is saved", () => page.evaluate(() => store.status.storage), "saved");
    await eventually("all three are pending", () => page.evaluate(() => store.status.pending), 3);
  }
  await tabs[2].evaluate(() => store.restore());
  for (const page of tabs) await eventually("all is settled", () => page.evaluate(() => store.status.phase), "synced");
  await eventually("each counts once", () => result(counter), "3");
  await post(elsewhere, "/", ["INCRBY", counter, "4"]);
  for (const page of tabs) await eventually("what another edge did arrives in each", () => valueAt(page, counter), 7);
});

test("when the tab that leads is killed in mid-write, what the others wrote arrives once", async (t) => {
  const counter = `tabs:${randomUUID()}`;
  const { tabs } = await threeTabs(t, here, counter);
  const [leader, ...others] = tabs;
  const enough = 10;
  const saved = { leader: 0 };
  await leader.exposeFunction("report", (count) => {
    saved.leader = count;
  });
  await leader.evaluate((counter) => {
    store.cut();
    void (async () => {
      for (let count = 1; ; count += 1) {
        store.counter(counter).increment();
        await store.saved();
        await report(count);
      }
    })();
  }, counter);
  // The others write as the leader does, and beyond its end.
  for (const page of others) {
    await page.evaluate((counter) => {
      window.written = 0;
      window.writing = (async () => {
        while (!window.isEnough) {
          store.counter(counter).increment();
          await store.saved();
          window.written += 1;
        }
      })();
    }, counter);
  }
  await eventually("enough is saved", () => saved.leader >= enough, true);
  const session = await leader.context().newCDPSession(leader);
  const crashed = leader.waitForEvent("crash", { timeout: DEADLINE_MS });
  session.send("Page.crash").catch(() => {});
  await crashed;
  const before = await Promise.all(others.map((page) => page.evaluate(() => window.written)));
  const goesOn = async (page, at) => (await page.evaluate(() => window.written)) > before[at] + enough;
  for (const [at, page] of others.entries()) await eventually("it writes on", () => goesOn(page, at), true);
  const written = await Promise.all(
    others.map((page) =>
      page.evaluate(async () => {
        window.isEnough = true;
        await window.writing;
        return window.written;
      }),
    ),
  );

  await others[0].evaluate(() => store.restore());
  for (const page of others) await eventually("all is settled", () => page.evaluate(() => store.status.phase), "synced");
  const total = await valueAt(others[0], counter);
  const ofLeader = total - written[0] - written[1];
  assert.ok(ofLeader === saved.leader || ofLeader === saved.leader + 1, `${ofLeader} of ${saved.leader} that were called saved`);
  await eventually("the other tab reads the same", () => valueAt(others[1], counter), total);
  await eventually("the edge says the same", () => result(counter), String(total));
});

test("tabs that close one after the other hand over the lead, and nothing is sent twice", async (t) => {
  const proxy = await proxyTo(here);
  t.after(() => proxy.cut());
  const counter = `tabs:${randomUUID()}`;
  const { tabs } = await threeTabs(t, proxy.url, counter);
  // The edge takes these, and its verdicts are lost.
  proxy.mute();
  for (const page of tabs) await page.evaluate((counter) => store.counter(counter).increment(5), counter);
  await eventually("all arrive", () => result(counter), "15");
  for (const page of tabs.slice(0, 2)) {
    await page.evaluate(async () => {
      await store.saved();
      store.close();
    });
  }
  const [, , last] = tabs;
  await proxy.cut();
  await proxy.restore();
  await last.evaluate((counter) => store.counter(counter).increment(), counter);
  await eventually("all is settled", () => last.evaluate(() => store.status.phase), "synced");
  await eventually("each counts once", () => result(counter), "16");
  assert.equal(await valueAt(last, counter), 16);
});

test("a removal in one tab takes away what another tab added, before and after the edge has it", async (t) => {
  const key = `tabs:${randomUUID()}`;
  const { tabs } = await threeTabs(t, here, key);
  const [first, second, third] = tabs;
  const members = (page) => page.evaluate((key) => store.set(key).values()?.sort().join(), key);
  await first.evaluate((key) => store.set(key).add("kept", "settled"), key);
  await eventually("it is settled", () => result(key, "SCARD"), 2);
  await eventually("another tab reads it", () => members(second), "kept,settled");
  await second.evaluate((key) => {
    store.cut();
    store.set(key).delete("settled");
    store.set(key).add("open");
  }, key);
  await eventually("the third tab reads both", () => members(third), "kept,open");
  await third.evaluate((key) => store.set(key).delete("open"), key);
  await eventually("the first tab reads that", () => members(first), "kept");
  await third.evaluate(() => store.restore());
  await eventually("the edge has the same", () => result(key, "SCARD"), 1);
  for (const page of tabs) await eventually("all tabs have it", () => members(page), "kept");
});

test("three tabs watch a board of a thousand without holding it, and show what each of them does at once", async (t) => {
  const board = `tabs:${randomUUID()}`;
  const counter = `tabs:${randomUUID()}`;
  const entries = Array.from({ length: 1000 }, (_, at) => [String(10 * at), `m${at}`]).flat();
  await post(here, "/", ["ZADD", board, ...entries]);
  const { tabs, sockets } = await threeTabs(t, here, counter);
  for (const [at, page] of tabs.entries()) {
    await page.evaluate(
      ([board, top]) => {
        window.calls = 0;
        const query = { top, members: ["m5"] };
        window.end = store.watch(board, query, () => {
          window.calls += 1;
        });
        window.shown = () => {
          const row = ({ member, score, rank, isExact }) => `${isExact ? "" : "~"}${rank} ${member} ${score}`;
          const { top, members } = store.standings(board, query) ?? { top: [], members: [] };
          return [...top, ...members].map(row).join(", ");
        };
      },
      [board, 2 + at],
    );
  }
  const shown = (page) => page.evaluate(() => shown());
  const heads = ["0 m999 9990, 1 m998 9980", "2 m997 9970", "3 m996 9960"];
  for (const [at, page] of tabs.entries()) {
    const head = heads.slice(0, 1 + at).join(", ");
    await eventually("each is shown what it asked for", () => shown(page), `${head}, 994 m5 50`);
  }
  assert.equal(await tabs[0].evaluate((board) => store.board(board).size, board), undefined, "nothing is held");
  await eventually("one tab alone has a socket", sockets, 1);

  await tabs[1].evaluate((board) => {
    store.cut();
    store.board(board).add("m5", 9935);
  }, board);
  assert.equal(await shown(tabs[1]), "0 m999 9990, 1 m5 9985, 2 m998 9980, 1 m5 9985");
  for (const page of tabs) await eventually("all show it offline", async () => (await shown(page)).endsWith(", 1 m5 9985"), true);
  await tabs[2].evaluate(() => store.restore());
  for (const page of tabs) await eventually("all is settled", () => page.evaluate(() => store.status.phase), "synced");
  for (const page of tabs) await eventually("nothing counts twice", async () => (await shown(page)).endsWith(", 1 m5 9985"), true);
  await post(elsewhere, "/", ["ZINCRBY", board, "10000", "m7"]);
  for (const page of tabs) await eventually("what another edge did arrives", async () => (await shown(page)).startsWith("0 m7 10070"), true);

  // The tab that leads ends; the others go on, and one that ends its watch hears no more.
  await tabs[0].evaluate(() => store.close());
  const before = await tabs[1].evaluate(() => {
    window.end();
    return window.calls;
  });
  await post(here, "/", ["ZINCRBY", board, "10000", "m8"]);
  await eventually("the last goes on", async () => (await shown(tabs[2])).startsWith("0 m8 10080"), true);
  assert.equal(await tabs[1].evaluate(() => window.calls), before);
});

/** Three tabs of one name at an edge that know a key; `sockets` says how many are open. */
async function threeTabs(t, edge, key) {
  const first = await tab(t, blankUrl(edge));
  const open = new Set();
  const watch = (page) => {
    page.on("websocket", (socket) => {
      open.add(socket);
      socket.on("close", () => open.delete(socket));
    });
  };
  watch(first);
  const tabs = [first];
  for (let more = 0; more < 2; more += 1) {
    const page = await first.context().newPage();
    watch(page);
    await page.goto(blankUrl(edge));
    tabs.push(page);
  }
  for (const page of tabs) {
    await page.evaluate(
      async ([key, token]) => {
        const { open } = await import("/index.js");
        const store = await open({ url: location.origin, token });
        Object.assign(window, { store });
        store.subscribe([key], () => {});
        await store.ready([key]);
      },
      [key, token],
    );
  }
  for (const page of tabs) await eventually("it is connected", () => page.evaluate(() => store.status.phase), "synced");
  return { tabs, sockets: () => open.size };
}

/** A page of the edge's own that runs none of the site's scripts, so that the store is this test's alone. */
function blankUrl(edge) {
  return `${edge}/icon.svg`;
}

function valueAt(page, counter) {
  return page.evaluate((counter) => store.counter(counter).value, counter);
}

async function result(key, command = "GET") {
  return (await post(here, "/", [command, key])).result;
}
