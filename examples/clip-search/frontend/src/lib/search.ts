/** A search, from its words or image to what was found. */

"use client";

import { AyniError, errorOfEvent } from "ayni/browser";
import { useCallback, useEffect, useState } from "react";

import { client, type Found } from "./api.ts";

/** What the address says: words, an image of the folder, or an image of this tab. */
export type Asked = { text: string } | { name: string } | { file: File };

export interface Search {
  status: "none" | "searching" | "done" | "failed";
  /** How long a service that wakes up has been waited for. */
  waited: number | null;
  found: Found | undefined;
  error: unknown;
}

const NONE: Search = { status: "none", waited: null, found: undefined, error: undefined };

/** An image as base64, read by the browser. */
function base64Of(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
    reader.onerror = () => reject(new AyniError("the image cannot be read", { code: "invalid_request" }));
    reader.readAsDataURL(file);
  });
}

async function bodyOf(asked: Asked): Promise<Record<string, unknown>> {
  return "file" in asked ? { image: await base64Of(asked.file) } : asked;
}

/** Searches for what `key` names. While the same is searched for again, what was found stays. */
export function useSearch(key: string | null, asked: Asked | null, epoch: string): Search & { again: () => void } {
  const [round, setRound] = useState(0);
  const [state, setState] = useState<Search & { key: string | null }>({ ...NONE, key: null });
  useEffect(() => {
    if (key === null || asked === null) return;
    const stop = new AbortController();
    const tell = (change: Partial<Search>) => stop.signal.aborted || setState((before) => ({ ...(before.key === key ? before : NONE), key, ...change }));
    async function run(asked: Asked) {
      tell({ status: "searching", waited: null, error: undefined });
      try {
        for await (const { event, data } of await client.stream("/search", await bodyOf(asked), { signal: stop.signal })) {
          if (event === "error") throw errorOfEvent(data);
          const found = JSON.parse(data);
          if (event === "waiting") tell({ waited: Math.round(found.elapsed_ms / 1000) });
          if (event === "found") return void tell({ status: "done", waited: null, found });
        }
        throw new AyniError("the answer was cut", { code: "unavailable" });
      } catch (error) {
        const failure = error instanceof AyniError ? error : new AyniError("the answer was cut", { code: "unavailable", cause: error });
        tell({ status: "failed", waited: null, error: failure });
      }
    }
    void run(asked);
    return () => stop.abort();
    // `asked` is another object at every render; its key says whether it is the same.
  }, [key, epoch, round]);
  const again = useCallback(() => setRound((before) => before + 1), []);
  return { ...(state.key === key ? state : { ...NONE, status: key === null ? "none" : "searching" }), again };
}
