/**
 * The tab that leads those of its name, or is alone: it has the rows and the link, and its leaf is the one that the edge
 * knows.
 *
 * Invariant: what is sent, and what other tabs are told, comes after what it rests on is stored.
 */

import type { Effect, RowWrite } from "../headwater.js";
import { union, type Lead, type TabMessage, type ToLeader, type Wants } from "./channel.ts";
import { Link, type Token } from "./link.ts";
import { inherited, tabLock } from "./locks.ts";
import type { Host, Role, RoleEffect } from "./role.ts";
import { databaseName, type Rows } from "./rows.ts";
import { isSame, type Shared, type Storage } from "./status.ts";

/** What a leader begins with. */
export interface Leading {
  readonly url: string;
  readonly token: Token;
  /** Under which name it shares its leaf with other tabs; if not, it is alone. */
  readonly shared: Pick<Shared, "name"> | undefined;
  /** Where it stores, if it does. */
  readonly rows: Rows | undefined;
  readonly storage: Storage;
  /** Gives the lead up. */
  readonly release: (() => void) | undefined;
}

export class Leader implements Role {
  readonly #host: Host;
  readonly #link: Link;
  readonly #name: string | undefined;
  readonly #release: (() => void) | undefined;
  /** Names its time as the leader; none where it is alone. */
  readonly #term: string | undefined;
  #rows: Rows | undefined;
  #rowsVersion = 0;
  #storage: Storage;
  /** What is to be stored and, behind it, sent: done one after the other. */
  #queue = Promise.resolve();
  #queued = 0;
  /** What other tabs want. */
  readonly #wants = new Map<bigint, Wants>();
  /** The tabs whose end this one waits for. */
  readonly #watched = new Set<bigint>();
  #wasConnected = false;
  #told: Lead;

  constructor(host: Host, { url, token, shared, rows, storage, release }: Leading) {
    const { leaf } = host;
    this.#host = host;
    this.#name = shared?.name;
    this.#release = release;
    this.#term = shared && crypto.randomUUID();
    this.#rows = rows;
    this.#storage = storage;
    this.#link = new Link(url, token, {
      opened: () => host.step((now) => leaf.opened(now)),
      received: (frame) => host.step((now) => leaf.receive(frame, now)),
      closed: () => host.step((now) => leaf.closed(now)),
      changed: () => host.changed(),
    });
    this.#told = this.lead;
  }

  get lead(): Lead {
    const [isConnected, , , heardAt] = this.#host.leaf.status();
    const { isCut, problem, retryAt, transport, url } = this.#link;
    return { isConnected, isCut, problem, retryAt, transport, url, storage: this.#storage, heardAt };
  }

  get stored(): Promise<void> {
    return this.#queue;
  }

  /** Says so to the other tabs, and speaks with the edge. */
  start(): void {
    this.#tell((term) => ({ kind: "leads", term }));
    this.#link.start();
  }

  heard(said: TabMessage): Effect[] {
    const message = said as ToLeader;
    switch (message.kind) {
      case "join":
        this.#welcome(message.tab);
        return [];
      case "want":
        this.#wants.set(message.tab, message.wants);
        this.#host.wanted();
        return message.wants.boards.size > 0 ? this.#host.leaf.share(Date.now()) : [];
      case "forward":
        if (message.term !== this.#term) return [];
        return this.#host.leaf.adopt(message.tab, message.no, message.version, message.operation, Date.now());
      case "cut":
      case "restore":
        this[message.kind]();
        return [];
      case "roam":
        this.roam(message.url);
        return [];
      default:
        return [];
    }
  }

  wants(own: Wants): Wants {
    return union([own, ...this.#wants.values()]);
  }

  perform(effect: RoleEffect): void {
    switch (effect[0]) {
      case "persist":
        this.#store(effect[1]);
        return;
      case "send":
        this.#send(effect[1]);
        return;
      case "refused": {
        const [, key, error] = effect;
        this.#host.refused(key, error);
        // Behind the rows that roll it back.
        this.#enqueue(() => this.#tell((term) => ({ kind: "refused", term, key, error })));
        return;
      }
      case "share":
        this.#tell((term) => ({ kind: "share", term, frame: effect[1] }));
        return;
      case "redial":
        this.#link.redial();
        return;
      case "again":
        // Behind the rows that it is to know first.
        this.#enqueue(() => this.#tell((term) => ({ kind: "again", term, to: effect[1] })));
        return;
      case "forward":
        // A leaf that leads hands nothing over.
        return;
    }
  }

  performed(): void {
    // Asked for afterwards: an effect may have cost the connection.
    const [isConnected] = this.#host.leaf.status();
    if (isConnected && !this.#wasConnected) this.#link.welcomed();
    this.#wasConnected = isConnected;
  }

  notified(): void {
    const { lead } = this;
    if (isSame(lead, this.#told)) return;
    this.#told = lead;
    this.#tell((term) => ({ kind: "lead", term, lead }));
  }

  misunderstood(): void {
    this.#link.misunderstood();
  }

  cut(): void {
    this.#link.cut();
  }

  restore(): void {
    this.#link.restore();
  }

  roam(url: string): void {
    this.#link.roam(url);
  }

  async end(): Promise<void> {
    this.#link.end();
    await this.#queue;
    this.#rows?.close();
    this.#release?.();
  }

  #tell(message: (term: string) => TabMessage): void {
    if (this.#term !== undefined) this.#host.channel?.post(message(this.#term));
  }

  /** Tells a tab all that will be stored by then, and notes when it ends. */
  #welcome(tab: bigint): void {
    const { leaf, ended } = this.#host;
    if (this.#name === undefined) return;
    const [version, rows, lead] = [this.#rowsVersion, leaf.rows(), this.lead];
    this.#enqueue(() => {
      this.#tell((term) => ({ kind: "whole", term, to: tab, version, rows }));
      this.#tell((term) => ({ kind: "lead", term, lead }));
    });
    if (this.#watched.has(tab)) return;
    this.#watched.add(tab);
    void inherited(tabLock(databaseName(this.#name), tab), ended).then((release) => {
      release();
      this.#watched.delete(tab);
      this.#wants.delete(tab);
      this.#host.wanted();
      this.#host.step((now) => leaf.gone(tab, now));
    });
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
      this.#host.changed();
    });
  }

  /** Rows that are behind would give the numbers of this session again: they go. */
  async #storeNoMore(cause: unknown): Promise<void> {
    const rows = this.#rows;
    this.#rows = undefined;
    this.#storage = "failed";
    this.#host.failed(`nothing can be stored: ${String(cause)}`, cause);
    try {
      await rows?.clear();
      rows?.close();
    } catch (error) {
      // What cannot be deleted must not be outrun either: nothing more is sent under its numbers.
      this.#host.failed(`what is stored cannot be deleted: ${String(error)}`, error);
      this.#link.end();
    }
  }

  /** On the connection for which it was meant, and not before what came before it is stored. */
  #send(frame: Uint8Array<ArrayBuffer>): void {
    const { connection } = this.#link;
    if (this.#queued === 0) this.#link.send(frame, connection);
    else this.#enqueue(() => this.#link.send(frame, connection));
    // A subscription need not be answered at once; a hello and an operation must be.
    const [isConnected, pending] = this.#host.leaf.status();
    if (!isConnected || pending > 0) this.#link.expectAnswer();
  }
}
