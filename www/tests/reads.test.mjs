/**
 * Reads of one thing are kept in the tab: whichever way a value changes, the next read shows it. `page.test.mjs` has the
 * contract with whoever starts these.
 *
 * What is kept is compared with what the leaf itself answers to the same command, before and after. Where both answers are the
 * same, nothing else may have been read in between.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { elsewhere, eventually, here, post, tab, test, token } from "./support.mjs";

const STEPS = 1_000;
const SEED = 20261130;

test("after every write, by a view or by a command, a read shows what the leaf answers", async (t) => {
  const page = await reader(t);
  const read = await page.evaluate(
    async ([steps, seed]) => {
      await opened({ storage: false, commands: "all" });
      store.cut();
      // Mulberry32.
      let state = seed;
      const below = (most) => {
        state = (state + 0x6d2b79f5) | 0;
        let bits = Math.imul(state ^ (state >>> 15), 1 | state);
        bits ^= bits + Math.imul(bits ^ (bits >>> 7), 61 | bits);
        return ((bits ^ (bits >>> 14)) >>> 0) % most;
      };
      const keys = ["a", "b", "c"];
      const names = ["x", "y", "", "é", "a\0b"];
      const writes = [
        (key) => store.counter(key).increment(below(9)),
        (key) => store.command(["SET", key, below(100)]),
        (key, name) => store.set(key).add(name),
        (key, name) => store.set(key).delete(name),
        (key, name) => store.map(key).set(name, below(100)),
        (key, name) => store.map(key).increment(name, 2),
        (key, name) => store.map(key).delete(name),
        (key, name) => store.board(key).add(name, below(5)),
        (key, name) => store.board(key).set(name, below(5)),
        (key, name) => store.board(key).delete(name),
        (key) => store.command(["DEL", key]),
        (key) => store.command(["DEL", key, keys[below(3)]]),
        (key) => store.command(["COPY", key, keys[below(3)], "REPLACE"]),
        (key) => store.command(["MSET", key, below(100), keys[below(3)], below(100)]),
        (key, name) => store.command(["SMOVE", key, keys[below(3)], name]),
        (key) => store.command(["RENAME", key, keys[below(3)]]),
        (key) => store.command(["EXPIRE", key, 100]),
        (key) => store.command(["PEXPIRE", key, 1 + below(3)]),
        (key) => store.command(["PERSIST", key]),
        (key, name) => store.command(["HPEXPIRE", key, 1 + below(3), "FIELDS", 1, name]),
        (key) => store.command(["SUNIONSTORE", key, keys[below(3)]]),
      ];
      let read = 0;
      for (let step = 0; step < steps; step += 1) {
        try {
          writes[below(writes.length)](keys[below(3)], names[below(names.length)]);
        } catch (error) {
          // Of another type, or nothing to rename.
          if (error.name !== "CommandError" && error.name !== "UnknownKeyError") throw error;
        }
        for (const key of keys) read += same(key, names);
      }
      return read;
    },
    [STEPS, SEED],
  );
  assert.ok(read > STEPS, `${read} reads were compared`);
});

test("what another edge, another tab, and a removal at the edge do is read once it has arrived", async (t) => {
  const key = `reads:${randomUUID()}`;
  const page = await reader(t);
  await page.evaluate((key) => opened({}).then(() => known(key)), key);
  const other = await page.context().newPage();
  await other.goto(page.url());
  await other.evaluate(prepared, token);
  await other.evaluate((key) => opened({}).then(() => known(key)), key);
  for (const tab of [page, other]) assert.equal(await field(tab, key), null);

  await post(elsewhere, "/", ["HSET", key, "f", "pushed"]);
  for (const tab of [page, other]) await eventually("it arrives", () => field(tab, key), "pushed");
  await other.evaluate((key) => store.map(key).set("f", "mirrored"), key);
  assert.equal(await field(other, key), "mirrored");
  await eventually("the tab that leads reads it", () => field(page, key), "mirrored");
  await page.evaluate((key) => store.map(key).set("f", "led"), key);
  await eventually("the tab that mirrors reads it", () => field(other, key), "led");
  await post(here, "/", ["DEL", key]);
  for (const tab of [page, other]) await eventually("nothing is left", () => field(tab, key), null);
});

test("a refused write is not read any more when the application hears of it", async (t) => {
  const key = `reads:${randomUUID()}`;
  const most = "9000000000000000000";
  const page = await reader(t);
  await page.evaluate(
    async ([key, most]) => {
      await opened({});
      await known(key);
      store.cut();
      store.counter(key).increment(BigInt(most));
      // Kept before it is refused.
      window.before = store.counter(key).value;
    },
    [key, most],
  );
  // Each fits alone; the sum does not.
  assert.equal((await post(here, "/", ["INCRBY", key, most])).error, undefined);
  const [before, isSame, after] = await page.evaluate(async (key) => {
    const refused = new Promise((resolve) => {
      const heard = () => resolve([store.counter(key).value, Number(store.command(["GET", key]) ?? 0)]);
      store.addEventListener("refused", heard, { once: true });
    });
    store.restore();
    const [kept, told] = await refused;
    return [window.before, kept === told, kept];
  }, key);
  assert.equal(before, Number(most));
  assert.ok(isSame && after <= Number(most), `it read ${after}`);
  await eventually("the other's sum is read", () => page.evaluate((key) => store.counter(key).value, key), Number(most));
});

test("what ends by itself is not read a millisecond longer", async (t) => {
  const page = await reader(t);
  const ended = await page.evaluate(async () => {
    await opened({ storage: false, commands: "all" });
    store.cut();
    const [whole, part] = ["ends", "ends in part"];
    store.map(whole).set("f", 1);
    store.map(part).set("f", 1);
    store.map(part).set("kept", 1);
    same(whole, ["f"]);
    same(part, ["f", "kept"]);
    store.command(["PEXPIRE", whole, 50]);
    store.command(["HPEXPIRE", part, 50, "FIELDS", 1, "f"]);
    const until = performance.now() + 5_000;
    while (store.map(whole).get("f") !== null || store.map(part).size === 2) {
      if (performance.now() > until) throw new Error("it never ended");
      same(whole, ["f"]);
      same(part, ["f", "kept"]);
    }
    return [store.map(whole).size, store.map(part).get("f"), store.map(part).size];
  });
  assert.deepEqual(ended, [0, null, 1]);
});

test("a key that is let go, a store that is closed, and one that begins anew read what their leaf has", async (t) => {
  const key = `reads:${randomUUID()}`;
  const page = await reader(t);
  const read = await page.evaluate(async (key) => {
    await opened({});
    const end = await known(key);
    store.map(key).set("f", "1");
    const before = store.map(key).get("f");
    const settled = () => store.status.pending === 0;
    while (!settled()) await new Promise((resolve) => store.addEventListener("status", resolve, { once: true }));
    end();
    const letGo = store.map(key).get("f");
    same(key, ["f"]);
    await known(key);
    const again = store.map(key).get("f");
    await store.saved();
    store.close();
    same(key, ["f"]);
    const closed = store.map(key).get("f");
    const { forget } = await import("/index.js");
    // The lock is given back in a while.
    for (;;) {
      try {
        await forget(location.origin);
        break;
      } catch (error) {
        if (!error.message.includes("close it first")) throw error;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    await opened({ storage: location.origin });
    return { before, letGo, again, closed, forgotten: store.map(key).get("f") };
  }, key);
  assert.deepEqual(read, { before: "1", letGo: undefined, again: "1", closed: "1", forgotten: undefined });
});

test("names that are one to the leaf are one to what is kept", async (t) => {
  const page = await reader(t);
  const read = await page.evaluate(async () => {
    await opened({ storage: false });
    store.cut();
    const half = store.counter("\ud800");
    half.increment();
    const values = [half.value];
    // UTF-8 has neither, and both become the same.
    store.counter("\udc00").increment();
    values.push(half.value);
    store.counter(5).increment();
    values.push(store.counter(5).value);
    store.counter("5").increment();
    values.push(store.counter(5).value);
    return values;
  });
  assert.deepEqual(read, [1, 2, 1, 2]);
});

test("what is kept is bounded, in entries and in bytes", async () => {
  const entry = join(dirname(fileURLToPath(import.meta.url)), "../src/client/reads.ts");
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: "esm", write: false });
  const { Reads } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
  for (const [entries, length] of [[100_000, 1], [100, 1_000_000], [3, 20_000_000]]) {
    const reads = new Reads();
    const names = Array.from({ length: entries }, (_, at) => `${at}`);
    const answer = "a".repeat(length);
    for (const [at, name] of names.entries()) reads.keep(`key ${at % 1000}`, "HGET", name, answer);
    const kept = names.filter((name, at) => reads.get(`key ${at % 1000}`, "HGET", name) !== undefined).length;
    assert.ok(kept * (512 + 2 * length) <= 8 << 20, `${kept} of ${entries} answers of ${length} characters are kept`);
    reads.clear();
    reads.keep("key", "GET", undefined, 1);
    assert.equal(reads.get("key", "GET", undefined), 1);
    reads.drop("key");
    assert.equal(reads.get("key", "GET", undefined), undefined);
  }
});

/** A page without the site's scripts, with what `prepared` puts there. */
async function reader(t) {
  const page = await tab(t, `${here}/icon.svg`);
  await page.evaluate(prepared, token);
  return page;
}

