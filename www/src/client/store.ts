/**
 * The store that an application holds: the leaf, and the link to its edge or to the tab that leads, with the timers and
 * events between them.
 *
 * Of the tabs of a name one leads: it has the rows and the link, and its leaf is the one that the edge knows. The others
 * mirror that leaf (shared/src/leaf/share.rs) and hand over what they do.
 *
 * It performs the leaf's effects and decides nothing itself. Callbacks and events come in a microtask of their own, once for
 * all that changed in a task, so a handler may call back into the store.
 */

import type { Effect, Reply, RowWrite, WasmLeaf } from "../headwater.js";
import { Channel, type FromLeader, type Lead, type TabMessage, type ToLeader } from "./channel.ts";
import { Link } from "./link.ts";
import { inherited, tabLock } from "./locks.ts";
import { Rows, databaseName } from "./rows.ts";
import {
  CommandError,
  RefusedEvent,
  UnknownKeyError,
  type Abortable,
  type Argument,
  type Beginning,
  type Shared,
  type Status,
  type Storage,
} from "./status.ts";
import { Counter, Fields, Leaderboard, Limit, Members, type Commands, type LimitOptions } from "./views.ts";

/** More than a timer can wait for at once; a tick that comes early does no harm. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Before a leader has said anything. */
const APART = {
  isConnected: false,
  isCut: false,
  problem: undefined,
  retryAt: undefined,
  storage: "memory",
  heardAt: undefined,
} as const;

/**
 * One tab's store.
 *
 * Events: `status` when {@link status} has changed, `refused` ({@link RefusedEvent}) in every tab of the name for each
 * operation that the hub refused, `error` ({@link ErrorEvent}) when the edge sent what this version does not understand.
 */
