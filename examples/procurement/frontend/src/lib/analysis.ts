/** An analysis as it streams in. It is kept in this tab, so that a reload in the middle loses nothing that had arrived. */

"use client";

import { AyniError } from "ayni/browser";
import { useCallback, useEffect, useRef, useState } from "react";

import { type Client, useApi } from "./api.tsx";

export const ASKS = ["summary", "requirements", "risks", "deadlines", "go_no_go"] as const;
export type Ask = (typeof ASKS)[number] | "question";

export interface Citation {
  path: string;
  value: string;
}

export interface Claim {
  text: string;
  citations: readonly Citation[];
  opinion: boolean;
}

export interface RejectedClaim {
  text: string;
  citations: readonly Citation[];
  reason: { kind: string; field?: string; written?: string };
}

export interface Answer {
  ask: Ask;
  model: string;
  backend: string;
  claims: readonly Claim[];
  rejected: readonly RejectedClaim[];
  answered: boolean;
  verdict?: "go" | "no_go" | "unclear" | null;
  tokens?: number;
}

export interface Run {
  code: string;
  asks: readonly Ask[];
  question: string;
  model: string;
  status: "running" | "done" | "cut" | "failed";
  answers: readonly Answer[];
  failure?: { code: string; message: string };
}

export type Wanted = Pick<Run, "code" | "asks" | "question" | "model">;

interface Event {
  event: string;
  data: string;
}

const withAnswer = (run: Run, ask: Ask, change: (answer: Answer) => Answer): Run => ({
  ...run,
  answers: run.answers.map((answer) => (answer.ask === ask ? change(answer) : answer)),
});

/** The run after an event. */
export function after(run: Run, { event, data }: Event): Run {
  if (event === "record") return run;
  const found = JSON.parse(data);
  const ask: Ask = found.ask;
  switch (event) {
    case "asking": {
      const fresh: Answer = { ask, model: found.model, backend: found.backend, claims: [], rejected: [], answered: false };
      return { ...run, answers: [...run.answers.filter((one) => one.ask !== ask), fresh] };
    }
    case "claim":
      return withAnswer(run, ask, (answer) => ({ ...answer, claims: [...answer.claims, found] }));
    case "rejected":
      return withAnswer(run, ask, (answer) => ({ ...answer, rejected: [...answer.rejected, found] }));
    case "answered": {
      const tokens = (found.usage?.input_tokens ?? 0) + (found.usage?.output_tokens ?? 0);
      const model = found.route?.model ?? undefined;
      return withAnswer(run, ask, (answer) => ({ ...answer, answered: true, verdict: found.verdict, tokens, model: model ?? answer.model }));
    }
    case "error":
      return { ...run, status: "failed", failure: { code: found.error?.kind ?? "unexpected", message: found.detail ?? "" } };
    case "done":
      return { ...run, status: "done" };
    default:
      return run;
  }
}

const keyOf = (code: string) => `analysis ${code}`;

function kept(code: string): Run | undefined {
  try {
    const found = JSON.parse(sessionStorage.getItem(keyOf(code)) ?? "null") as Run | null;
    // Nobody is running it any more: the page was left in the middle.
    return found ? { ...found, status: found.status === "running" ? "cut" : found.status } : undefined;
  } catch {
    return undefined;
  }
}

async function stream(client: Client, run: Run, language: string, signal: AbortSignal, show: (run: Run) => void): Promise<void> {
  const answered = new Set(run.answers.filter((answer) => answer.answered).map(({ ask }) => ask));
  const asks = run.asks.filter((ask) => !answered.has(ask));
  const asked = run.question ? { question: run.question } : { asks };
  const body = { ...asked, language, ...(run.model ? { model: run.model } : {}) };
  let now = run;
  for await (const event of await client.stream(`/api/tenders/${encodeURIComponent(run.code)}/analyses`, body, { signal })) {
    now = after(now, event);
    show(now);
  }
  if (now.status === "running") show({ ...now, status: "cut" });
}

export function useAnalysis(code: string, language: string) {
  const { client } = useApi();
  const [run, setRun] = useState<Run>();
  const [error, setError] = useState<unknown>();
  const running = useRef<AbortController>(null);

  const show = useCallback((next: Run) => {
    setRun(next);
    sessionStorage.setItem(keyOf(next.code), JSON.stringify(next));
  }, []);
  useEffect(() => {
    setRun(code ? kept(code) : undefined);
    setError(undefined);
    return () => running.current?.abort();
  }, [code]);

  const start = useCallback(
    async (next: Run) => {
      if (!client) return;
      running.current?.abort();
      const mine = new AbortController();
      running.current = mine;
      setError(undefined);
      let latest: Run = { ...next, status: "running" };
      const tell = (changed: Run) => {
        latest = changed;
        if (!mine.signal.aborted) show(changed);
      };
      tell(latest);
      try {
        await stream(client, latest, language, mine.signal, tell);
      } catch (failure) {
        if (mine.signal.aborted) return;
        // What had arrived is kept. A stream that breaks is no failure of its own: it may be gone on with.
        tell({ ...latest, status: "cut" });
        if (failure instanceof AyniError) setError(failure);
      }
    },
    [client, language, show],
  );

  const ask = useCallback((wanted: Wanted) => start({ ...wanted, status: "running", answers: [] }), [start]);
  const goOn = useCallback(() => run && start({ ...run, answers: run.answers.filter((answer) => answer.answered) }), [run, start]);
  const stop = useCallback(() => {
    running.current?.abort();
    if (run) show({ ...run, status: "cut" });
  }, [run, show]);
  return { run, error, ask, goOn, stop };
}
