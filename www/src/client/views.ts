/**
 * One key as an object: what `store.counter("hits")` and its like give.
 *
 * A view holds no state; every call is a Redis command on the store, which keeps what reads of one thing gave. A read of a
 * key that is not known here yet gives `undefined`, which is not the same as an empty one; a write that needs to know the key
 * throws `UnknownKeyError`. Names and values are text: bytes that are no UTF-8 read with U+FFFD, and `command` gives them as
 * they are.
 */

import type { Reply } from "../headwater.js";
import type { Argument } from "./status.ts";

/** What a view asks of its store. */
export interface Commands {
  /** Runs a command, or throws. */
  command(words: readonly Argument[]): Reply;
  /** As `command`; `undefined` where the key is not known here yet. */
  read(words: readonly Argument[]): Reply | undefined;
  /**
   * What a question about a key, or about one name in it, is answered, in the form that `as` gives it; `undefined` where the key
   * is not known here yet. The answer may be kept until the key changes, so each question has one form.
   */
  look<T>(key: string, question: string, name: string | undefined, as: (reply: Reply) => T): T | undefined;
}

/** What every view has: its key, and the store that runs its commands. */
class View {
  readonly #commands: Commands;

  readonly key: string;

  constructor(commands: Commands, key: string) {
    this.#commands = commands;
    // Where there are no types it may be anything.
    this.key = String(key);
  }

  /** Runs a command on the key, or throws. */
  protected run(name: string, ...words: readonly Argument[]): Reply {
    return this.#commands.command([name, this.key, ...words]);
  }

  /** What a command on the key replies, in the form that `as` gives it; `undefined` where the key is not known here yet. */
  protected read<T>(as: (reply: Reply) => T, name: string, ...words: readonly Argument[]): T | undefined {
    const reply = this.#commands.read([name, this.key, ...words]);
    return reply === undefined ? undefined : as(reply);
  }

  /** As `read`, of one thing. */
  protected look<T>(as: (reply: Reply) => T, question: string, name?: string): T | undefined {
    return this.#commands.look(this.key, question, name, as);
  }
}

/** A counter: an integer that all nodes add to. */
export class Counter extends View {
  /** The sum, 0 where there is none; beyond 2^53 rounded, and `command(["GET", key])` has it whole. */
  get value(): number | undefined {
    return this.look(Number, "GET");
  }

  /** Adds an integer; gives the sum as it is seen here. */
  increment(by: number | bigint = 1): number {
    return Number(this.run("INCRBY", by));
  }

  /** Takes an integer away; gives the sum as it is seen here. */
  decrement(by: number | bigint = 1): number {
    return Number(this.run("DECRBY", by));
  }
}

/** A set of names. */
export class Members extends View {
  get size(): number | undefined {
    return this.look(Number, "SCARD");
  }

  has(member: string): boolean | undefined {
    return this.look(isOne, "SISMEMBER", member);
  }

  /** All members, in no order. Linear in the set. */
  values(): string[] | undefined {
    return this.read((reply) => list(reply).map(text), "SMEMBERS");
  }

  /** Adds members; gives how many are new. */
  add(...members: readonly [string, ...string[]]): number {
    return Number(this.run("SADD", ...members));
  }

  /** Takes members away, as far as they are seen here; gives how many. */
  delete(...members: readonly [string, ...string[]]): number {
    return Number(this.run("SREM", ...members));
  }
}

/** A hash: fields with values. */
export class Fields extends View {
  get size(): number | undefined {
    return this.look(Number, "HLEN");
  }

  has(field: string): boolean | undefined {
    const value = this.get(field);
    return value === undefined ? value : value !== null;
  }

  /** The field's value; `null` where there is none. */
  get(field: string): string | null | undefined {
    return this.look((reply) => (reply === null ? null : text(reply)), "HGET", field);
  }

  /** All fields with their values. Linear in the hash. */
  entries(): Map<string, string> | undefined {
    return this.read((reply) => new Map(pairs(list(reply).map(text))), "HGETALL");
  }

  /** Sets a field; gives whether it is new. */
  set(field: string, value: string | number | bigint): boolean {
    return isOne(this.run("HSET", field, value));
  }

