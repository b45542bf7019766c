/**
 * What the tabs of a name say to each other. Messages of one tab arrive in the order in which it sent them.
 *
 * A term is one tab's time as the leader; what is meant for another term is of no use to anybody.
 */

import type { RowWrite, StoredRow } from "../headwater.js";
import type { Transport } from "./connection.ts";
import type { Problem } from "./link.ts";

/** What only the tab that leads knows. */
export interface Lead {
  readonly isConnected: boolean;
  readonly isCut: boolean;
  readonly problem: Problem | undefined;
  readonly retryAt: number | undefined;
  readonly transport: Transport | undefined;
  readonly url: string;
  readonly storage: "memory" | "saving" | "saved" | "failed";
  readonly heardAt: number | undefined;
}

/** What a tab is to be shown of a board. */
export interface BoardQuery {
  readonly top: number;
  readonly members: readonly string[];
}

/** What tabs want to see. */
export interface Wants {
  /** Keys that are followed. */
  readonly keys: readonly string[];
  /** Boards that are watched. */
  readonly boards: ReadonlyMap<string, BoardQuery>;
}

/** All that several want. */
export function union(wants: readonly Wants[]): Wants {
  const boards = new Map<string, BoardQuery>();
  for (const [key, { top, members }] of wants.flatMap((want) => [...want.boards])) {
    const other = boards.get(key) ?? { top: 0, members: [] };
    boards.set(key, { top: Math.max(top, other.top), members: [...new Set([...other.members, ...members])] });
  }
  return { keys: [...new Set(wants.flatMap(({ keys }) => keys))], boards };
}

/** From the tab that leads; `to` names the one tab that is meant. */
export type FromLeader =
  /** A tab leads from now on; the others join. */
  | { kind: "leads"; term: string }
  /** All that is stored in this version. */
  | { kind: "whole"; term: string; to: bigint; version: number; rows: StoredRow[] }
  /** What was stored to come to this version. */
  | { kind: "rows"; term: string; version: number; writes: readonly RowWrite[] }
  /** Hand over again. */
  | { kind: "again"; term: string; to: bigint }
  /** What the hub showed of a board. */
  | { kind: "share"; term: string; frame: Uint8Array<ArrayBuffer> }
  | { kind: "lead"; term: string; lead: Lead }
  | { kind: "refused"; term: string; key: string; error: string };

/** To the tab that leads. */
export type ToLeader =
  | { kind: "join"; tab: bigint }
  /** What this tab follows and watches, all of it. */
  | { kind: "want"; tab: bigint; wants: Wants }
  | { kind: "forward"; term: string; tab: bigint; no: number; version: number; operation: Uint8Array }
  | { kind: "cut" | "restore" }
  | { kind: "roam"; url: string };

/** Everything that one tab says to others. */
export type TabMessage = FromLeader | ToLeader;

/** The channel of a name. */
export class Channel {
  readonly #channel: BroadcastChannel;

  constructor(name: string, received: (message: TabMessage) => void) {
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<TabMessage>) => received(data);
  }

  post(message: TabMessage): void {
    this.#channel.postMessage(message);
  }

  close(): void {
    this.#channel.close();
  }
}