export class Store extends EventTarget {
  readonly #leaf: WasmLeaf;
  readonly #token: string;
  readonly #shared: Shared | undefined;
  readonly #channel: Channel | undefined;
  readonly #ended = new AbortController();
  /** There in a tab that leads or is alone. */
  #link: Link | undefined;
  /** What the leader says of itself, in a tab that mirrors it. */
  #lead: Lead;
  /** Whose version counts; none in a mirror that has not heard from its leader. */
  #term: string | undefined;
  #rowsVersion = 0;
  /** The keys that other tabs follow. */
  readonly #wants = new Map<bigint, readonly string[]>();
  /** The tabs whose end this one waits for. */
  readonly #watched = new Set<bigint>();
  readonly #followed = new Set<string>();
  #release: (() => void) | undefined;
  readonly #subscriptions = new Set<Subscription>();
  readonly #changed = new Set<string>();
  #rows: Rows | undefined;
  #storage: Storage;
  /** What is to be stored and, behind it, sent: done one after the other. */
  #queue = Promise.resolve();
  #queued = 0;
  #wake: ReturnType<typeof setTimeout> | undefined;
  #wasConnected = false;
  #shown: Status;
  #toldLead: Lead;
  /** Who waits for all to be adopted. */
  readonly #atRest: (() => void)[] = [];
  #isNotifying = false;
  #isClosed = false;
  #version = 0;
  readonly #commands: Commands = {
    command: (words) => this.command(words),
    read: (words) => this.#read(words),
  };

  constructor({ leaf, url, token, rows, shared }: Beginning) {
    super();
    this.#leaf = leaf;
    this.#token = token;
    this.#rows = rows;
    this.#shared = shared;
    this.#release = shared?.release;
    this.#storage = rows ? "saved" : "memory";
    this.#lead = { ...APART, url: new URL(url).origin };
    this.#channel = shared && new Channel(databaseName(shared.name), (message) => this.#step(() => this.#heard(message)));
    if (shared && !shared.release) this.#mirror(shared);
    else this.#dial(url);
    this.#shown = this.#currentStatus();
    this.#toldLead = this.#ownLead();
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
    const { pending, handedOver } = this.#leaf.status();
    const { isConnected, isCut, problem, retryAt, url, storage } = this.#ownLead();
    const phase = isConnected ? (pending > 0 ? "syncing" : "synced") : "offline";
    return { phase, pending, storage: handedOver > 0 ? "saving" : storage, isCut, problem, retryAt, url };
  }

  /** What the leader knows, which may be this tab. */
  #ownLead(): Lead {
    if (!this.#link) return this.#lead;
    const { isConnected, heardAt } = this.#leaf.status();
    const { isCut, problem, retryAt, url } = this.#link;
    return { isConnected, isCut, problem, retryAt, url, storage: this.#storage, heardAt };
  }

  /**
   * Runs a Redis command against the tab's view, at once, connected or not.
   *
   * @throws {CommandError} with the line that Redis, or the leaf, gives; {@link UnknownKeyError} where the command needs a
   * key that is not known here yet.
   */
  command(words: readonly Argument[]): Reply {
    const { result, error, isUnknown, effects } = this.#leaf.command(words.map(String), Date.now());
    this.#perform(effects);
    if (error !== undefined) throw isUnknown ? new UnknownKeyError(error) : new CommandError(error);
    return result ?? null;
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
    const subscription = { keys: new Set(keys), callback };
    this.#follow([...subscription.keys]);
    this.#subscriptions.add(subscription);
    this.#wanted();
    const end = () => {
      signal?.removeEventListener("abort", end);
      if (!this.#subscriptions.delete(subscription)) return;
      this.#wanted();
    };
    signal?.addEventListener("abort", end, { once: true });
    return end;
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
    if (this.#link) this.#link.cut();
    else this.#channel?.post({ kind: "cut" });
  }

  /** Undoes `cut`. */
  restore(): void {
    if (this.#link) this.#link.restore();
    else this.#channel?.post({ kind: "restore" });
  }

  /** Goes on with another edge; what was sent to the former one is settled through the new one. */
  roam(url: string): void {
    if (this.#link) this.#link.roam(url);
    else this.#channel?.post({ kind: "roam", url: new URL(url).origin });
  }

  /** Resolves once all that was written so far is on the disk, or {@link Status.storage} says that it will not be. */
  async saved(): Promise<void> {
    while (!this.#isClosed && this.#leaf.status().handedOver > 0) {
      await new Promise<void>((resolve) => this.#atRest.push(resolve));
    }
    await this.#queue;
  }

  /** Ends the store. What is pending is lost, unless {@link Status.storage} says that it is saved. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ended.abort();
    this.#link?.end();
    clearTimeout(this.#wake);
    this.#wakeAtRest();
    void this.#queue.then(() => {
      this.#channel?.close();
      this.#rows?.close();
      this.#release?.();
    });
  }

  /** Gives the leaf an input that came from outside; what it cannot take costs the connection and is told. */
  #step(input: (now: number) => Effect[]): void {
    try {
      this.#perform(input(Date.now()));
    } catch (error) {
      this.dispatchEvent(new ErrorEvent("error", { error, message: String(error) }));
      // A trap leaves the module's memory in no known state.
      if (error instanceof WebAssembly.RuntimeError) this.close();
      else this.#link?.misunderstood();
    }
  }

  /** Speaks with the edge. */
  #dial(url: string): void {
    this.#link = new Link(url, this.#token, {
      opened: () => this.#step((now) => this.#leaf.opened(now)),
      received: (frame) => this.#step((now) => this.#leaf.receive(frame, now)),
      closed: () => this.#step((now) => this.#leaf.closed(now)),
      changed: () => this.#notifySoon(),
    });
    if (this.#shared) {
      this.#term = crypto.randomUUID();
      this.#channel?.post({ kind: "leads", term: this.#term });
    }
    this.#link.start();
  }

  /** Joins the tab that leads, and waits for its end. */
  #mirror({ name, tab }: Shared): void {
    const lock = databaseName(name);
    const { signal } = this.#ended;
    void (async () => {
      const leave = await inherited(tabLock(lock, tab), signal);
      signal.addEventListener("abort", leave, { once: true });
      this.#channel?.post({ kind: "join", tab });
      const release = await inherited(lock, signal);
      if (this.#isClosed) release();
      else await this.#takeLead(name, release);
    })();
  }

  /** The tab that led is gone: goes on from what is stored. */
  async #takeLead(name: string, release: () => void): Promise<void> {
    this.#release = release;
    let opened: Awaited<ReturnType<typeof Rows.open>>;
    this.#storage = "memory";
    try {
      opened = await Rows.open(name);
    } catch (error) {
      this.#storage = "failed";
      this.dispatchEvent(new ErrorEvent("error", { error, message: String(error) }));
    }
    if (this.#isClosed) {
      opened?.rows.close();
      release();
      return;
    }
    this.#rows = opened?.rows;
    if (opened) this.#storage = "saved";
    this.#term = undefined;
    this.#rowsVersion = 0;
    const { isCut, url } = this.#lead;
    const [high, low] = crypto.getRandomValues(new BigUint64Array(2)) as unknown as [bigint, bigint];
    this.#step((now) => this.#leaf.lead(high, low, opened?.stored ?? [], now));
    this.#dial(url);
    if (isCut) this.#link?.cut();
    this.#wanted();
  }

  #heard(message: TabMessage): Effect[] {
    if (this.#isClosed) return [];
    return this.#link ? this.#heardAsLeader(message as ToLeader, this.#link) : this.#heardAsMirror(message as FromLeader);
  }

  #heardAsLeader(message: ToLeader, link: Link): Effect[] {
    const now = Date.now();
    switch (message.kind) {
      case "join":
        this.#welcome(message.tab);
        return [];
      case "want":
        this.#wants.set(message.tab, message.keys);
        this.#wanted();
        return [];
      case "forward":
        if (message.term !== this.#term) return [];
        return this.#leaf.adopt(message.tab, message.no, message.version, message.operation, now);
      case "cut":
      case "restore":
        link[message.kind]();
        return [];
      case "roam":
        link.roam(message.url);
        return [];
      default:
        return [];
    }
  }

  /** Tells a tab all that will be stored by then, and notes when it ends. */
  #welcome(tab: bigint): void {
    const { signal } = this.#ended;
    const term = this.#term;
    if (term === undefined || !this.#shared) return;
    const whole = { kind: "whole", term, to: tab, version: this.#rowsVersion, rows: this.#leaf.rows() } as const;
    const lead = this.#ownLead();
    this.#enqueue(() => {
      this.#channel?.post(whole);
      this.#channel?.post({ kind: "lead", term, lead });
    });
    if (this.#watched.has(tab)) return;
    this.#watched.add(tab);
    void inherited(tabLock(databaseName(this.#shared.name), tab), signal).then((release) => {
      release();
      this.#watched.delete(tab);
      this.#wants.delete(tab);
      this.#wanted();
      this.#step((now) => this.#leaf.gone(tab, now));
    });
  }

  #heardAsMirror(message: FromLeader): Effect[] {
    const tab = this.#shared?.tab ?? 0n;
    const now = Date.now();
    if ("to" in message && message.to !== tab) return [];
    if (message.kind === "whole") {
      this.#term = message.term;
      this.#rowsVersion = message.version;
      this.#channel?.post({ kind: "want", tab, keys: this.#ownWants() });
      return this.#leaf.takeWhole(message.version, message.rows, now);
    }
    if (message.kind === "leads") this.#channel?.post({ kind: "join", tab });
    if (!("term" in message) || message.term !== this.#term) return [];
    switch (message.kind) {
      case "rows":
        if (message.version <= this.#rowsVersion) return [];
        if (message.version > this.#rowsVersion + 1) {
          this.#channel?.post({ kind: "join", tab });
          return [];
        }
        this.#rowsVersion = message.version;
        return this.#leaf.takeUp(message.version, [...message.writes], now);
      case "again":
        return this.#leaf.again(now);
      case "lead":
        this.#lead = message.lead;
        if (message.lead.heardAt !== undefined) this.#leaf.heard(message.lead.heardAt);
        return [];
      case "refused":
        this.dispatchEvent(new RefusedEvent(message.key, message.error));
        return [];
      default:
        return [];
    }
  }

  #ownWants(): string[] {
    return [...new Set([...this.#subscriptions].flatMap(({ keys }) => [...keys]))];
  }

  /** Which keys are followed may have changed. */
  #wanted(): void {
    if (this.#isClosed) return;
    const own = this.#ownWants();
    if (!this.#link) {
      this.#channel?.post({ kind: "want", tab: this.#shared?.tab ?? 0n, keys: own });
      return;
    }
    const wanted = new Set([...own, ...[...this.#wants.values()].flat()]);
    this.#follow([...wanted]);
    const unwanted = [...this.#followed].filter((key) => !wanted.has(key));
    for (const key of unwanted) this.#followed.delete(key);
    if (unwanted.length > 0) this.#perform(this.#leaf.unsubscribe(unwanted, Date.now()));
  }

  #follow(keys: readonly string[]): void {
    const fresh = keys.filter((key) => !this.#followed.has(key));
    if (fresh.length === 0) return;
    const effects = this.#leaf.subscribe(fresh, Date.now());
    for (const key of fresh) this.#followed.add(key);
    this.#perform(effects);
  }

  #perform(effects: readonly Effect[]): void {
    for (const effect of effects) this.#performOne(effect);
    // Asked for afterwards: an effect may have cost the connection.
    const { isConnected } = this.#leaf.status();
    if (isConnected && !this.#wasConnected) this.#link?.welcomed();
    this.#wasConnected = isConnected;
    this.#notifySoon();
  }

  #performOne(effect: Effect): void {
    switch (effect.kind) {
      case "persist":
        this.#store(effect.writes);
        return;
      case "send":
        this.#send(effect.frame);
        // A subscription need not be answered at once; a hello and an operation must be.
        if (this.status.phase !== "synced") this.#link?.expectAnswer();
        return;
      case "changed":
        for (const key of effect.keys) this.#changed.add(key);
        this.#version += 1;
        return;
      case "refused":
        this.dispatchEvent(new RefusedEvent(effect.key, effect.error));
        // Behind the rows that roll it back.
        this.#enqueue(() => this.#tell((term) => ({ kind: "refused", term, key: effect.key, error: effect.error })));
        return;
      case "redial":
        this.#link?.redial();
        return;
      case "forward": {
        const { no, version, operation } = effect;
        this.#tell((term) => ({ kind: "forward", term, tab: this.#shared?.tab ?? 0n, no, version, operation }));
        return;
      }
      case "again":
        // Behind the rows that it is to know first.
        this.#enqueue(() => this.#tell((term) => ({ kind: "again", term, to: effect.tab })));
        return;
      case "wake-at":
        this.#wakeAt(effect.at);
        return;
    }
  }

  #tell(message: (term: string) => TabMessage): void {
    if (this.#term !== undefined) this.#channel?.post(message(this.#term));
  }

  #store(writes: readonly RowWrite[]): void {
    if (this.#rows) this.#storage = "saving";
    this.#rowsVersion += 1;
    const version = this.#rowsVersion;
    this.#enqueue(async () => {
      try {
        await this.#rows?.write(writes);
      } catch (error) {
        await this.#storeNoMore(error);
      }
      // What another tab takes for adopted is stored.
      this.#tell((term) => ({ kind: "rows", term, version, writes }));
    });
  }

  #enqueue(step: () => void | Promise<void>): void {
    this.#queued += 1;
    this.#queue = this.#queue.then(step).then(() => {
      this.#queued -= 1;
      if (this.#rows && this.#queued === 0) this.#storage = "saved";
      this.#notifySoon();
    });
  }

  /** Rows that are behind would give the numbers of this session again: they go. */
  async #storeNoMore(cause: unknown): Promise<void> {
    const rows = this.#rows;
    this.#rows = undefined;
    this.#storage = "failed";
    this.dispatchEvent(new ErrorEvent("error", { error: cause, message: `nothing can be stored: ${String(cause)}` }));
    try {
      await rows?.clear();
      rows?.close();
    } catch (error) {
      // What cannot be deleted must not be outrun either: nothing more is sent under its numbers.
      this.dispatchEvent(new ErrorEvent("error", { error, message: `what is stored cannot be deleted: ${String(error)}` }));
      this.#link?.end();
    }
  }

  /** On the socket for which it was meant, and not before what came before it is stored. */
  #send(frame: Uint8Array<ArrayBuffer>): void {
    const link = this.#link;
    if (!link) return;
    const { socket } = link;
    if (this.#queued === 0) link.send(frame, socket);
    else this.#enqueue(() => link.send(frame, socket));
  }

  #wakeAt(at: number): void {
    clearTimeout(this.#wake);
    const pause = Math.min(Math.max(at - Date.now(), 0), TIMER_MS_MAX);
    this.#wake = setTimeout(() => this.#step((now) => this.#leaf.tick(now)), pause);
  }

  #read(words: readonly Argument[]): Reply | undefined {
    try {
      return this.command(words);
    } catch (error) {
      if (error instanceof UnknownKeyError) return undefined;
      throw error;
    }
  }

  #isWanted(key: string): boolean {
    return [...this.#subscriptions].some(({ keys }) => keys.has(key));
  }

  #wakeAtRest(): void {
    for (const wake of this.#atRest.splice(0)) wake();
  }

  #notifySoon(): void {
    if (this.#isNotifying) return;
    this.#isNotifying = true;
    queueMicrotask(() => {
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
    if (this.#leaf.status().handedOver === 0) this.#wakeAtRest();
    const lead = this.#ownLead();
    if (this.#link && !isSame(lead, this.#toldLead)) {
      this.#toldLead = lead;
      this.#tell((term) => ({ kind: "lead", term, lead }));
    }
    const { status } = this;
    if (status === this.#shown) return;
    this.#shown = status;
    this.dispatchEvent(new Event("status"));
  }
}

interface Subscription {
  readonly keys: ReadonlySet<string>;
  readonly callback: (keys: readonly string[]) => void;
}

function isSame<T extends object>(one: T, other: T): boolean {
  return (Object.keys(one) as (keyof T)[]).every((name) => one[name] === other[name]);
}
