/**
 * Web Locks: which tab of a name leads, and which tabs still live. The browser gives a lock back when its tab ends, however
 * that happens.
 */

/** Takes a lock if nobody has it; gives what releases it. */
export function claimed(name: string): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      if (!lock) return resolve(undefined);
      return new Promise<void>((release) => resolve(release));
    });
    held.catch(reject);
  });
}

/** Waits for a lock; gives what releases it. Never resolves once the signal is aborted. */
export function inherited(name: string, signal: AbortSignal): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(name, { signal }, () => new Promise<void>((release) => resolve(release)));
    held.catch((error: unknown) => signal.aborted || reject(error));
  });
}

/** What is locked while a tab of a name lives. */
export function tabLock(name: string, tab: bigint): string {
  return `${name}:tab:${tab}`;
}
