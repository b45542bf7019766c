/**
 * What a tab stores, in a real Chromium with its IndexedDB. `page.test.mjs` has the contract with whoever starts it.
 *
 * Each test has keys of its own, so that it can run beside others.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { DEADLINE_MS, elsewhere, eventually, here, post, proxyTo, tab, test, token } from "./support.mjs";

test("what was written offline is there when the tab is opened again, and arrives once", async (t) => {
  const page = await blank(t, here);
  const [counter, members] = names("counter", "members");
  await openStore(page, [counter, members]);
  await page.evaluate(
    async ([counter, members]) => {
      store.cut();
      store.command(["INCRBY", counter, 5]);
      store.command(["SADD", members, "a", "b"]);
      store.command(["INCR", counter]);
      await store.saved();
    },
    [counter, members],
  );

  await page.reload();
  const again = await page.evaluate(
    async ([counter, members, token]) => {
      const { open } = await import("/index.js");
      window.store = await open({ url: location.origin, token });
      store.cut();
      const { pending, storage } = store.status;
      return { pending, storage, counter: store.command(["GET", counter]), members: store.command(["SMEMBERS", members]).sort() };
    },
    [counter, members, token],
  );
  assert.deepEqual(again, { pending: 3, storage: "saved", counter: "6", members: ["a", "b"] });

  await page.evaluate(() => store.restore());
  await eventually("all is settled", () => page.evaluate(() => store.status.pending), 0);
  for (const edge of [here, elsewhere]) {
    await eventually(`the counter at ${edge}`, () => result(edge, ["GET", counter]), "6");
    await eventually(`the set at ${edge}`, () => result(edge, ["SCARD", members]), 2);
  }
});

test("what a task writes is saving until it is stored, at once, also when the store is closed in that task", async (t) => {
  const page = await blank(t, here);
  const [counter] = names("counter");
  await openStore(page, [counter]);
  const seen = await page.evaluate(async (counter) => {
    store.cut();
    await store.saved();
    let transactions = 0;
    const { transaction } = IDBDatabase.prototype;
    IDBDatabase.prototype.transaction = function (...asked) {
      if (asked[1] === "readwrite") transactions += 1;
      return transaction.apply(this, asked);
    };
    const states = [store.status.storage];
    for (let count = 0; count < 100; count += 1) store.command(["INCR", counter]);
    states.push(store.status.storage);
    await store.saved();
    states.push(store.status.storage);
    const together = transactions;
    store.command(["INCR", counter]);
    store.close();
    // It is given back once all is stored.
    await navigator.locks.request(`headwater:${location.origin}`, () => undefined);
    return { states, together };
  }, counter);
  assert.deepEqual(seen, { states: ["saved", "saving", "saved"], together: 1 });

  await page.reload();
  await openStore(page, [counter]);
  await eventually("all is settled", () => page.evaluate(() => store.status.pending), 0);
  await eventually("each counts once", () => result(here, ["GET", counter]), "101");
});

test("what was sent and never acknowledged is counted once by the tab that is opened again", async (t) => {
  const proxy = await proxyTo(here);
  t.after(() => proxy.cut());
  const page = await blank(t, proxy.url);
  const [counter] = names("counter");
  await openStore(page, [counter]);
  proxy.mute();
  await page.evaluate((counter) => store.command(["INCRBY", counter, 7]), counter);
  await eventually("it arrives", () => result(here, ["GET", counter]), "7");
  await page.evaluate(() => store.saved());
  // A page needs the network to load.
  await proxy.cut();
  await proxy.restore();
  await page.reload();
  await openStore(page, [counter]);
  await eventually("all is settled", () => page.evaluate(() => store.status.pending), 0);
  await page.evaluate((counter) => store.command(["INCR", counter]), counter);
  await eventually("each counts once", () => result(here, ["GET", counter]), "8");
});

test("a tab that is killed in mid-write loses nothing that it called saved", async (t) => {
  const page = await blank(t, here);
  const [counter] = names("counter");
  await openStore(page, [counter]);
  const enough = 40;
  let saved = 0;
  await page.exposeFunction("report", (count) => {
    saved = count;
  });
  await page.evaluate((counter) => {
    store.cut();
    void (async () => {
      for (let count = 1; ; count += 1) {
        store.command(["INCR", counter]);
        await store.saved();
        await report(count);
      }
    })();
  }, counter);
  await eventually("enough is saved", () => saved >= enough, true);
  const context = page.context();
  const session = await context.newCDPSession(page);
  const crashed = page.waitForEvent("crash", { timeout: DEADLINE_MS });
  session.send("Page.crash").catch(() => {});
  await crashed;

  const next = await context.newPage();
  await next.goto(blankUrl(here));
  await openStore(next, [counter]);
  await eventually("all is settled", () => next.evaluate(() => store.status.pending), 0);
  const shown = await next.evaluate((counter) => Number(store.command(["GET", counter])), counter);
  assert.ok(shown >= saved && shown <= saved + 1, `${shown} of ${saved} that were called saved`);
  await eventually("the edge says the same", () => result(here, ["GET", counter]), String(shown));
});

test("a full disk is told, and the tab goes on in memory without losing or repeating anything", async (t) => {
  const page = await blank(t, here);
  const [counter] = names("counter");
  await openStore(page, [counter]);
  const told = await page.evaluate((counter) => {
    // Listened for before anything can fail: what the edge says may be stored at any moment.
    const failed = new Promise((resolve) => store.addEventListener("error", ({ message }) => resolve(message), { once: true }));
    // A quota that is set from outside does not bind a private context, so the disk is full for this page alone.
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("the disk is full", "QuotaExceededError");
    };
    store.command(["INCR", counter]);
    return failed;
  }, counter);
  assert.match(told, /nothing can be stored/);
  assert.equal(await page.evaluate(() => store.status.storage), "failed");
  await page.evaluate((counter) => store.command(["INCR", counter]), counter);
  await eventually("all is settled", () => page.evaluate(() => store.status.pending), 0);
  await eventually("each counts once", () => result(here, ["GET", counter]), "2");

  const next = await page.context().newPage();
  await next.goto(blankUrl(here));
  await openStore(next, [counter]);
  await next.evaluate((counter) => store.command(["INCR", counter]), counter);
  await eventually("another tab counts on", () => result(here, ["GET", counter]), "3");
  await eventually("it is told as well", () => next.evaluate(() => store.status.storage), "failed");
  await page.close();
  await eventually("the tab that leads from then on stores again", () => next.evaluate(() => store.status.storage), "saved");
  await openedAnew(next, counter);
  await next.evaluate((counter) => store.command(["INCR", counter]), counter);
  await eventually("nothing is repeated", () => result(here, ["GET", counter]), "4");
});

test("rows that cannot be read are refused until they are deleted", async (t) => {
  const page = await blank(t, here);
  const [counter] = names("counter");
  await openStore(page, [counter]);
  const errors = await page.evaluate(
    async ([token]) => {
      const { forget, open } = await import("/index.js");
      const name = location.origin;
      const message = (work) => work.then(() => "", (error) => `${error.name}: ${error.message}`);
      const whileOpen = await message(forget(name));
      await store.saved();
      store.close();
      await store.saved();
      const database = await new Promise((resolve) => {
        const request = indexedDB.open(`headwater:${name}`);
        request.onsuccess = () => resolve(request.result);
      });
      await new Promise((resolve) => {
        const transaction = database.transaction("rows", "readwrite");
        transaction.objectStore("rows").put(new Uint8Array([255, 255]), new Uint8Array([109]));
        transaction.oncomplete = resolve;
      });
      database.close();
      const damaged = await message(open({ url: name, token }));
      await forget(name);
      const mended = await message(open({ url: name, token }));
      return { whileOpen, damaged, mended };
    },
    [token],
  );
  assert.match(errors.whileOpen, /StorageError: .* is open in a tab/);
  assert.match(errors.damaged, /StorageError: .*forget\(/);
  assert.equal(errors.mended, "");
});

/** A page of the edge's own that runs none of the site's scripts, so that the store is this test's alone. */
function blankUrl(edge) {
  return `${edge}/icon.svg`;
}

function blank(t, edge) {
  return tab(t, blankUrl(edge));
}

function names(...kinds) {
  const own = randomUUID();
  return kinds.map((kind) => `storage:${kind}:${own}`);
}

/** Opens the tab's store as `store`, and waits until it knows these keys. */
function openStore(page, keys) {
  return page.evaluate(
    async ([keys, token]) => {
      const { open } = await import("/index.js");
      const store = await open({ url: location.origin, token });
      window.store = store;
      const isKnown = (key) => {
        try {
          store.command(["TTL", key]);
          return true;
        } catch {
          return false;
        }
      };
      await new Promise((resolve) => {
        const look = () => keys.every(isKnown) && resolve();
        store.subscribe(keys, look);
        look();
      });
    },
    [keys, token],
  );
}

/** Waits until a tab that began anew knows the counter. */
function openedAnew(page, counter) {
  return eventually("it knows the counter", () => page.evaluate((counter) => store.counter(counter).value, counter), 3);
}

async function result(edge, command) {
  return (await post(edge, "/", command)).result;
}
