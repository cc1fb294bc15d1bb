/** An answer as it streams in. */

"use client";

import { AyniError, createClient, getApiBase } from "ayni/browser";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";

export type Client = ReturnType<typeof createClient>;

export interface Mode {
  mode: string;
  what: string;
  model: string | null;
  endpoint: string | null;
  problem: string | null;
}

export interface Done {
  llm_mode: string;
  model: string;
  latency_ms: number;
  finish: string;
  output_tokens: number | null;
  tokens_per_second: number | null;
}

export interface Answer {
  status: "asking" | "writing" | "done" | "cut" | "stopped" | "failed";
  mode: string;
  model: string;
  text: string;
  reasoning: string;
  done?: Done;
  failure?: { code: string; message: string };
}

/** Null until the page runs in the browser. */
export function useClient(url: string | undefined, key: string | undefined): Client | null {
  const [base, setBase] = useState<string>();
  useEffect(() => setBase(getApiBase({ space: ["carepath", "carepath-backend"], url, local: "http://localhost:8000" })), [url]);
  return useMemo(() => (base === undefined ? null : createClient({ base, apiKey: key })), [base, key]);
}

function after(answer: Answer, { event, data }: { event: string; data: string }): Answer {
  const found = JSON.parse(data);
  switch (event) {
    case "started":
      return { ...answer, mode: found.llm_mode, model: found.model, status: "writing" };
    case "text":
      return { ...answer, text: answer.text + found.text, status: "writing" };
    case "reasoning":
      return { ...answer, reasoning: answer.reasoning + found.text, status: "writing" };
    case "done":
      return { ...answer, status: "done", model: found.model, done: found };
    case "error":
      return { ...answer, status: "failed", failure: { code: found.error?.kind ?? "unexpected", message: found.detail ?? "" } };
    default:
      return answer;
  }
}

export function useAnswer(client: Client | null) {
  const [answer, setAnswer] = useState<Answer>();
  const running = useRef<AbortController>(null);
  useEffect(() => () => running.current?.abort(), []);

  const ask = useCallback(
    async (body: { patient_mrn: string; query: string; llm_mode: string }) => {
      if (!client) return;
      running.current?.abort();
      const mine = new AbortController();
      running.current = mine;
      let now: Answer = { status: "asking", mode: body.llm_mode, model: "", text: "", reasoning: "" };
      setAnswer(now);
      try {
        for await (const event of await client.stream("/triage/stream", body, { signal: mine.signal })) {
          now = after(now, event);
          setAnswer(now);
        }
        if (now.status === "asking" || now.status === "writing") setAnswer({ ...now, status: "cut" });
      } catch (error) {
        if (mine.signal.aborted) return;
        // Without a status it is the backend that does not answer, not the provider behind it.
        if (error instanceof AyniError) setAnswer({ ...now, status: "failed", failure: { code: error.status === undefined && error.code === "unavailable" ? "down" : error.code, message: error.message } });
        else setAnswer({ ...now, status: "cut" });
      }
    },
    [client],
  );
  const stop = useCallback(() => {
    running.current?.abort();
    setAnswer((before) => before && { ...before, status: "stopped" });
  }, []);
  return { answer, ask, stop };
}
