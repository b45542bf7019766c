/**
 * The store that an application holds: the leaf, the link to its edge, and the timers and events between them.
 *
 * It performs the leaf's effects and decides nothing itself. Callbacks and events come in a microtask of their own, once
 * for all that changed in a task, so a handler may call back into the store.
 */

import type { Effect, Reply, RowWrite, WasmLeaf } from "../headwater.js";
import { Link, type Problem } from "./link.ts";
import type { Rows } from "./rows.ts";
import { Counter, Fields, Leaderboard, Limit, Members, type Commands, type LimitOptions } from "./views.ts";

/** A word of a command. */
export type Argument = string | number | bigint;

/** `offline`: no hub has welcomed this tab. `syncing`: operations are on their way. `synced`: the hub has all of them. */
export type Phase = "offline" | "syncing" | "synced";

/**
 * Where what the tab knows is kept. `memory`: in the tab alone, since it was asked so, another tab has the store open, or the
 * browser allows nothing else. `saving`: a write is on its way to the disk. `saved`: closing the tab loses nothing. `failed`:
 * the disk was full or broke; what was stored is deleted, and the tab goes on in memory.
 */
export type Storage = "memory" | "saving" | "saved" | "failed";

/** What an application shows of its store. */
export interface Status {
  readonly phase: Phase;
  /** Operations not settled by their hub. */
  readonly pending: number;
  /** Where the tab keeps what it knows. */
  readonly storage: Storage;
  /** Whether the network is cut by `cut`. */
  readonly isCut: boolean;
  /** Why there is no connection, once that is known. */
  readonly problem: Problem | undefined;
  /** When the next attempt to connect will be made, as `Date.now()` counts. */
  readonly retryAt: number | undefined;
  /** The edge. */
  readonly url: string;
}

/** A command was not executed; `message` is the error line that Redis gives. */
export class CommandError extends Error {
  override readonly name: string = "CommandError";
}

/** The command needs a key that is not known here, or not yet: subscribe to it, and wait for {@link Store.ready}. */
export class UnknownKeyError extends CommandError {
  override readonly name = "UnknownKeyError";
}

/** What ends by itself when the signal is aborted. */
export interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** The hub refused an operation after the fact; the view has been rolled back. */
export class RefusedEvent extends Event {
  constructor(
    /** The key it would have changed. */
    readonly key: string,
    /** The cause, worded as Redis words it. */
    readonly error: string,
  ) {
    super("refused");
  }
}

/** More than a timer can wait for at once; a tick that comes early does no harm. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/**
 * One tab's store.
 *
 * Events: `status` when {@link status} has changed, `refused` ({@link RefusedEvent}) for each operation that the hub
 * refused, `error` ({@link ErrorEvent}) when the edge sent what this version does not understand.
 */
export class Store extends EventTarget {
  readonly #leaf: WasmLeaf;
  readonly #link: Link;
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
  #isNotifying = false;
  #isClosed = false;
  #version = 0;
  readonly #commands: Commands = {
    command: (words) => this.command(words),
    read: (words) => this.#read(words),
  };

  constructor(leaf: WasmLeaf, rows: Rows | undefined, url: string, token: string) {
    super();
    this.#leaf = leaf;
    this.#rows = rows;
    this.#storage = rows ? "saved" : "memory";
    this.#link = new Link(url, token, {
      opened: () => this.#step((now) => this.#leaf.opened(now)),
      received: (frame) => this.#step((now) => this.#leaf.receive(frame, now)),
      closed: () => this.#step((now) => this.#leaf.closed(now)),
      changed: () => this.#notifySoon(),
    });
    this.#shown = this.#currentStatus();
    this.#link.start();
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
    const { isConnected, pending } = this.#leaf.status();
    const { isCut, problem, retryAt, url } = this.#link;
    const phase = isConnected ? (pending > 0 ? "syncing" : "synced") : "offline";
    return { phase, pending, storage: this.#storage, isCut, problem, retryAt, url };
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
    const unknown = [...subscription.keys].filter((key) => !this.#isWanted(key));
    if (unknown.length > 0) this.#perform(this.#leaf.subscribe(unknown, Date.now()));
    this.#subscriptions.add(subscription);
    const end = () => {
      signal?.removeEventListener("abort", end);
      if (!this.#subscriptions.delete(subscription)) return;
      const unwanted = [...subscription.keys].filter((key) => !this.#isWanted(key));
      if (unwanted.length > 0 && !this.#isClosed) this.#perform(this.#leaf.unsubscribe(unwanted, Date.now()));
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

  /** Cuts the network for this store: closes its socket and dials no more. */
  cut(): void {
    this.#link.cut();
  }

  /** Undoes `cut`. */
  restore(): void {
    this.#link.restore();
  }

  /** Goes on with another edge; what was sent to the former one is settled through the new one. */
  roam(url: string): void {
    this.#link.roam(url);
  }

  /** Resolves once all that was written so far is on the disk, or {@link Status.storage} says that it will not be. */
  async saved(): Promise<void> {
    await this.#queue;
  }

  /** Ends the store. What is pending is lost, unless {@link Status.storage} says that it is saved. */
  close(): void {
    this.#isClosed = true;
    this.#link.end();
    clearTimeout(this.#wake);
    const rows = this.#rows;
    void this.#queue.then(() => rows?.close());
  }

  /** Gives the leaf an input that came from outside; what it cannot take costs the connection and is told. */
  #step(input: (now: number) => Effect[]): void {
    try {
      this.#perform(input(Date.now()));
    } catch (error) {
      this.dispatchEvent(new ErrorEvent("error", { error, message: String(error) }));
      // A trap leaves the module's memory in no known state.
      if (error instanceof WebAssembly.RuntimeError) this.close();
      else this.#link.misunderstood();
    }
  }

  #perform(effects: readonly Effect[]): void {
    for (const effect of effects) this.#performOne(effect);
    // Asked for afterwards: an effect may have cost the connection.
    const { isConnected } = this.#leaf.status();
    if (isConnected && !this.#wasConnected) this.#link.welcomed();
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
        if (this.status.phase !== "synced") this.#link.expectAnswer();
        return;
      case "changed":
        for (const key of effect.keys) this.#changed.add(key);
        this.#version += 1;
        return;
      case "refused":
        this.dispatchEvent(new RefusedEvent(effect.key, effect.error));
        return;
      case "redial":
        this.#link.redial();
        return;
      case "wake-at":
        this.#wakeAt(effect.at);
        return;
    }
  }

  #store(writes: readonly RowWrite[]): void {
    if (this.#rows) this.#storage = "saving";
    this.#enqueue(async () => {
      try {
        await this.#rows?.write(writes);
      } catch (error) {
        await this.#storeNoMore(error);
      }
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
      // Another tab may have the name from here on.
      rows?.close();
    } catch (error) {
      // What cannot be deleted must not be outrun either: nothing more is sent under its numbers.
      this.dispatchEvent(new ErrorEvent("error", { error, message: `what is stored cannot be deleted: ${String(error)}` }));
      this.#link.end();
    }
  }

  /** On the socket for which it was meant, and not before what came before it is stored. */
  #send(frame: Uint8Array<ArrayBuffer>): void {
    const { socket } = this.#link;
    if (this.#queued === 0) this.#link.send(frame, socket);
    else this.#enqueue(() => this.#link.send(frame, socket));
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

function isSame(one: Status, other: Status): boolean {
  return (Object.keys(one) as (keyof Status)[]).every((name) => one[name] === other[name]);
}
