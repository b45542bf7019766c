/**
 * Hooks for React: what a component reads of a store, drawn again when it reads differently.
 *
 * ```tsx
 * const hits = useHeadwater(store, ["hits"], () => store.counter("hits").value);
 * ```
 */

import { useCallback, useSyncExternalStore } from "react";
import type { Standings, StandingsQuery, Status, Store } from "../index.ts";

/**
 * What `read` gives, read again whenever one of the keys changes. The component subscribes to the keys while it is
 * mounted; `read` is called in each rendering and must only read. Where one of the keys is not known yet, the views give
 * `undefined`.
 */
export function useHeadwater<T>(store: Store, keys: readonly string[], read: (store: Store) => T): T {
  // A list that is written out in the component is another one each time, with the same keys.
  const names = JSON.stringify(keys);
  const subscribe = useCallback(
    (changed: () => void) => store.subscribe(JSON.parse(names) as string[], changed),
    [store, names],
  );
  const version = () => store.version;
  useSyncExternalStore(subscribe, version, version);
  return read(store);
}

/** The head of a board and the places of some members, as `store.watch` shows them; `undefined` before the edge has. */
export function useStandings(store: Store, key: string, query: StandingsQuery): Standings | undefined {
  const asked = JSON.stringify(query);
  const subscribe = useCallback(
    (changed: () => void) => store.watch(key, JSON.parse(asked) as StandingsQuery, changed),
    [store, key, asked],
  );
  const version = () => store.version;
  useSyncExternalStore(subscribe, version, version);
  return store.standings(key, query);
}

/** Whether the store is connected, what is pending, and where it is kept. */
export function useStatus(store: Store): Status {
  const subscribe = useCallback(
    (changed: () => void) => {
      store.addEventListener("status", changed);
      return () => store.removeEventListener("status", changed);
    },
    [store],
  );
  const status = () => store.status;
  return useSyncExternalStore(subscribe, status, status);
}
