/** Saved searches, kept in this browser: what was seen at the last visit, so that the next one can say what is new. */

"use client";

import { useCallback, useEffect, useState } from "react";

export interface SavedSearch {
  name: string;
  /** The view, as in the address. */
  query: string;
  /** Codes that were there when it was last looked at. */
  seen: readonly string[];
  at: string;
}

const KEY = "saved-searches";
const MOST_SEEN = 2000;

function load(): SavedSearch[] {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((one) => typeof one?.name === "string" && typeof one?.query === "string" && Array.isArray(one?.seen)) : [];
  } catch {
    return [];
  }
}

export function useSaved() {
  const [searches, setSearches] = useState<readonly SavedSearch[]>([]);
  useEffect(() => {
    setSearches(load());
    // Another tab may save or remove one.
    const update = (event: StorageEvent) => event.key === KEY && setSearches(load());
    window.addEventListener("storage", update);
    return () => window.removeEventListener("storage", update);
  }, []);

  const change = useCallback((edit: (all: SavedSearch[]) => SavedSearch[]) => {
    const next = edit(load());
    localStorage.setItem(KEY, JSON.stringify(next));
    setSearches(next);
  }, []);

  const save = useCallback(
    (name: string, query: string, codes: readonly string[]) => {
      const entry = { name, query, seen: codes.slice(0, MOST_SEEN), at: new Date().toISOString() };
      change((all) => [...all.filter((one) => one.name !== name), entry]);
    },
    [change],
  );
  const look = useCallback(
    (query: string, codes: readonly string[]) =>
      change((all) => all.map((one) => (one.query === query ? { ...one, seen: [...new Set([...codes, ...one.seen])].slice(0, MOST_SEEN), at: new Date().toISOString() } : one))),
    [change],
  );
  const remove = useCallback((name: string) => change((all) => all.filter((one) => one.name !== name)), [change]);
  return { searches, save, look, remove };
}
