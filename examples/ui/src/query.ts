/** Data of a request for a component: the last answer is kept, so that going back shows it at once. */

"use client";

import { useCallback, useEffect, useRef, useState } from "react";

export interface Query<T> {
  data: T | undefined;
  error: unknown;
  loading: boolean;
  /** When the data arrived. */
  at: number | undefined;
  again: () => void;
}

interface Entry {
  data: unknown;
  at: number;
}

const kept = new Map<string, Entry>();
const MOST_KEPT = 200;

function keep(key: string, data: unknown): Entry {
  const entry = { data, at: Date.now() };
  kept.delete(key);
  kept.set(key, entry);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value ?? "");
  return entry;
}

/**
 * What `fetcher` gives for a key; nothing for the key null. A new key stops the request before it, `every` milliseconds ask
 * again while the page is visible. Failures leave the data of the same key in place.
 */
export function useQuery<T>(key: string | null, fetcher: (signal: AbortSignal) => Promise<T>, every = 0): Query<T> {
  const [round, setRound] = useState(0);
  const [state, setState] = useState<{ key: string | null; error: unknown; loading: boolean; entry: Entry | undefined }>({
    key: null, error: undefined, loading: true, entry: undefined,
  });
  const latest = useRef(fetcher);
  latest.current = fetcher;

  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    setState({ key, error: undefined, loading: true, entry: kept.get(key) });
    latest.current(stop.signal).then(
      (data) => stop.signal.aborted || setState({ key, error: undefined, loading: false, entry: keep(key, data) }),
      (error) => stop.signal.aborted || setState({ key, error, loading: false, entry: kept.get(key) }),
    );
    return () => stop.abort();
  }, [key, round]);

  const again = useCallback(() => setRound((before) => before + 1), []);
  useEffect(() => {
    if (!every || key === null) return;
    const timer = setInterval(() => document.visibilityState === "visible" && again(), every);
    return () => clearInterval(timer);
  }, [every, key, again]);

  const mine = state.key === key;
  const entry = mine ? state.entry : undefined;
  return { data: entry?.data as T | undefined, error: mine ? state.error : undefined, loading: key !== null && (!mine || state.loading), at: entry?.at, again };
}
