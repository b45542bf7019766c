// The npm client behind an address that leads now to one region and now to another, as anycast does: it carries the sync
// token of each answer into its next request, and so reads its own writes wherever it comes out.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { Redis } from "@upstash/redis";

const regions = [process.env.HEADWATER_TEST_EDGE_URL, process.env.HEADWATER_TEST_OTHER_EDGE_URL];
const token = process.env.HEADWATER_TEST_TOKEN;

let proxy;
let url;
let handed = 0;

// Each request goes to the region after the one before.
async function pass(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { host, connection, "content-length": length, ...headers } = request.headers;
  const region = regions[handed++ % regions.length];
  const answer = await fetch(region + request.url, {
    method: request.method,
    headers,
    body: chunks.length > 0 ? Buffer.concat(chunks) : undefined,
  });
  const sync = answer.headers.get("upstash-sync-token");
  response.writeHead(answer.status, {
    "content-type": answer.headers.get("content-type"),
    ...(sync === null ? {} : { "upstash-sync-token": sync }),
  });
  response.end(Buffer.from(await answer.arrayBuffer()));
}

before(async () => {
  proxy = createServer((request, response) => {
    pass(request, response).catch((error) => response.writeHead(502).end(String(error)));
  });
  await new Promise((listening) => proxy.listen(0, "127.0.0.1", listening));
  url = `http://127.0.0.1:${proxy.address().port}`;
});

after(() => proxy.close());

test("a client reads its writes in whichever region it comes out", async () => {
  const redis = new Redis({ url, token, retry: false });
  for (let at = 1; at <= 30; at++) {
    assert.equal(await redis.set("session:value", at), "OK");
    assert.equal(await redis.get("session:value"), at);
    assert.equal(await redis.incr("session:count"), 2 * at - 1);
    assert.equal(await redis.incr("session:count"), 2 * at);
    assert.equal(await redis.sadd("session:members", at), 1);
    assert.equal(await redis.scard("session:members"), at);
  }
});

test("what a client read in one region is no older in the next", async () => {
  const writer = new Redis({ url: regions[0], token, retry: false });
  const reader = new Redis({ url, token, retry: false });
  let last = 0;
  for (let at = 1; at <= 60; at++) {
    await writer.set("session:growing", at);
    const read = Number((await reader.get("session:growing")) ?? 0);
    assert.ok(read >= last, `${read} after ${last}`);
    last = read;
  }
});

test("a token that is none is refused, and one that names too much is told that it does", async () => {
  const ask = async (sync, path) => {
    const headers = { authorization: `Bearer ${token}`, "upstash-sync-token": sync };
    const response = await fetch(`${regions[1]}${path}`, { headers });
    return [response.status, await response.json(), response.headers.get("upstash-sync-token")];
  };
  const [status, body] = await ask("seen:1", "/get/session:value");
  assert.equal(status, 400);
  assert.match(body.error, /Upstash-Sync-Token cannot be read/);
  const [, , begun] = await ask("", "/get/session:value");
  assert.match(begun, /^hw1\./);
});

test("Headwater-Consistency: session begins a session without a token", async () => {
  const headers = { authorization: `Bearer ${token}`, "headwater-consistency": "session" };
  const set = await fetch(`${regions[0]}/set/session:begun/1`, { headers });
  const sync = set.headers.get("upstash-sync-token");
  const get = await fetch(`${regions[1]}/get/session:begun`, { headers: { ...headers, "upstash-sync-token": sync } });
  assert.deepEqual(await get.json(), { result: "1" });
});
