/**
 * The leaf's rows in IndexedDB: one database a name, one transaction for all that one input changed.
 *
 * Invariant: only the tab that holds the lock of a name opens its rows. Two tabs that went on from the same rows would give
 * one number to two operations.
 */

import { claimed } from "./locks.ts";
import type { RowWrite, StoredRow } from "../headwater.js";

/** Raised when what is stored cannot be read; {@link forget} makes room for a new beginning. */
export class StorageError extends Error {
  override readonly name = "StorageError";
}

const VERSION = 1;
const STORE = "rows";

export class Rows {
  readonly #database: IDBDatabase;

  private constructor(database: IDBDatabase) {
    this.#database = database;
  }

  /**
   * The rows of this name and all that they hold; `undefined` where the browser allows none, as in a private window.
   *
   * @throws {StorageError} when there are rows and they cannot be read.
   */
  static async open(name: string): Promise<{ rows: Rows; stored: StoredRow[] } | undefined> {
    let database: IDBDatabase;
    try {
      database = await opened(databaseName(name));
    } catch {
      return undefined;
    }
    const rows = new Rows(database);
    try {
      return { rows, stored: await rows.#all() };
    } catch (cause) {
      rows.close();
      throw new StorageError(`the rows of "${name}" cannot be read: forget("${name}") deletes them`, { cause });
    }
  }

  /** Performs all of these, in order, or none; resolves once they are stored. */
  async write(writes: readonly RowWrite[]): Promise<void> {
    const transaction = this.#database.transaction(STORE, "readwrite", { durability: "relaxed" });
    const store = transaction.objectStore(STORE);
    try {
      for (const [kind, id, body] of writes) {
        if (kind === "put") store.put(body, id);
        else if (kind === "drop-all") store.delete(IDBKeyRange.bound(id, followed(id)));
        else store.delete(id);
      }
    } catch (error) {
      transaction.abort();
      throw error;
    }
    await completed(transaction);
  }

  /** Deletes all rows. */
  async clear(): Promise<void> {
    const transaction = this.#database.transaction(STORE, "readwrite");
    transaction.objectStore(STORE).clear();
    await completed(transaction);
  }

  /** Leaves the rows to another tab. */
  close(): void {
    this.#database.close();
  }

  async #all(): Promise<StoredRow[]> {
    const store = this.#database.transaction(STORE).objectStore(STORE);
    const [ids, bodies] = await Promise.all([answered(store.getAllKeys()), answered(store.getAll())]);
    return ids.map((id, at) => [new Uint8Array(id as ArrayBuffer), bodies[at] as Uint8Array]);
  }
}

/**
 * Deletes what is stored under this name, with all that was not synchronised.
 *
 * @throws {StorageError} while a tab has it open.
 */
export async function forget(name: string): Promise<void> {
  const release = await claimed(databaseName(name));
  if (!release) throw new StorageError(`"${name}" is open in a tab: close it first`);
  try {
    await answered(indexedDB.deleteDatabase(databaseName(name)));
  } finally {
    release();
  }
}

/** Of its database, and of the lock of those who may open it. */
export function databaseName(name: string): string {
  return `headwater:${name}`;
}

function opened(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, VERSION);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return answered(request);
}

/** The last key that a row of the same key can have: kinds of elements are small numbers. */
function followed(id: Uint8Array): Uint8Array {
  const last = new Uint8Array(id.length + 1);
  last.set(id);
  last[id.length] = 0xff;
  return last;
}

function answered<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}
