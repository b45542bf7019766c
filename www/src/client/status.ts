/**
 * What a store takes and says: its beginning, its status, its errors and events.
 */

import type { WasmLeaf } from "../headwater.js";
import type { Lead } from "./channel.ts";
import type { Transport } from "./connection.ts";
import type { Problem, Token } from "./link.ts";
import type { Rows } from "./rows.ts";

/** A word of a command. */
export type Argument = string | number | bigint;

/** `offline`: no hub has welcomed this tab. `syncing`: operations are on their way. `synced`: the hub has all of them. */
export type Phase = "offline" | "syncing" | "synced";

/**
 * Where what the tabs know is kept. `memory`: in the tab alone, since it was asked so or the browser allows nothing else.
 * `saving`: a write is on its way to the disk, or to the tab that leads. `saved`: closing the tab loses nothing. `failed`: the
 * disk was full or broke; what was stored is deleted, and the tabs go on in memory.
 */
export type Storage = Lead["storage"];

/** What a store begins with. */
export interface Beginning {
  readonly leaf: WasmLeaf;
  readonly url: string;
  readonly token: Token;
  /** The rows that a tab that leads has opened. */
  readonly rows: Rows | undefined;
  /** Under which name it shares its leaf with other tabs; if not, it is alone. */
  readonly shared: Shared | undefined;
}

/** A tab of a name. */
export interface Shared {
  readonly name: string;
  readonly tab: bigint;
  /** Gives the lead up; a tab that does not have it waits for it. */
  readonly release: (() => void) | undefined;
}

/** What an application shows of its store. */
export interface Status {
  readonly phase: Phase;
  /** Operations not settled by their hub. */
  readonly pending: number;
  /** Where the tab keeps what it knows. */
  readonly storage: Storage;
  /** Whether the network is cut by `cut`, for all tabs of the name. */
  readonly isCut: boolean;
  /** Why there is no connection, once that is known. */
  readonly problem: Problem | undefined;
  /** When the next attempt to connect will be made, as `Date.now()` counts. */
  readonly retryAt: number | undefined;
  /** By what the tabs are connected: a socket, or requests where sockets are blocked. */
  readonly transport: Transport | undefined;
  /** The edge. */
  readonly url: string;
}

/** A command was not executed; `message` is the error line that Redis gives. */
export class CommandError extends Error {
  override readonly name: string = "CommandError";
}

/** The command needs a key that is not known here, or not yet: subscribe to it, and wait for `ready`. */
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

/** Whether all fields are the same. */
export function isSame<T extends object>(one: T, other: T): boolean {
  return (Object.keys(one) as (keyof T)[]).every((name) => one[name] === other[name]);
}
