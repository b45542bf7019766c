// `@upstash/redis` as it is published, against an edge with an origin: what its users call, and what they get back.
//
// Run by tests/edge/clients.rs, which says in the environment where the edge is. Each test has keys of its own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";

const url = process.env.HEADWATER_TEST_EDGE_URL;
const token = process.env.HEADWATER_TEST_TOKEN;
const redis = new Redis({ url, token, retry: false });
const raw = new Redis({ url, token, retry: false, automaticDeserialization: false });
const plain = new Redis({ url, token, retry: false, enableAutoPipelining: false, responseEncoding: false });

let count = 0;
/** Keys that no other test has. */
const keys = (number) => Array.from({ length: number }, () => `test:${process.pid}:${count++}`);
const sorted = (values) => [...values].sort();
/** What is left of so many seconds that were given to a key just now, on a machine that may be slow. */
const isLately = (seconds, left) => left > seconds - 60 && left <= seconds;
const rejects = (promise, text) => assert.rejects(promise, (error) => error.message.includes(text));

test("strings and counters", async () => {
  const [k, n, a, b] = keys(4);
  assert.equal(await redis.set(k, "value"), "OK");
  assert.equal(await redis.get(k), "value");
  assert.equal(await redis.append(k, "!"), 6);
  assert.equal(await redis.strlen(k), 6);
  assert.equal(await redis.getrange(k, 0, 2), "val");
  assert.equal(await redis.setrange(k, 1, "A"), 6);
  assert.equal(await redis.getset(k, "next"), "vAlue!");
  assert.equal(await redis.incr(n), 1);
  assert.equal(await redis.incrby(n, 41), 42);
  assert.equal(await redis.decr(n), 41);
  assert.equal(await redis.decrby(n, 1), 40);
  assert.equal(await redis.incrbyfloat(n, 0.5), 40.5);
  assert.equal(await redis.mset({ [a]: 1, [b]: { deep: [true, null] } }), "OK");
  assert.deepEqual(await redis.mget(a, b, "absent"), [1, { deep: [true, null] }, null]);
  assert.equal(await redis.setex(k, 100, "x"), "OK");
  assert.equal(await redis.psetex(k, 100_000, "x"), "OK");
  assert.equal(await redis.getex(k, { persist: true }), "x");
  assert.equal(await redis.ttl(k), -1);
});

test("keys and their deadlines", async () => {
  const [k, j, absent] = keys(3);
  assert.equal(await redis.set(k, "v", { ex: 100 }), "OK");
  assert.ok(isLately(100, await redis.ttl(k)));
  assert.equal(await redis.expire(k, 200, "GT"), 1);
  assert.equal(await redis.expire(k, 200, "NX"), 0);
  assert.equal(await redis.expireat(k, 4_000_000_000), 1);
  assert.ok((await redis.pttl(k)) > 1_000_000_000);
  assert.equal(await redis.pexpireat(k, 4_000_000_000_000), 1);
  assert.equal(await redis.persist(k), 1);
  assert.equal(await redis.copy(k, j), "COPIED");
  assert.equal(await redis.rename(j, absent), "OK");
  assert.equal(await redis.exists(k, j, absent), 2);
  assert.equal(await redis.touch(k, j), 1);
  assert.equal(await redis.type(k), "string");
  assert.equal(await redis.unlink(k, j), 1);
  assert.equal(await redis.del(absent), 1);
  assert.equal(await redis.get(absent), null);
});

test("sets", async () => {
  const [a, b, d] = keys(3);
  assert.equal(await redis.sadd(a, 1, 2, 3), 3);
  assert.equal(await redis.sadd(b, 2, 3, 4), 3);
  assert.equal(await redis.scard(a), 3);
  assert.equal(await redis.sismember(a, 1), 1);
  assert.deepEqual(await redis.smismember(a, [1, 9]), [1, 0]);
  assert.deepEqual(sorted(await redis.smembers(a)), [1, 2, 3]);
  assert.deepEqual(sorted(await redis.sinter(a, b)), [2, 3]);
  assert.deepEqual(sorted(await redis.sunion(a, b)), [1, 2, 3, 4]);
  assert.deepEqual(await redis.sdiff(a, b), [1]);
  assert.equal(await redis.sinterstore(d, a, b), 2);
  assert.equal(await redis.sunionstore(d, a, b), 4);
  assert.equal(await redis.sdiffstore(d, a, b), 1);
  assert.equal(await redis.smove(a, b, 1), 1);
  assert.ok([2, 3].includes(await redis.srandmember(a)));
  assert.equal((await redis.srandmember(a, 5)).length, 2);
  const [cursor, members] = await redis.sscan(b, 0, { match: "*", count: 10 });
  assert.deepEqual([String(cursor), sorted(members)], ["0", [1, 2, 3, 4]]);
  assert.equal(await redis.srem(a, 2, 9), 1);
});

