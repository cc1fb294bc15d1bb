/** Reads the details of listed records, one after the other: the source allows one request at a time, and each one counts. */

"use client";

import { AyniError } from "ayni/browser";
import { useCallback, useEffect, useRef, useState } from "react";

import { useApi } from "./api.tsx";
import { type Kind, readFull } from "./records.ts";

const TELL_MS = 200;
const ATTEMPTS = 5;

/** What was read stays for the whole visit, and so does which record could not be read. */
const read = new Map<string, unknown>();
const unreadable = new Set<string>();

export interface Details<R> {
  of: (code: string) => R | undefined;
  isUnreadable: (code: string) => boolean;
  /** Changes whenever more was read. */
  version: number;
  reading: boolean;
  error: unknown;
  start: (codes: readonly string[]) => void;
  /** Goes on with what was asked for last. */
  again: () => void;
  stop: () => void;
}

export function useDetails<R>(kind: Kind): Details<R> {
  const { client } = useApi();
  const [version, setVersion] = useState(0);
  const [reading, setReading] = useState(false);
  const [error, setError] = useState<unknown>();
  const queue = useRef<string[]>([]);
  const asked = useRef<readonly string[]>([]);
  const running = useRef<AbortController>(null);
  const told = useRef(0);

  const stop = useCallback(() => {
    queue.current = [];
    running.current?.abort();
    running.current = null;
    setReading(false);
  }, []);
  useEffect(() => stop, [stop, client]);

  /** What is being read goes on; what comes after it is replaced. */
  const start = useCallback(
    (codes: readonly string[]) => {
      asked.current = codes;
      queue.current = codes.filter((code) => !read.has(`${kind} ${code}`) && !unreadable.has(`${kind} ${code}`));
      if (!client || running.current || queue.current.length === 0) return;
      const mine = new AbortController();
      running.current = mine;
      setReading(true);
      setError(undefined);
      (async () => {
        for (let code = queue.current.shift(); code !== undefined; code = queue.current.shift()) {
          if (read.has(`${kind} ${code}`)) continue;
          try {
            read.set(`${kind} ${code}`, (await readFull<R>(client, kind, code, { signal: mine.signal, attempts: ATTEMPTS })).record);
          } catch (failure) {
            if (mine.signal.aborted) return;
            // One that cannot be read is marked; what concerns all ends the reading.
            if (!(failure instanceof AyniError) || !["not_found", "response_invalid"].includes(failure.code)) {
              setError(failure);
              break;
            }
            unreadable.add(`${kind} ${code}`);
          }
          // Everything is summed and sorted again when it changes.
          if (performance.now() - told.current < TELL_MS) continue;
          told.current = performance.now();
          setVersion((before) => before + 1);
        }
        setVersion((before) => before + 1);
        if (mine.signal.aborted) return;
        running.current = null;
        setReading(false);
      })();
    },
    [client, kind],
  );

  const of = useCallback((code: string) => read.get(`${kind} ${code}`) as R | undefined, [kind]);
  const isUnreadable = useCallback((code: string) => unreadable.has(`${kind} ${code}`), [kind]);
  const again = useCallback(() => start(asked.current), [start]);
  return { of, isUnreadable, version, reading, error, start, again, stop };
}
