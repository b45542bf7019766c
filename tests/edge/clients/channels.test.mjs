// `redis.subscribe` and `redis.psubscribe` of `@upstash/redis` as it is published, against two edges of one origin.
//
// Run by tests/edge/channels.rs, which says in the environment where the edges and the origin's Redis are.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Redis } from "@upstash/redis";
import { connect } from "./server.mjs";

const token = process.env.HEADWATER_TEST_TOKEN;
const edge = (url) => new Redis({ url, token, retry: false });
const here = edge(process.env.HEADWATER_TEST_EDGE_URL);
const elsewhere = edge(process.env.HEADWATER_TEST_OTHER_EDGE_URL);
const server = await connect(Number(process.env.HEADWATER_TEST_REDIS_PORT));
after(() => server.end());

let count = 0;
const channel = () => `channel:${process.pid}:${count++}`;

/** What a subscriber hears of one kind, to be awaited one by one. */
function heard(subscriber, kind) {
  const waiting = [];
  const asking = [];
  subscriber.on(kind, (event) => (asking.length > 0 ? asking.shift()(event) : waiting.push(event)));
  return () =>
    waiting.length > 0
      ? Promise.resolve(waiting.shift())
      : new Promise((resolve, reject) => {
          asking.push(resolve);
          setTimeout(() => reject(new Error(`nothing of the kind ${kind} is heard`)), 60_000).unref();
        });
}

/** Until nobody listens at Redis. */
async function unheard(name) {
  const deadline = Date.now() + 120_000;
  while ((await server(["PUBSUB", "NUMSUB", name]))[1] > 0) {
    assert.ok(Date.now() < deadline, `somebody still listens to ${name}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("subscribe hears what edges and plain clients publish", async () => {
  const name = channel();
  const subscriber = here.subscribe([name]);
  const [subscribed, message, own] = ["subscribe", "message", `message:${name}`].map((kind) => heard(subscriber, kind));
  assert.equal(await subscribed(), 1);
  assert.equal(await here.publish(name, { deep: [true, null] }), 1);
  assert.deepEqual(await message(), { channel: name, message: { deep: [true, null] } });
  assert.deepEqual((await own()).message, { deep: [true, null] });
  assert.equal(await elsewhere.publish(name, "a, b"), 1);
  assert.deepEqual(await message(), { channel: name, message: "a, b" });
  assert.equal(await server(["PUBLISH", name, "42"]), 1);
  assert.deepEqual(await message(), { channel: name, message: 42 });
  assert.deepEqual(subscriber.getSubscribedChannels(), [name]);
  await subscriber.unsubscribe();
  await unheard(name);
});

test("one subscription of the daemon serves all", async () => {
  const name = channel();
  const subscribers = [here, here, elsewhere].map((client) => client.subscribe(name));
  const [subscribed, messages] = ["subscribe", "message"].map((kind) => subscribers.map((each) => heard(each, kind)));
  for (const subscribe of subscribed) await subscribe();
  assert.equal(await server(["PUBLISH", name, "text"]), 1);
  for (const message of messages) assert.equal((await message()).message, "text");
  await subscribers[0].unsubscribe();
  await server(["PUBLISH", name, "again"]);
  for (const message of messages.slice(1)) assert.equal((await message()).message, "again");
  await Promise.all(subscribers.map((subscriber) => subscriber.unsubscribe()));
  await unheard(name);
});

test("psubscribe hears the channels that match", async () => {
  const name = channel();
  const subscriber = here.psubscribe([`${name}:*`]);
  const [subscribed, message] = ["psubscribe", "pmessage"].map((kind) => heard(subscriber, kind));
  assert.equal(await subscribed(), 1);
  assert.equal(await server(["PUBLISH", name, "1"]), 0);
  assert.equal(await elsewhere.publish(`${name}:a`, { n: 2 }), 1);
  assert.deepEqual(await message(), { pattern: `${name}:*`, channel: `${name}:a`, message: { n: 2 } });
  await subscriber.unsubscribe();
});

test("what is refused is told to the client", async () => {
  const subscriber = here.subscribe("hw:changed");
  assert.match((await heard(subscriber, "error")()).message, /Headwater's own/);
});