test("hashes", async () => {
  const [h] = keys(1);
  assert.equal(await redis.hset(h, { name: "Ada", born: 1815, tags: ["a", "b"] }), 3);
  assert.equal(await redis.hget(h, "name"), "Ada");
  assert.deepEqual(await redis.hgetall(h), { name: "Ada", born: 1815, tags: ["a", "b"] });
  assert.deepEqual(await redis.hmget(h, "born", "absent"), { born: 1815, absent: null });
  assert.equal(await redis.hmset(h, { x: 1 }), "OK");
  assert.equal(await redis.hexists(h, "x"), 1);
  assert.equal(await redis.hsetnx(h, "x", 2), 0);
  assert.equal(await redis.hincrby(h, "x", 4), 5);
  assert.equal(await redis.hincrbyfloat(h, "x", 0.25), 5.25);
  assert.deepEqual(sorted(await redis.hkeys(h)), ["born", "name", "tags", "x"]);
  assert.equal((await redis.hvals(h)).length, 4);
  assert.equal(await redis.hstrlen(h, "name"), 3);
  assert.equal(await redis.hlen(h), 4);
  assert.equal(typeof (await redis.hrandfield(h)), "string");
  assert.deepEqual(Object.keys(await redis.hrandfield(h, 9, true)).length, 4);
  assert.equal((await redis.hscan(h, 0))[1].length, 8);
  assert.equal(await redis.hdel(h, "x", "absent"), 1);
});

test("sorted sets", async () => {
  const [z, y, d] = keys(3);
  assert.equal(await redis.zadd(z, { score: 1, member: "a" }, { score: 2.5, member: "b" }, { score: 3, member: "c" }), 3);
  assert.equal(await redis.zadd(z, { nx: true }, { score: 9, member: "a" }), 0);
  assert.equal(await redis.zadd(z, { ch: true, gt: true }, { score: 2, member: "a" }), 1);
  assert.equal(await redis.zincrby(z, 0.5, "b"), 3);
  assert.equal(await redis.zscore(z, "b"), 3);
  assert.deepEqual(await redis.zmscore(z, ["a", "absent"]), [2, null]);
  assert.equal(await redis.zrank(z, "c"), 2);
  assert.equal(await redis.zrevrank(z, "c"), 0);
  assert.equal(await redis.zcard(z), 3);
  assert.equal(await redis.zcount(z, "(2", "+inf"), 2);
  assert.deepEqual(await redis.zrange(z, 0, -1, { withScores: true }), ["a", 2, "b", 3, "c", 3]);
  assert.deepEqual(await redis.zrange(z, 0, 1, { rev: true }), ["c", "b"]);
  assert.deepEqual(await redis.zrange(z, "-inf", "(3", { byScore: true }), ["a"]);
  assert.deepEqual(await redis.zrange(z, 0, 9, { byScore: true, offset: 1, count: 1 }), ["b"]);
  await redis.zadd(y, { score: 0, member: "a" }, { score: 0, member: "b" }, { score: 0, member: "x" });
  assert.deepEqual(await redis.zrange(y, "[b", "+", { byLex: true }), ["b", "x"]);
  assert.equal(await redis.zlexcount(y, "-", "+"), 3);
  assert.equal(await redis.zunionstore(d, 2, [z, y], { weights: [2, 1], aggregate: "max" }), 4);
  assert.equal(await redis.zinterstore(d, 2, [z, y]), 2);
  assert.equal(await redis.zdiffstore(d, 2, z, y), 1);
  assert.deepEqual(await redis.zunion(2, [z, y], { withScores: true }), ["x", 0, "a", 2, "b", 3, "c", 3]);
  assert.equal((await redis.zscan(z, 0))[1].length, 6);
  assert.ok(["a", "b", "x"].includes(await redis.exec(["ZRANDMEMBER", y])));
  assert.equal(await redis.zremrangebyscore(z, 3, 3), 2);
  assert.equal(await redis.zremrangebyrank(z, 0, 0), 1);
  assert.equal(await redis.zremrangebylex(y, "[a", "[b"), 2);
  assert.equal(await redis.zrem(y, "x"), 1);
  assert.equal(await redis.exists(z, y), 0);
});

