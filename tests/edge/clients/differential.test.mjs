// Random commands through `@upstash/redis` and an edge with an origin, and the same to a redis-server: every reply is the same.
//
// The long form of this test is shared/tests/differential.rs, which knows no HTTP; this one is about what lies between. Replies
// whose order means nothing are sorted. A failure names its seed; HEADWATER_SEED=n runs that seed alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { random } from "./draw.mjs";
import { connect } from "./server.mjs";

const edge = new Redis({
  url: process.env.HEADWATER_TEST_EDGE_URL,
  token: process.env.HEADWATER_TEST_TOKEN,
  retry: false,
  automaticDeserialization: false,
});

const SEEDS = process.env.HEADWATER_SEED ? [Number(process.env.HEADWATER_SEED)] : [1, 2, 3];
const COMMANDS = 150;
const UNORDERED = new Set(["SMEMBERS", "SPOP", "SINTER", "SUNION", "SDIFF", "HKEYS", "HVALS"]);

// Of one slot, as commands that need one agreed order take them.
const KEYS = ["{s}a", "{s}b", "{s}c", "{s}d"];
const NAMES = ["m", "n", "ü🌊", "1", "2", "", "OK"];
const VALUES = ["text", "7", "-3", "10.5", "", "OK", "null", '{"a":1}', "007", 'a"\\\n'];
const TEMPLATES = [
  "SET K V NX", "SET K V XX GET", "SETNX K V", "MSETNX K V K V", "GETDEL K", "RENAMENX K K", "SPOP K 99", "ZPOPMIN K P",
  "ZPOPMAX K", "SET K V", "GET K", "DEL K K", "EXISTS K K", "TYPE K", "INCR K", "INCRBYFLOAT K F", "APPEND K V", "STRLEN K",
  "GETRANGE K P P", "MSET K V K V", "MGET K K", "GETSET K V", "COPY K K REPLACE", "RENAME K K",
  "EXPIREAT K 4000000000", "EXPIRETIME K", "PERSIST K", "SADD K N N N", "SREM K N", "SMEMBERS K",
  "SMISMEMBER K N N", "SMOVE K K N", "SINTER K K", "SUNION K K", "SDIFFSTORE K K K", "HSET K N V N V", "HGET K N",
  "HMGET K N N", "HDEL K N", "HINCRBY K N P", "HINCRBYFLOAT K N F", "HKEYS K", "HVALS K", "HSTRLEN K N",
  "ZADD K P N P N", "ZADD K XX CH P N", "ZINCRBY K P N", "ZSCORE K N", "ZMSCORE K N N", "ZRANGE K P P WITHSCORES",
  "ZREVRANGE K P P", "ZRANGEBYSCORE K P P WITHSCORES", "ZCOUNT K P P", "ZREMRANGEBYRANK K P P",
  "ZUNIONSTORE K 2 K K", "ZINTER 2 K K WITHSCORES", "SET K", "HSET K N", "ZADD K V N", "EXPIRE K text", "PING V",
  "ECHO V",
];

test("the client through an edge gets what Redis answers", async () => {
  const redis = await connect(Number(process.env.HEADWATER_TEST_REDIS_PORT));
  for (const seed of SEEDS) {
    await redis(["FLUSHALL"]);
    const draw = random(seed);
    const one = (values) => values[draw(values.length)];
    const words = {
      K: () => `${seed}:${one(KEYS)}`,
      N: () => one(NAMES),
      V: () => one(VALUES),
      P: () => one(["0", "1", "2", "-1", "5"]),
      F: () => one(["0.1", "-0.5", "3"]),
    };
    const fill = (template) => template.split(" ").map((word) => words[word]?.() ?? word);
    const commands = Array.from({ length: COMMANDS }, () => fill(one(TEMPLATES)));
    for (const command of commands) {
      const [theirs, ours] = [await redis(command), await through(command)];
      const hint = `HEADWATER_SEED=${seed}: ${JSON.stringify(command)}`;
      assert.deepEqual(comparable(command, ours), comparable(command, theirs), hint);
    }
  }
  redis.end();
});

async function through(command) {
  try {
    return await edge.exec(command);
  } catch (error) {
    return { error: error.message.split(", command was:")[0] };
  }
}

function comparable([name], reply) {
  if (reply?.error !== undefined) return reply;
  return UNORDERED.has(name) && Array.isArray(reply) ? [...reply].sort() : reply;
}
