// `@upstash/ratelimit` as it is published, against an edge with an origin and against a redis-server: every answer is the same.
//
// Its clock is ours, so that windows pass without waiting; they are so long that no key ends by the servers' clocks. A failure
// names its seed; HEADWATER_SEED=n runs that seed alone.

import assert from "node:assert/strict";
import { after, before, mock, test } from "node:test";
import { IpDenyList, MultiRegionRatelimit, Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { random } from "./draw.mjs";
import { connect } from "./server.mjs";

const url = process.env.HEADWATER_TEST_EDGE_URL;
const token = process.env.HEADWATER_TEST_TOKEN;
const edge = new Redis({ url, token, retry: false, enableTelemetry: false });

const SEEDS = process.env.HEADWATER_SEED ? [Number(process.env.HEADWATER_SEED)] : [1, 2, 3];
const STEPS = 50;
const MINUTE = 60_000;

let run;
let server;
before(async () => {
  run = await connect(Number(process.env.HEADWATER_TEST_REDIS_PORT));
  server = plain(run);
  mock.timers.enable({ apis: ["Date"], now: Date.now() });
});
after(() => run.end());

/** What of the client the package calls, over a redis-server; replies that are JSON become values, as the client makes them. */
function plain(run) {
  const value = (reply) => {
    if (Array.isArray(reply)) return reply.map(value);
    if (typeof reply !== "string") return reply;
    try {
      return JSON.parse(reply);
    } catch {
      return reply;
    }
  };
  // One command at a time.
  let last = Promise.resolve();
  const ask = async (...words) => {
    const command = words.map((word) => (typeof word === "string" ? word : JSON.stringify(word)));
    last = last.then(() => run(command));
    const reply = await last;
    if (reply?.error !== undefined) throw new Error(reply.error);
    return value(reply);
  };
  return {
    evalsha: async () => {
      throw new Error("NOSCRIPT");
    },
    // The scripts begin with a flag that only Upstash's own server knows.
    eval: (script, keys, args) => ask("EVAL", script.replace("#!lua flags=allow-key-locking", ""), keys.length, ...keys, ...args),
    get: (key) => ask("GET", key),
    set: (key, text) => ask("SET", key, text),
    del: (key) => ask("DEL", key),
    hset: (key, fields) => ask("HSET", key, ...Object.entries(fields).flat()),
  };
}

const ALGORITHMS = {
  "fixed window": Ratelimit.fixedWindow(7, "10 m"),
  "sliding window": Ratelimit.slidingWindow(7, "10 m"),
  "token bucket": Ratelimit.tokenBucket(3, "10 m", 10),
  "token bucket that takes long to fill": Ratelimit.tokenBucket(1, "7 m", 100),
};

for (const [name, limiter] of Object.entries(ALGORITHMS)) {
  for (const ephemeralCache of [false, undefined]) {
    test(`${name}${ephemeralCache === false ? "" : ", with the client's own cache"}`, async () => {
      await compare(name, ({ redis, prefix }) => new Ratelimit({ redis, prefix, limiter, ephemeralCache }));
    });
  }
  test(`${name}, with a dynamic limit`, async () => {
    const limited = ({ redis, prefix }) =>
      new Ratelimit({ redis, prefix, limiter, ephemeralCache: false, dynamicLimits: true });
    await compare(`${name} dynamic`, limited, true);
  });
}

test("cached fixed window", async () => {
  const limiter = Ratelimit.cachedFixedWindow(7, "10 m");
  await compare("cached", ({ redis, prefix }) => new Ratelimit({ redis, prefix, limiter }));
});

test("fixed window over regions", async () => {
  const limiter = MultiRegionRatelimit.fixedWindow(7, "10 m");
  await compareRegions("regions fixed", limiter);
});

test("sliding window over regions", async () => {
  const limiter = MultiRegionRatelimit.slidingWindow(7, "10 m");
  await compareRegions("regions sliding", limiter);
});

async function compareRegions(name, limiter) {
  // It does not wait for its reset, which then races with what is asked next.
  const limited = ({ redis, prefix }) =>
    Object.assign(new MultiRegionRatelimit({ redis: [redis], prefix, limiter }), { resetUsedTokens: async () => {} });
  await compare(name, limited);
}

/** Draws what an application asks of its limiter, and demands the same answers of both. */
async function compare(name, limited, isDynamic = false) {
  for (const seed of SEEDS) {
    const draw = random(seed);
    const prefix = `${process.pid}:${name}:${seed}`;
    const limiters = [edge, server].map((redis) => limited({ redis, prefix }));
    for (let step = 0; step < STEPS; step++) {
      if (draw(4) === 0) mock.timers.tick(draw(8) * MINUTE + draw(MINUTE));
      const ask = asked(draw, isDynamic);
      const [ours, theirs] = await Promise.all(limiters.map(ask));
      assert.deepEqual(ours, theirs, `HEADWATER_SEED=${seed}, ${name}, step ${step}`);
    }
  }
}

function asked(draw, isDynamic) {
  const id = ["ada", "ben"][draw(2)];
  switch (draw(isDynamic ? 13 : 11)) {
    case 0:
      return (limiter) => limiter.getRemaining(id);
    case 1: {
      const rate = [2, 5, -1, -3][draw(4)];
      return (limiter) => answer(limiter.limit(id, { rate }));
    }
    case 2:
      if (draw(6) > 0) return (limiter) => limiter.getRemaining(id);
      return async (limiter) => {
        await limiter.resetUsedTokens(id);
        return await limiter.getRemaining(id);
      };
    case 11:
      return (limiter) => limiter.getDynamicLimit();
    case 12: {
      const limit = [false, 3, 12][draw(3)];
      return (limiter) => limiter.setDynamicLimit({ limit });
    }
    default:
      return (limiter) => answer(limiter.limit(id));
  }
}

async function answer(limited) {
  const { pending, ...rest } = await limited;
  await pending;
  return rest;
}

test("a deny list is asked beside the limit, and its state is told once", async () => {
  const prefix = `${process.pid}:deny`;
  await IpDenyList.disableIpDenyList(edge, prefix);
  await edge.sadd(`${prefix}:denyList:all`, "198.51.100.7");
  const limiter = Ratelimit.fixedWindow(5, "10 m");
  const protecting = new Ratelimit({ redis: edge, prefix, limiter, enableProtection: true, ephemeralCache: false });
  const denied = await protecting.limit("ada", { ip: "198.51.100.7" });
  assert.deepEqual([denied.success, denied.reason, denied.deniedValue], [false, "denyList", "198.51.100.7"]);
  const allowed = await protecting.limit("ben", { ip: "198.51.100.8", userAgent: "curl", country: "CH" });
  assert.deepEqual([allowed.success, allowed.remaining], [true, 4]);
  await edge.del(`${prefix}:ipDenyListStatus`);
  // The package would now fetch its list from the network; the script alone says that it is due, and then that it is pending.
  const script = await denyListScript();
  const keys = [`${prefix}:denyList:all`, `${prefix}:ipDenyListStatus`];
  assert.deepEqual(await edge.eval(script, keys, ["198.51.100.7", "ada"]), [[1, 0], -2]);
  const [members, left] = await edge.eval(script, keys, ["198.51.100.7", "ada"]);
  // Of thirty seconds, some of which may have passed.
  assert.ok(left > 0 && left <= 30, String(left));
  assert.deepEqual(members, [1, 0]);
  assert.equal(await edge.get(keys[1]), "pending");
});

/** The text that the package sends for a deny list. */
async function denyListScript() {
  let sent;
  const spy = { evalsha: async () => [1, 1], eval: async (script) => ((sent = script), [[], 30]) };
  await new Ratelimit({ redis: spy, limiter: Ratelimit.fixedWindow(1, "1 m"), enableProtection: true }).limit("x");
  return sent;
}

test("analytics are recorded", async () => {
  const prefix = `${process.pid}:analytics`;
  const limiter = new Ratelimit({ redis: edge, prefix, limiter: Ratelimit.fixedWindow(5, "1 h"), analytics: true });
  assert.deepEqual(await answer(limiter.limit("ada")), await answer(limiter.limit("ada")).then((later) => ({
    ...later,
    remaining: later.remaining + 1,
  })));
  const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000;
  assert.deepEqual(await edge.zrange(`${prefix}:events:${hour}`, 0, -1, { withScores: true }), [
    { identifier: "ada", success: true },
    2,
  ]);
});

test("a script by its text alone is known too", async () => {
  const [k] = [`${process.pid}:text`];
  const texts = [];
  const spy = {
    evalsha: async () => {
      throw new Error("NOSCRIPT");
    },
    eval: async (script, keys, args) => {
      texts.push(script);
      return await edge.eval(script, keys, args);
    },
  };
  const limiter = new Ratelimit({ redis: spy, prefix: k, limiter: Ratelimit.slidingWindow(5, "10 m") });
  assert.equal((await limiter.limit("ada")).remaining, 4);
  assert.equal((await limiter.getRemaining("ada")).remaining, 4);
  await limiter.resetUsedTokens("ada");
  assert.equal((await limiter.getRemaining("ada")).remaining, 5);
  assert.equal(new Set(texts).size, 3);
});

test("other scripts are refused, and so are arguments that do not fit", async () => {
  const key = `${process.pid}:other`;
  const refused = (promise, text) => assert.rejects(promise, (error) => error.message.includes(text));
  await refused(edge.evalsha("0".repeat(40), [key], []), "NOSCRIPT No matching script. Please use EVAL.");
  await refused(edge.eval("return redis.call('GET', KEYS[1])", [key], []), "ERR Headwater: no scripts are run here");
  const fixed = "b2efc02798c8e9b471a10f9b1d5745db89923ff3";
  await refused(edge.evalsha(fixed, [], [5, 1000, 1]), "wrong number of arguments");
  await refused(edge.evalsha(fixed, [key], [5, 1000]), "wrong number of arguments");
  await refused(edge.evalsha(fixed, [key], ["many", 1000, 1]), "value is not an integer or out of range");
  await refused(edge.evalsha(fixed, [key], [5, 0, 1]), "invalid expire time in 'evalsha' command");
  assert.equal(await edge.exists(key), 0);
});