/** What these tests call in the page. */
function prepared(token) {
  window.opened = async (options) => {
    const { open } = await import("/index.js");
    window.store = await open({ url: location.origin, token, ...options });
  };
  /** Subscribes, and waits; gives what ends it. */
  window.known = async (key) => {
    const end = store.subscribe([key], () => {});
    await store.ready([key]);
    return end;
  };
  /** Compares all that the views read of a key with what the leaf answers; gives how many reads were compared. */
  window.same = (key, names) => {
    const number = (reply) => (reply === null ? null : Number(reply));
    const reads = [
      [["GET", key], () => store.counter(key).value, (reply) => Number(reply ?? 0)],
      [["SCARD", key], () => store.set(key).size, Number],
      [["HLEN", key], () => store.map(key).size, Number],
      [["ZCARD", key], () => store.board(key).size, Number],
      ...names.flatMap((name) => [
        [["SISMEMBER", key, name], () => store.set(key).has(name), (reply) => reply === 1],
        [["HGET", key, name], () => store.map(key).get(name), (reply) => reply],
        [["ZSCORE", key, name], () => store.board(key).score(name), number],
        [["ZREVRANK", key, name], () => store.board(key).rank(name), number],
      ]),
    ];
    const attempt = (read, as) => {
      try {
        return as(read());
      } catch (error) {
        return error.name === "UnknownKeyError" ? undefined : `${error.name}: ${error.message}`;
      }
    };
    let compared = 0;
    for (const [words, read, as] of reads) {
      const before = attempt(() => store.command(words), as);
      const kept = [1, 2].map(() => attempt(read, (value) => value));
      const after = attempt(() => store.command(words), as);
      // It ended meanwhile.
      if (!Object.is(before, after)) continue;
      for (const value of kept) {
        if (!Object.is(value, after)) throw new Error(`${words.join(" ")} reads ${value}, and the leaf answers ${after}`);
      }
      compared += 1;
    }
    return compared;
  };
}

function field(page, key) {
  return page.evaluate((key) => {
    same(key, ["f"]);
    return store.map(key).get("f");
  }, key);
}