  /** Adds an integer to a field; gives the sum as it is seen here. */
  increment(field: string, by: number | bigint = 1): number {
    return Number(this.run("HINCRBY", field, by));
  }

  /** Takes fields away, as far as they are seen here; gives how many. */
  delete(...fields: readonly [string, ...string[]]): number {
    return Number(this.run("HDEL", ...fields));
  }
}

/** A member of a board. */
export interface Ranked {
  readonly member: string;
  readonly score: number;
}

/** A board: members by score, the highest first. */
export class Leaderboard extends View {
  get size(): number | undefined {
    return this.look(Number, "ZCARD");
  }

  /** The member's score; `null` where it has none. */
  score(member: string): number | null | undefined {
    return this.look(numberOrNull, "ZSCORE", member);
  }

  /** How many members are above this one; `null` where it is not on the board. Logarithmic in the board. */
  rank(member: string): number | null | undefined {
    return this.look(numberOrNull, "ZREVRANK", member);
  }

  /** The `count` highest. */
  top(count: number): Ranked[] | undefined {
    const ranked = (reply: Reply) => pairs(list(reply).map(text)).map(([member, score]) => ({ member, score: number(score) }));
    // Redis reads the range 0 to -1 as all of it.
    return this.read(count < 1 ? () => [] : ranked, "ZRANGE", 0, count - 1, "REV", "WITHSCORES");
  }

  /** Adds to a member's score; gives the sum as it is seen here. */
  add(member: string, by = 1): number {
    return number(text(this.run("ZINCRBY", by, member)));
  }

  /** Sets a member's score; gives whether the member is new. */
  set(member: string, score: number): boolean {
    return isOne(this.run("ZADD", score, member));
  }

  /** Takes members away, as far as they are seen here; gives how many. */
  delete(...members: readonly [string, ...string[]]): number {
    return Number(this.run("ZREM", ...members));
  }
}

/** A member of a board that is watched. */
export interface Standing extends Ranked {
  /** How many are above it. */
  readonly rank: number;
  /** Whether all who may stand above are known; an estimate otherwise. */
  readonly isExact: boolean;
}

/** What to be shown of a board. */
export interface StandingsQuery {
  /** How many of the highest, at most 1,000. */
  readonly top: number;
  /** Of which members the places too, at most 100. */
  readonly members?: readonly string[];
}

/** A board's head and some places, with what this tab did on top. */
export interface Standings {
  /** Whether the edge holds the board as the origin has it; otherwise no rank is exact. */
  readonly isHeld: boolean;
  /** How many members the board has, as far as is known. */
  readonly size: number;
  /** The highest. */
  readonly top: readonly Standing[];
  /** Those of the members asked for that are on the board. */
  readonly members: readonly Standing[];
}

/** The part that was asked for of what the leaf shows. */
export function standings(shown: Reply, { top, members = [] }: StandingsQuery): Standings {
  const [isHeld = 0, size = 0, head = [], places = []] = list(shown);
  const rows = (reply: Reply): Standing[] => {
    const words = list(reply);
    return Array.from({ length: words.length / 4 }, (_, at) => {
      const [member = "", score = "", rank = 0, isExact = 0] = words.slice(4 * at, 4 * at + 4);
      return { member: text(member), score: number(text(score)), rank: Number(rank), isExact: isOne(isExact) };
    });
  };
  const wanted = new Set(members);
  return {
    isHeld: isOne(isHeld),
    size: Number(size),
    top: rows(head).slice(0, top),
    members: rows(places).filter(({ member }) => wanted.has(member)),
  };
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
export class Limit extends View {
  constructor(
    commands: Commands,
    key: string,
    readonly options: LimitOptions,
  ) {
    super(commands, key);
  }

  /** Decides on a request and counts it if it is allowed. */
  take(cost = 1): Decision {
    return decision(this.run("HW.LIMIT", ...this.#words, "COST", cost));
  }

  /** Decides and counts nothing. */
  peek(cost = 1): Decision | undefined {
    return this.read(decision, "HW.LIMIT", ...this.#words, "COST", cost, "PEEK");
  }

  get #words(): Argument[] {
    const { algorithm = "sliding", limit, windowMs, burst } = this.options;
    return [algorithm.toUpperCase(), limit, windowMs, ...(burst === undefined ? [] : ["BURST", burst])];
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
