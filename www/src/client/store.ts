/**
 * The store that an application holds: the leaf, with the timers and events around it.
 *
 * Of the tabs of a name one leads and the others mirror its leaf (shared/src/leaf/share.rs); what that means for a tab is in
 * `leader.ts` and `mirror.ts`. A tab that inherits the lead changes from one to the other.
 *
 * It performs the leaf's effects and decides nothing itself. What a command changed reads so at once; what comes of all that was
 * done in a task is performed in a microtask, in one transaction and one message. Callbacks and events come there too, once for
 * all that changed, so a handler may call back into the store.
 */

import type { Effect, Outcome, Reply, WasmLeaf } from "../headwater.js";
import { Channel, union, type BoardQuery, type TabMessage, type Wants } from "./channel.ts";
import { Leader } from "./leader.ts";
import type { Token } from "./link.ts";
import { Mirror } from "./mirror.ts";
import { Reads } from "./reads.ts";
import type { Host, Role } from "./role.ts";
import { Rows, databaseName } from "./rows.ts";
import {
  CommandError,
  RefusedEvent,
  UnknownKeyError,
  isSame,
  type Abortable,
  type Argument,
  type Beginning,
  type Shared,
  type Status,
  type Storage,
} from "./status.ts";
import {
  Counter,
  Fields,
  Leaderboard,
  Limit,
  Members,
  standings,
  type Commands,
  type LimitOptions,
  type Standings,
  type StandingsQuery,
} from "./views.ts";

/** More than a timer can wait for at once; a tick that comes early does no harm. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** A text that UTF-8 cannot have, which the leaf knows by another name. */
const ILL_FORMED = /\p{Cs}/u;

/**
 * One tab's store.
 *
 * Events: `status` when {@link status} has changed, `refused` ({@link RefusedEvent}) in every tab of the name for each
 * operation that the hub refused, `error` ({@link ErrorEvent}) when the edge sent what this version does not understand.
 */
