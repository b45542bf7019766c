/**
 * A tab that mirrors the leaf of the tab that leads: it takes up what the leader stored, hands over what it does itself, and
 * waits for the leader's end.
 *
 * It has neither rows nor a socket.
 */

import type { Effect } from "../headwater.js";
import type { FromLeader, Lead, TabMessage, Wants } from "./channel.ts";
import { inherited, tabLock } from "./locks.ts";
import type { Host, Role, RoleEffect } from "./role.ts";
import { databaseName } from "./rows.ts";
import type { Shared } from "./status.ts";

/** Before a leader has said anything. */
const APART = {
  isConnected: false,
  isCut: false,
  problem: undefined,
  retryAt: undefined,
  transport: undefined,
  storage: "memory",
  heardAt: undefined,
} as const;

export class Mirror implements Role {
  readonly #host: Host;
  readonly #shared: Shared;
  readonly #inherits: (release: () => void) => Promise<void>;
  #lead: Lead;
  /** Whose version counts; none before it has heard from its leader. */
  #term: string | undefined;
  #rowsVersion = 0;
  #wants: Wants = { keys: [], boards: new Map() };

  /** `inherits` is called with what gives the lead up, once this tab has it. */
  constructor(host: Host, shared: Shared, url: string, inherits: (release: () => void) => Promise<void>) {
    this.#host = host;
    this.#shared = shared;
    this.#inherits = inherits;
    this.#lead = { ...APART, url: new URL(url).origin };
  }

  get lead(): Lead {
    return this.#lead;
  }

  /** It stores nothing itself. */
  readonly stored = Promise.resolve();

  /** Joins the tab that leads, and waits for its end. */
  start(): void {
    const { name, tab } = this.#shared;
    const { ended } = this.#host;
    const lock = databaseName(name);
    void (async () => {
      const leave = await inherited(tabLock(lock, tab), ended);
      ended.addEventListener("abort", leave, { once: true });
      this.#host.channel?.post({ kind: "join", tab });
      const release = await inherited(lock, ended);
      if (ended.aborted) release();
      else await this.#inherits(release);
    })();
  }

  heard(said: TabMessage): Effect[] {
    const message = said as FromLeader;
    const { leaf, channel } = this.#host;
    const { tab } = this.#shared;
    const now = Date.now();
    if ("to" in message && message.to !== tab) return [];
    if (message.kind === "whole") {
      this.#term = message.term;
      this.#rowsVersion = message.version;
      channel?.post({ kind: "want", tab, wants: this.#wants });
      return leaf.takeWhole(message.version, message.rows, now);
    }
    if (message.kind === "leads") channel?.post({ kind: "join", tab });
    if (!("term" in message) || message.term !== this.#term) return [];
    switch (message.kind) {
      case "rows":
        if (message.version <= this.#rowsVersion) return [];
        if (message.version > this.#rowsVersion + 1) {
          channel?.post({ kind: "join", tab });
          return [];
        }
        this.#rowsVersion = message.version;
        return leaf.takeUp(message.version, [...message.writes], now);
      case "share":
        return leaf.receive(message.frame, now);
      case "again":
        return leaf.again(now);
      case "lead":
        this.#lead = message.lead;
        if (message.lead.heardAt !== undefined) leaf.heard(message.lead.heardAt);
        return [];
      case "refused":
        this.#host.refused(message.key, message.error);
        return [];
      default:
        return [];
    }
  }

  /** The leader follows; what this tab's leaf is shown of boards it must know to want. */
  wants(own: Wants): Wants {
    this.#wants = own;
    this.#host.channel?.post({ kind: "want", tab: this.#shared.tab, wants: own });
    return { keys: [], boards: own.boards };
  }

  /** A leaf that mirrors another stores, sends and refuses nothing itself. */
  perform(effect: RoleEffect): void {
    if (effect[0] !== "forward" || this.#term === undefined) return;
    const [, no, version, operation] = effect;
    this.#host.channel?.post({ kind: "forward", term: this.#term, tab: this.#shared.tab, no, version, operation });
  }

  performed(): void {}

  notified(): void {}

  misunderstood(): void {}

  cut(): void {
    this.#host.channel?.post({ kind: "cut" });
  }

  restore(): void {
    this.#host.channel?.post({ kind: "restore" });
  }

  roam(url: string): void {
    this.#host.channel?.post({ kind: "roam", url: new URL(url).origin });
  }

  async end(): Promise<void> {}
}
