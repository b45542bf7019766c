/**
 * What a tab is to the other tabs of its name: the one that leads, or one that mirrors it. The store has one role, and
 * performs through it whatever is not the same in both.
 */

import type { Effect, WasmLeaf } from "../headwater.js";
import type { Channel, Lead, TabMessage, Wants } from "./channel.ts";

/** What a role asks of its store. */
export interface Host {
  readonly leaf: WasmLeaf;
  /** Where the store shares its leaf with other tabs. */
  readonly channel: Channel | undefined;
  /** Aborted when the store is closed. */
  readonly ended: AbortSignal;
  /** Gives the leaf an input that came from outside. */
  step(input: (now: number) => Effect[]): void;
  /** What the role says of itself may have changed. */
  changed(): void;
  /** What other tabs follow may have changed. */
  wanted(): void;
  /** The hub refused an operation. */
  refused(key: string, error: string): void;
  /** Something went wrong that costs no more than is told. */
  failed(message: string, error: unknown): void;
}

/** The effects that each role performs in its own way. */
export type RoleEffect = Exclude<Effect, [kind: "changed" | "wake-at", ...unknown[]]>;

export interface Role {
  /** What is known of the tab that leads, which may be this one. */
  readonly lead: Lead;
  /** Resolves once all that was to be stored so far is. */
  readonly stored: Promise<void>;

  start(): void;
  /** Another tab said this. */
  heard(message: TabMessage): Effect[];
  /** The application wants this; gives all that the leaf is to follow and watch. */
  wants(own: Wants): Wants;
  perform(effect: RoleEffect): void;
  /** All effects of an input are performed. */
  performed(): void;
  /** The application is told of what has changed. */
  notified(): void;
  /** What came from outside makes no sense. */
  misunderstood(): void;

  cut(): void;
  restore(): void;
  roam(url: string): void;

  /** Ends it; resolves once everything is stored and given back. */
  end(): Promise<void>;
}