export class Store extends EventTarget {
  readonly #leaf: WasmLeaf;
  readonly #token: Token;
  readonly #channel: Channel | undefined;
  readonly #ended = new AbortController();
  #role: Role;
  readonly #followed = new Set<string>();
  readonly #watched = new Map<string, string>();
  readonly #subscriptions = new Set<Subscription>();
  readonly #changed = new Set<string>();
  #wake: ReturnType<typeof setTimeout> | undefined;
  #shown: Status;
  /** Who waits for all to be adopted. */
  readonly #atRest: (() => void)[] = [];
  #isNotifying = false;
  /** Whether a command has changed something of which the leaf has not told what comes of it. */
  #isUntold = false;
  #isClosed = false;
  #version = 0;
  readonly #reads = new Reads();
  readonly #commands: Commands = {
    command: (words) => this.command(words),
    read: (words) => this.#read(words),
    look: (key, question, name, as) => this.#look(key, question, name, as),
  };

  constructor({ leaf, url, token, rows, shared }: Beginning) {
    super();
    this.#leaf = leaf;
    this.#token = token;
    this.#channel = shared && new Channel(databaseName(shared.name), (message) => this.#step(() => this.#heard(message)));
    const storage = rows ? "saved" : "memory";
    this.#role =
      shared && !shared.release
        ? new Mirror(this.#host, shared, url, (release) => this.#takeLead(shared, release))
        : new Leader(this.#host, { url, token, shared, rows, storage, release: shared?.release });
    this.#shown = this.#currentStatus();
    this.#role.start();
  }

  /** Where the store stands now; the same object until that changes. */
  get status(): Status {
    const status = this.#currentStatus();
    return isSame(status, this.#shown) ? this.#shown : status;
  }

  /** Grows with every change of what any key reads. */
  get version(): number {
    return this.#version;
  }

  #currentStatus(): Status {
    const [, pending, handedOver] = this.#leaf.status();
    const { isConnected, isCut, problem, retryAt, transport, url, storage: stored } = this.#role.lead;
    const phase = isConnected ? (pending > 0 ? "syncing" : "synced") : "offline";
    const storage = handedOver > 0 || (this.#isUntold && stored === "saved") ? "saving" : stored;
    return { phase, pending, storage, isCut, problem, retryAt, transport, url };
  }

  /**
   * Runs a Redis command against the tab's view, at once, connected or not.
   *
   * @throws {CommandError} with the line that Redis, or the leaf, gives; {@link UnknownKeyError} where the command needs a
   * key that is not known here yet.
   */
  command(words: readonly Argument[]): Reply {
    return this.#run(words);
  }

  #run(words: readonly Argument[], seen?: (reply: Reply) => void): Reply {
    const texts = words.map(String);
    const now = Date.now();
    let [result, extent, error, isUnknown]: Outcome = [null, 1];
    try {
      result = this.#leaf.run(texts.join("\0"), texts.length, now);
      // Words that hold a NUL are handed over one by one.
      if (Number.isNaN(result)) [result, extent, error, isUnknown] = this.#leaf.outcome() ?? this.#leaf.command(texts, now);
    } catch (error) {
      this.#reads.clear();
      throw error;
    }
    if (error !== undefined) throw isUnknown ? new UnknownKeyError(error) : new CommandError(error);
    // Before anything that is performed can change it.
    seen?.(result);
    if (extent > 0) {
      this.#isUntold = true;
      this.#drop(texts[1] as string);
      this.#notifySoon();
    }
    if (extent > 1) this.#flush();
    return result;
  }

  /** The key as a counter. */
  counter(key: string): Counter {
    return new Counter(this.#commands, key);
  }

  /** The key as a set. */
  set(key: string): Members {
    return new Members(this.#commands, key);
  }

  /** The key as a hash: fields with values. */
  map(key: string): Fields {
    return new Fields(this.#commands, key);
  }

  /** The key as a sorted set, the highest score first. */
  board(key: string): Leaderboard {
    return new Leaderboard(this.#commands, key);
  }

  /** The key as a rate limit. */
  limit(key: string, options: LimitOptions): Limit {
    return new Limit(this.#commands, key, options);
  }

  /**
   * Keeps these keys in the view, and calls back with those that read differently.
   *
   * @returns what ends the subscription, as aborting the signal does.
   * @throws when a key is too long.
   */
  subscribe(keys: readonly string[], callback: (keys: readonly string[]) => void, { signal }: Abortable = {}): () => void {
    if (signal?.aborted) return () => undefined;
    const wants = { keys: [...keys], boards: new Map<string, BoardQuery>() };
    this.#follow(wants.keys);
    return this.#begin({ keys: new Set(keys), callback, wants }, signal);
  }

  /**
   * Shows the head of a board and the places of some members without holding the board, and calls back with what is shown
   * whenever it changes: at once what this tab does, and up to ten times a second what others do.
   *
   * @returns what ends it, as aborting the signal does.
   * @throws when the key is too long.
   */
  watch(
    key: string,
    query: StandingsQuery,
    callback: (standings: Standings) => void,
    { signal }: Abortable = {},
  ): () => void {
    if (signal?.aborted) return () => undefined;
    const boards = new Map([[key, { top: query.top, members: query.members ?? [] }]]);
    const told = () => {
      const shown = this.standings(key, query);
      if (shown) callback(shown);
    };
    const end = this.#begin({ keys: new Set([key]), callback: told, wants: { keys: [], boards } }, signal);
    // Another watch may have brought it already.
    this.#changed.add(key);
    this.#notifySoon();
    return end;
  }

  /** What is shown of a board to which there is a {@link watch}; `undefined` before the edge has shown it. */
  standings(key: string, query: StandingsQuery): Standings | undefined {
    const shown = this.#leaf.ranking(key) as Reply | undefined;
    return shown === undefined ? undefined : standings(shown, query);
  }

  /**
   * Resolves once all of these keys, to which there must be a subscription, are known.
   *
   * @throws where one is not subscribed to, and the signal's reason when it is aborted first.
   */
  async ready(keys: readonly string[], { signal }: Abortable = {}): Promise<void> {
    const stray = keys.find((key) => !this.#isWanted(key));
    if (stray !== undefined) throw new Error(`"${stray}" is not subscribed to, so it would never arrive`);
    const areKnown = () => keys.every((key) => this.#read(["EXISTS", key]) !== undefined);
    signal?.throwIfAborted();
    if (areKnown()) return;
    await new Promise<void>((resolve, reject) => {
      const aborted = () => {
        end();
        reject(signal?.reason);
      };
      const end = this.subscribe(keys, () => {
        if (!areKnown()) return;
        signal?.removeEventListener("abort", aborted);
        end();
        resolve();
      });
      signal?.addEventListener("abort", aborted, { once: true });
    });
  }

  /** Cuts the network for all tabs of this name: closes the socket and dials no more. */
  cut(): void {
    this.#role.cut();
  }

  /** Undoes `cut`. */
  restore(): void {
    this.#role.restore();
  }

  /** Goes on with another edge; what was sent to the former one is settled through the new one. */
  roam(url: string): void {
    this.#role.roam(url);
  }

  /** Resolves once all that was written so far is on the disk, or {@link Status.storage} says that it will not be. */
  async saved(): Promise<void> {
    this.#flush();
    while (!this.#isClosed && this.#leaf.status()[2] > 0) {
      await new Promise<void>((resolve) => this.#atRest.push(resolve));
    }
    await this.#role.stored;
  }

  /** Ends the store. What is pending is lost, unless {@link Status.storage} says that it is saved. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#flush();
    this.#reads.clear();
    this.#ended.abort();
    clearTimeout(this.#wake);
    this.#wakeAtRest();
    void this.#role.end().then(() => this.#channel?.close());
  }

  /** The store as its role sees it. */
  get #host(): Host {
    return {
      leaf: this.#leaf,
      channel: this.#channel,
      ended: this.#ended.signal,
      step: (input) => this.#step(input),
      changed: () => this.#notifySoon(),
      wanted: () => this.#wanted(),
      refused: (key, error) => this.dispatchEvent(new RefusedEvent(key, error)),
      failed: (message, error) => this.dispatchEvent(new ErrorEvent("error", { error, message })),
    };
  }

  /** Gives the leaf an input that came from outside; what it cannot take costs the connection and is told. */
  #step(input: (now: number) => Effect[]): void {
    try {
      this.#perform(this.#given(() => input(Date.now())));
    } catch (error) {
      this.dispatchEvent(new ErrorEvent("error", { error, message: String(error) }));
      // A trap leaves the module's memory in no known state.
      if (error instanceof WebAssembly.RuntimeError) {
        this.#isUntold = false;
        this.close();
      } else this.#role.misunderstood();
    }
  }

  /** The tab that led is gone: goes on from what is stored. */
  async #takeLead(shared: Shared, release: () => void): Promise<void> {
    let opened: Awaited<ReturnType<typeof Rows.open>>;
    let storage: Storage = "memory";
    try {
      opened = await Rows.open(shared.name);
      if (opened) storage = "saved";
    } catch (error) {
      storage = "failed";
      this.#host.failed(String(error), error);
    }
    if (this.#isClosed) {
      opened?.rows.close();
      release();
      return;
    }
    const { isCut, url } = this.#role.lead;
    const leader = new Leader(this.#host, { url, token: this.#token, shared, rows: opened?.rows, storage, release });
    this.#role = leader;
    const [high, low] = crypto.getRandomValues(new BigUint64Array(2)) as unknown as [bigint, bigint];
    this.#step((now) => this.#leaf.lead(high, low, opened?.stored ?? [], now));
    leader.start();
    if (isCut) leader.cut();
    this.#wanted();
  }

  #heard(message: TabMessage): Effect[] {
    return this.#isClosed ? [] : this.#role.heard(message);
  }

  #begin(subscription: Subscription, signal: AbortSignal | undefined): () => void {
    this.#subscriptions.add(subscription);
    try {
      this.#wanted();
    } catch (error) {
      this.#subscriptions.delete(subscription);
      throw error;
    }
    const end = () => {
      signal?.removeEventListener("abort", end);
      if (!this.#subscriptions.delete(subscription)) return;
      this.#wanted();
    };
    signal?.addEventListener("abort", end, { once: true });
    return end;
  }

  #ownWants(): Wants {
    return union([...this.#subscriptions].map(({ wants }) => wants));
  }

  /** Which keys are followed may have changed. */
  #wanted(): void {
    if (this.#isClosed) return;
    const { keys, boards } = this.#role.wants(this.#ownWants());
    this.#follow(keys);
    const followed = new Set(keys);
    const unwanted = [...this.#followed].filter((key) => !followed.has(key));
    for (const key of unwanted) this.#followed.delete(key);
    if (unwanted.length > 0) this.#perform(this.#given(() => this.#leaf.unsubscribe(unwanted, Date.now())));
    for (const [key, { top, members }] of boards) {
      const query = JSON.stringify([top, members]);
      if (this.#watched.get(key) === query) continue;
      const effects = this.#given(() => this.#leaf.watch(key, top, [...members], Date.now()));
      this.#watched.set(key, query);
      this.#perform(effects);
    }
    const unwatched = [...this.#watched.keys()].filter((key) => !boards.has(key));
    for (const key of unwatched) this.#watched.delete(key);
    if (unwatched.length > 0) this.#perform(this.#given(() => this.#leaf.unwatch(unwatched, Date.now())));
  }

  #follow(keys: readonly string[]): void {
    const fresh = keys.filter((key) => !this.#followed.has(key));
    if (fresh.length === 0) return;
    const effects = this.#given(() => this.#leaf.subscribe(fresh, Date.now()));
    for (const key of fresh) this.#followed.add(key);
    this.#perform(effects);
  }

  /** What the leaf answers; one that throws may have changed without saying what. */
  #given<T>(input: () => T): T {
    try {
      return input();
    } catch (error) {
      this.#reads.clear();
      throw error;
    }
  }

  #perform(effects: readonly Effect[]): void {
    // The rest may be told to who reads.
    for (const effect of effects) {
      if (effect[0] !== "changed") continue;
      effect[1].forEach((key) => this.#drop(key));
    }
    for (const effect of effects) {
      if (effect[0] === "wake-at") this.#wakeAt(effect[1]);
      else if (effect[0] !== "changed") this.#role.perform(effect);
    }
    this.#role.performed();
    this.#notifySoon();
  }

  /** What is kept of a key that reads differently now; who follows it is told. */
  #drop(key: string): void {
    this.#reads.drop(key);
    this.#changed.add(key);
    this.#version += 1;
  }

  /** Performs what comes of the commands of this task so far. */
  #flush(): void {
    if (!this.#isUntold) return;
    this.#isUntold = false;
    this.#step((now) => this.#leaf.flush(now));
  }

  #wakeAt(at: number): void {
    clearTimeout(this.#wake);
    const pause = Math.min(Math.max(at - Date.now(), 0), TIMER_MS_MAX);
    this.#wake = setTimeout(() => this.#step((now) => this.#leaf.tick(now)), pause);
  }

  #look<T>(key: string, question: string, name: string | undefined, as: (reply: Reply) => T): T | undefined {
    let answer = this.#reads.get(key, question, name) as T | undefined;
    if (answer === undefined) {
      this.#read(name === undefined ? [question, key] : [question, key, name], (reply) => {
        answer = as(reply);
        // Where there are no types a name may be what changes.
        const isFixed = typeof name !== "object" && !ILL_FORMED.test(key);
        if (isFixed && this.#leaf.lasts(key)) this.#reads.keep(key, question, name, answer);
      });
    }
    return answer;
  }

  #read(words: readonly Argument[], seen?: (reply: Reply) => void): Reply | undefined {
    try {
      return this.#run(words, seen);
    } catch (error) {
      if (error instanceof UnknownKeyError) return undefined;
      throw error;
    }
  }

  #isWanted(key: string): boolean {
    return [...this.#subscriptions].some(({ wants }) => wants.keys.includes(key));
  }

  #wakeAtRest(): void {
    for (const wake of this.#atRest.splice(0)) wake();
  }

  #notifySoon(): void {
    if (this.#isNotifying) return;
    this.#isNotifying = true;
    queueMicrotask(() => {
      this.#flush();
      this.#isNotifying = false;
      this.#notify();
    });
  }

  #notify(): void {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const { keys, callback } of [...this.#subscriptions]) {
      const mine = changed.filter((key) => keys.has(key));
      if (mine.length === 0) continue;
      try {
        callback(mine);
      } catch (error) {
        // One subscriber's mistake must not cost the others their news.
        reportError(error);
      }
    }
    if (this.#leaf.status()[2] === 0) this.#wakeAtRest();
    this.#role.notified();
    const { status } = this;
    if (status === this.#shown) return;
    this.#shown = status;
    this.dispatchEvent(new Event("status"));
  }
}

interface Subscription {
  readonly keys: ReadonlySet<string>;
  readonly wants: Wants;
  readonly callback: (keys: readonly string[]) => void;
}
