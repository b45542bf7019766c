/**
 * One key as an object: what `store.counter("hits")` and its like give.
 *
 * A view holds no state; every call is a Redis command on the store. A read of a key that is not known here yet gives
 * `undefined`, which is not the same as an empty one; a write that needs to know the key throws `UnknownKeyError`. Names
 * and values are text: bytes that are no UTF-8 read with U+FFFD, and `command` gives them as they are.
 */

import type { Reply } from "../headwater.js";
import type { Argument } from "./status.ts";

/** What a view asks of its store. */
export interface Commands {
  /** Runs a command, or throws. */
  command(words: readonly Argument[]): Reply;
  /** As `command`; `undefined` where the key is not known here yet. */
  read(words: readonly Argument[]): Reply | undefined;
}

/** A counter: an integer that all nodes add to. */
export class Counter {
  readonly #commands: Commands;

  constructor(
    commands: Commands,
    readonly key: string,
  ) {
    this.#commands = commands;
  }

  /** The sum, 0 where there is none; beyond 2^53 rounded, and `command(["GET", key])` has it whole. */
  get value(): number | undefined {
    return mapped(this.#commands.read(["GET", this.key]), (reply) => Number(reply ?? 0));
  }

  /** Adds an integer; gives the sum as it is seen here. */
  increment(by: number | bigint = 1): number {
    return Number(this.#commands.command(["INCRBY", this.key, by]));
  }

  /** Takes an integer away; gives the sum as it is seen here. */
  decrement(by: number | bigint = 1): number {
    return Number(this.#commands.command(["DECRBY", this.key, by]));
  }
}

/** A set of names. */
export class Members {
  readonly #commands: Commands;

  constructor(
    commands: Commands,
    readonly key: string,
  ) {
    this.#commands = commands;
  }

  get size(): number | undefined {
    return mapped(this.#commands.read(["SCARD", this.key]), Number);
  }

  has(member: string): boolean | undefined {
    return mapped(this.#commands.read(["SISMEMBER", this.key, member]), isOne);
  }

  /** All members, in no order. Linear in the set. */
  values(): string[] | undefined {
    return mapped(this.#commands.read(["SMEMBERS", this.key]), (reply) => list(reply).map(text));
  }

  /** Adds members; gives how many are new. */
  add(...members: readonly [string, ...string[]]): number {
    return Number(this.#commands.command(["SADD", this.key, ...members]));
  }

  /** Takes members away, as far as they are seen here; gives how many. */
  delete(...members: readonly [string, ...string[]]): number {
    return Number(this.#commands.command(["SREM", this.key, ...members]));
  }
}

/** A hash: fields with values. */
export class Fields {
  readonly #commands: Commands;

  constructor(
    commands: Commands,
    readonly key: string,
  ) {
    this.#commands = commands;
  }

  get size(): number | undefined {
    return mapped(this.#commands.read(["HLEN", this.key]), Number);
  }

  has(field: string): boolean | undefined {
    return mapped(this.#commands.read(["HEXISTS", this.key, field]), isOne);
  }

  /** The field's value; `null` where there is none. */
  get(field: string): string | null | undefined {
    return mapped(this.#commands.read(["HGET", this.key, field]), (reply) => (reply === null ? null : text(reply)));
  }

  /** All fields with their values. Linear in the hash. */
  entries(): Map<string, string> | undefined {
    return mapped(this.#commands.read(["HGETALL", this.key]), (reply) => new Map(pairs(list(reply).map(text))));
  }

  /** Sets a field; gives whether it is new. */
  set(field: string, value: string | number | bigint): boolean {
    return isOne(this.#commands.command(["HSET", this.key, field, value]));
  }

  /** Adds an integer to a field; gives the sum as it is seen here. */
  increment(field: string, by: number | bigint = 1): number {
    return Number(this.#commands.command(["HINCRBY", this.key, field, by]));
  }

  /** Takes fields away, as far as they are seen here; gives how many. */
  delete(...fields: readonly [string, ...string[]]): number {
    return Number(this.#commands.command(["HDEL", this.key, ...fields]));
  }
}

/** A member of a board. */
export interface Ranked {
  readonly member: string;
  readonly score: number;
}

/** A board: members by score, the highest first. */
export class Leaderboard {
  readonly #commands: Commands;

  constructor(
    commands: Commands,
    readonly key: string,
  ) {
    this.#commands = commands;
  }

  get size(): number | undefined {
    return mapped(this.#commands.read(["ZCARD", this.key]), Number);
  }

  /** The member's score; `null` where it has none. */
  score(member: string): number | null | undefined {
    return mapped(this.#commands.read(["ZSCORE", this.key, member]), numberOrNull);
  }

  /** How many members are above this one; `null` where it is not on the board. Logarithmic in the board. */
  rank(member: string): number | null | undefined {
    return mapped(this.#commands.read(["ZREVRANK", this.key, member]), numberOrNull);
  }

  /** The `count` highest. */
  top(count: number): Ranked[] | undefined {
    const reply = this.#commands.read(["ZRANGE", this.key, 0, count - 1, "REV", "WITHSCORES"]);
    // Redis reads the range 0 to -1 as all of it.
    if (count < 1) return mapped(reply, () => []);
    return mapped(reply, (flat) => pairs(list(flat).map(text)).map(([member, score]) => ({ member, score: number(score) })));
  }

  /** Adds to a member's score; gives the sum as it is seen here. */
  add(member: string, by = 1): number {
    return number(text(this.#commands.command(["ZINCRBY", this.key, by, member])));
  }

  /** Sets a member's score; gives whether the member is new. */
  set(member: string, score: number): boolean {
    return isOne(this.#commands.command(["ZADD", this.key, score, member]));
  }

  /** Takes members away, as far as they are seen here; gives how many. */
  delete(...members: readonly [string, ...string[]]): number {
    return Number(this.#commands.command(["ZREM", this.key, ...members]));
  }
}

/** How a rate limit counts; docs/limits.md says what each means. */
export interface LimitOptions {
  /** `sliding` where none is named. */
  readonly algorithm?: "fixed" | "sliding" | "bucket";
  /** The most that is allowed in a window. */
  readonly limit: number;
  readonly windowMs: number;
  /** For a bucket: how much is allowed at once, where that is not `limit`. */
  readonly burst?: number;
}

/** What a rate limit decided, and how far to trust it. */
export interface Decision {
  readonly allowed: boolean;
  /** What is left after this request. */
  readonly remaining: number;
  /** When the window ends or the bucket is next refilled, in milliseconds since 1970. */
  readonly resetAt: number;
  /** In how many milliseconds the same request would fit if nothing else were admitted; `undefined` if it never fits. */
  readonly retryAfterMs: number | undefined;
  /** How many milliseconds ago this tab last heard from its edge; `undefined` if it has not yet. */
  readonly stalenessMs: number | undefined;
  /** How far all nodes together may go beyond the limit; `undefined` where nothing bounds it. */
  readonly overAdmitMax: number | undefined;
  /** How far they are to be expected beyond it, if the others go on at the rate seen here. */
  readonly overAdmitExpected: number;
}

/** A rate limit. One key for each subject and limit. */
export class Limit {
  readonly #commands: Commands;

  constructor(
    commands: Commands,
    readonly key: string,
    readonly options: LimitOptions,
  ) {
    this.#commands = commands;
  }

  /** Decides on a request and counts it if it is allowed. */
  take(cost = 1): Decision {
    return decision(this.#commands.command(this.#words(["COST", cost])));
  }

  /** Decides and counts nothing. */
  peek(cost = 1): Decision | undefined {
    return mapped(this.#commands.read(this.#words(["COST", cost, "PEEK"])), decision);
  }

  #words(more: readonly Argument[]): Argument[] {
    const { algorithm = "sliding", limit, windowMs, burst } = this.options;
    const words = ["HW.LIMIT", this.key, algorithm.toUpperCase(), limit, windowMs];
    return [...words, ...(burst === undefined ? [] : ["BURST", burst]), ...more];
  }
}

function decision(reply: Reply): Decision {
  const [allowed = 0, remaining = 0, resetAt = 0, retryAfter = 0, staleness = 0, most = 0, expected = 0] =
    list(reply).map(Number);
  return {
    allowed: allowed === 1,
    remaining,
    resetAt,
    retryAfterMs: known(retryAfter),
    stalenessMs: known(staleness),
    overAdmitMax: known(most),
    overAdmitExpected: expected,
  };
}

/** HW.LIMIT says -1 of what is not known or not bounded. */
function known(value: number): number | undefined {
  return value === -1 ? undefined : value;
}

function mapped<T>(reply: Reply | undefined, read: (reply: Reply) => T): T | undefined {
  return reply === undefined ? undefined : read(reply);
}

function isOne(reply: Reply): boolean {
  return Number(reply) === 1;
}

function numberOrNull(reply: Reply): number | null {
  return reply === null ? null : number(text(reply));
}

/** A score as Redis writes it; JavaScript spells infinity out. */
function number(score: string): number {
  return score === "inf" ? Infinity : score === "-inf" ? -Infinity : Number(score);
}

function list(reply: Reply): readonly Reply[] {
  return Array.isArray(reply) ? reply : [];
}

function text(reply: Reply): string {
  return reply instanceof Uint8Array ? new TextDecoder().decode(reply) : String(reply);
}

/** A flat list of names and values in turn. */
function pairs(flat: readonly string[]): [string, string][] {
  return flat.flatMap((name, at): [string, string][] => (at % 2 === 0 ? [[name, flat[at + 1] ?? ""]] : []));
}