test("what needs one agreed order", async () => {
  const [k, n, set, board, absent] = keys(5);
  const [a, b, c] = ["a", "b", "c"].map((name) => `{${k}}${name}`);
  assert.equal(await redis.set(k, "first", { nx: true, ex: 100 }), "OK");
  assert.equal(await redis.set(k, "second", { nx: true }), null);
  assert.equal(await redis.set(k, "second", { xx: true, get: true }), "first");
  assert.equal(await redis.set(absent, "v", { xx: true }), null);
  assert.equal(await redis.getdel(k), "second");
  assert.equal(await redis.getdel(k), null);
  assert.equal(await redis.setnx(n, 5), 1);
  assert.equal(await redis.setnx(n, 6), 0);
  assert.equal(await redis.incr(n), 6);
  assert.equal(await redis.msetnx({ [a]: 1, [b]: 2 }), 1);
  assert.equal(await redis.msetnx({ [b]: 3, [c]: 4 }), 0);
  assert.equal(await redis.renamenx(a, b), 0);
  assert.equal(await redis.renamenx(a, c), 1);
  await redis.sadd(set, "x", "y", "z");
  const popped = await redis.spop(set);
  assert.equal(await redis.sismember(set, popped), 0);
  assert.equal((await redis.spop(set, 9)).length, 2);
  assert.equal(await redis.exists(set), 0);
  await redis.zadd(board, { score: 1, member: "low" }, { score: 2, member: "mid" }, { score: 3, member: "high" });
  assert.deepEqual(await redis.zpopmin(board), ["low", 1]);
  assert.deepEqual(await redis.zpopmax(board, 5), ["high", 3, "mid", 2]);
  assert.deepEqual(await redis.pipeline().set(k, 1, { nx: true }).incr(k).getdel(k).exists(k).exec(), ["OK", 2, 2, 0]);
  const racing = await Promise.all([1, 2, 3].map((value) => plain.set(k, value, { nx: true })));
  assert.deepEqual(sorted(racing.map(String)), ["OK", "null", "null"]);
});

test("the names of all keys", async () => {
  const [k] = keys(1);
  const names = Array.from({ length: 25 }, (_, at) => `${k}:${at}`);
  await redis.mset(Object.fromEntries(names.map((name) => [name, 1])));
  assert.deepEqual(sorted(await redis.keys(`${k}:*`)), sorted(names));
  const found = new Set();
  let cursor = "0";
  do {
    const [next, page] = await redis.scan(cursor, { match: `${k}:*`, count: 7, type: "string" });
    page.forEach((name) => found.add(name));
    cursor = next;
  } while (String(cursor) !== "0");
  assert.deepEqual(sorted(found), sorted(names));
  assert.ok((await redis.dbsize()) >= 25);
  const all = await redis.keys("*");
  assert.ok(all.every((name) => !name.startsWith("hw:")), String(all));
  assert.equal(typeof (await redis.randomkey()), "string");
  assert.equal(await redis.flushdb(), "OK");
  assert.equal(await redis.dbsize(), 0);
  assert.equal(await redis.get(names[0]), null);
});

test("values keep their JSON types, or their text where the client asks for it", async () => {
  const [k] = keys(1);
  for (const value of [0, -1.5, true, null, "text", "", "12abc", { a: [1, { b: "c" }] }, [1, "2", null]]) {
    await redis.set(k, value);
    assert.deepEqual(await redis.get(k), value);
  }
  await raw.set(k, { a: 1 });
  assert.equal(await raw.get(k), '{"a":1}');
  await raw.set(k, "0012");
  assert.equal(await raw.get(k), "0012");
});

test("text of every kind comes back as it was, encoded or not", async () => {
  const [k, h] = keys(2);
  for (const text of ["OK", "é🌊\u0000\n\"\\", "T0s=", " ", "\ud83c\udf0a".repeat(1000)]) {
    for (const client of [raw, new Redis({ url, token, responseEncoding: false, automaticDeserialization: false })]) {
      assert.equal(await client.set(k, text), "OK");
      assert.equal(await client.get(k), text);
      await client.hset(h, { [text]: text });
      assert.equal(await client.hget(h, text), text);
    }
  }
});

test("bytes that are no text survive in base64", async () => {
  const [k] = keys(1);
  const headers = { authorization: `Bearer ${token}`, "upstash-encoding": "base64" };
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const set = await fetch(`${url}/set/${k}`, { method: "POST", headers, body: bytes });
  assert.deepEqual(await set.json(), { result: "OK" });
  const { result } = await (await fetch(`${url}/get/${k}`, { headers })).json();
  assert.deepEqual(new Uint8Array(Buffer.from(result, "base64")), bytes);
});

