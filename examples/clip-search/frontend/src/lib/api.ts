/** The routes of this page, and the state of the index as it changes. */

"use client";

import { AyniError, createClient, errorOfEvent, subscribe } from "ayni/browser";
import { useEffect, useState } from "react";

import type { Found, IndexState } from "../server/index.ts";

export type { Found, IndexState };

export interface Image {
  name: string;
  bytes: number;
  changed: number;
  hash: string;
}

export const client = createClient({ base: "/api" });

/** The address of an image. The hash makes it another when the content is. */
export function addressOf({ name, hash }: { name: string; hash: string }): string {
  return `/api/images/${name.split("/").map(encodeURIComponent).join("/")}?v=${hash.slice(0, 16)}`;
}

export interface Index {
  state: IndexState | undefined;
  /** Why there is no state; undefined while it is on its way. */
  error: unknown;
  /** Whether the page's own server is gone; it is asked again until it is back. */
  isAway: boolean;
  again: () => void;
}

/** Listens while the tab is seen: browsers keep few connections to one server. */
export function useIndex(): Index {
  const [round, setRound] = useState(0);
  const [found, setFound] = useState<Omit<Index, "again">>({ state: undefined, error: undefined, isAway: false });
  useEffect(() => {
    let stop = new AbortController();
    async function listen(signal: AbortSignal) {
      const onBreak = () => setFound((before) => ({ ...before, isAway: true }));
      try {
        for await (const { event, data } of subscribe("/api/index", { signal, waitMs: 1000, onBreak })) {
          if (event === "error") throw errorOfEvent(data);
          setFound({ state: JSON.parse(data), error: undefined, isAway: false });
        }
      } catch (error) {
        if (!signal.aborted) setFound((before) => ({ ...before, error, isAway: false }));
      }
    }
    function onVisibility() {
      stop.abort();
      if (document.visibilityState !== "visible") return;
      stop = new AbortController();
      void listen(stop.signal);
    }
    onVisibility();
    document.addEventListener("visibilitychange", onVisibility);
    return () => {
      document.removeEventListener("visibilitychange", onVisibility);
      stop.abort();
    };
  }, [round]);
  return { ...found, again: () => setRound((before) => before + 1) };
}

/** Whether an error says that the page's own server is gone, not the service behind it. */
export function isOwnServerAway(error: unknown): boolean {
  return error instanceof AyniError && error.code === "unavailable" && !error.backend && !error.status;
}