test("a pipeline answers in order, and its errors are told with the command", async () => {
  const [k, s] = keys(2);
  const pipeline = redis.pipeline().set(k, 1).incr(k).sadd(s, "m").get(k);
  assert.deepEqual(await pipeline.exec(), ["OK", 2, 1, 2]);
  const failing = redis.pipeline();
  failing.incr(k);
  failing.incr(s);
  await rejects(failing.exec(), "WRONGTYPE Operation against a key holding the wrong kind of value");
  const kept = redis.pipeline();
  kept.incr(k);
  kept.incr(s);
  const [first, second] = await kept.exec({ keepErrors: true });
  assert.equal(first.result, 4);
  assert.match(second.error, /^WRONGTYPE/);
});

test("commands of one tick share a request", async () => {
  const [n] = keys(1);
  const auto = new Redis({ url, token, enableAutoPipelining: true });
  const replies = await Promise.all(Array.from({ length: 20 }, () => auto.incr(n)));
  assert.deepEqual(replies.sort((a, b) => a - b), Array.from({ length: 20 }, (_, at) => at + 1));
  assert.ok(auto.pipelineCounter > 0, "the client did send pipelines");
});

test("a transaction is executed whole or, where a command cannot be read, not at all", async () => {
  const [k, s] = keys(2);
  assert.deepEqual(await redis.multi().set(k, "v").get(k).sadd(s, "m").exec(), ["OK", "v", 1]);
  const wrong = redis.multi();
  wrong.set(k, "w");
  wrong.expire(k, "soon");
  await rejects(wrong.exec(), "EXECABORT Transaction discarded because of: ERR value is not an integer or out of range");
  assert.equal(await redis.get(k), "v");
});

test("errors are those of Redis", async () => {
  const [k] = keys(1);
  await redis.set(k, "text");
  await rejects(redis.incr(k), "ERR value is not an integer or out of range");
  await rejects(redis.sadd(k, "m"), "WRONGTYPE Operation against a key holding the wrong kind of value");
  await rejects(redis.exec(["BLPOP", k, "0"]), "ERR unknown command 'BLPOP'");
  await rejects(redis.llen(k), "WRONGTYPE Operation against a key holding the wrong kind of value");
  await rejects(redis.spop(k), "WRONGTYPE Operation against a key holding the wrong kind of value");
  await rejects(redis.spop(k, -1), "ERR value is out of range, must be positive");
  await rejects(redis.renamenx(`${k}{absent}`, "{absent}"), "ERR no such key");
  await rejects(redis.msetnx({ [k]: 1, other: 2 }), "CROSSSLOT");
  await rejects(new Redis({ url, token: "wrong", retry: false }).get(k), "unauthorized");
});

test("the rest of the dialect: paths, queries, tokens, sync tokens, streams", async () => {
  const [k] = keys(1);
  const headers = { authorization: `Bearer ${token}` };
  const ask = async (path, init = {}) => {
    const response = await fetch(`${url}${path}`, { headers, ...init });
    return [response.status, await response.json(), response.headers.get("upstash-sync-token")];
  };
  assert.deepEqual(await ask(`/set/${k}/a%20b`), [200, { result: "OK" }, null]);
  assert.deepEqual(await ask(`/get/${k}`), [200, { result: "a b" }, null]);
  assert.deepEqual(await ask(`/set/${k}?EX=100`, { method: "POST", body: "from the body" }), [200, { result: "OK" }, null]);
  const [status, { result: ttl }] = await ask(`/ttl/${k}`);
  assert.ok(status === 200 && isLately(100, ttl), `${status} ${ttl}`);
  assert.deepEqual(await ask(`/get/${k}?_token=${encodeURIComponent(token)}`, { headers: {} }), [
    200,
    { result: "from the body" },
    null,
  ]);
  assert.equal((await ask(`/get/${k}`, { headers: {} }))[0], 401);
  assert.equal((await ask(`/llen/${k}`))[0], 400);
  const begun = (await ask(`/get/${k}`, { headers: { ...headers, "upstash-sync-token": "" } }))[2];
  assert.match(begun, /^hw1\./);
  assert.match((await ask(`/get/${k}`, { headers: { ...headers, "upstash-sync-token": begun } }))[2], /^hw1\./);
  for (const path of ["/monitor", "/ssubscribe/channel"]) {
    const [status, body] = await ask(path, { method: "POST" });
    assert.equal(status, 400);
    assert.match(body.error, /MONITOR and SSUBSCRIBE are not served/);
  }
});

test("one client reads its writes", async () => {
  const [n] = keys(1);
  for (let at = 1; at <= 20; at++) {
    assert.equal(await plain.incr(n), at);
    assert.equal(await plain.get(n), at);
  }
});
