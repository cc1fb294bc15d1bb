/**
 * Image engines for pages: the modes Cloud, Local and Auto, progress with previews, what is wrong with an engine, and the
 * receipts in PNG files. Without native code, as `ayni/browser`.
 */

import { AyniError, type Images, type RequestOptions, createClient, readServerSentEvents } from "./browser.js";
import { errorOf } from "./failure.js";
import type { ErrorKind } from "./generated/kinds.js";

export { type ImageReceipt, base64Of, bytesOf, mediaTypeOf, readReceipt, sha256Of } from "./receipts.js";

type Client = ReturnType<typeof createClient>;

export type EngineName = "local" | "cloud";

/** Which engine serves: one of them, or the local one and, where it fails, the cloud engine. */
export type EngineMode = EngineName | "auto";

/** What to make. */
export interface Generation {
  prompt: string;
  aspectRatio?: string;
  temperature?: number;
  resolution?: "high" | "standard";
}

/** What to change. `strength`, from 0 to 1, is known to ayni's engines alone. */
export interface Refinement {
  refinePrompt: string;
  images: string[];
  config?: { steps?: number; guidanceScale?: number; strength?: number };
}

/** What an engine tells while it works, and what is told about the engines. */
export type EngineProgress =
  | { type: "image_step"; done: number; of: number; preview?: string }
  | { type: "waiting"; elapsed: number; reason?: string }
  | { type: "falling_back"; from: EngineName; to: EngineName; error: AyniError }
  | { type: "retrying" | "download" | "reading" | "inputs"; done?: number; of?: number; file?: string };

export interface EngineCall extends RequestOptions {
  onProgress?: ((progress: EngineProgress) => void) | undefined;
}

/** Which engine served, and why the one before it did not. */
export interface Served {
  engine: EngineName;
  passedOver?: AyniError;
}

/** An image that was drawn again, and how far it is from the first: the largest and the mean difference of 255. */
export interface Replayed {
  image: string;
  receipt: Record<string, unknown>;
  max_difference: number;
  mean_difference: number;
}

/**
 * How an engine is: `origin_refused` answers but lets this page not in (`ALLOW_ORIGINS`), `mixed_content` has an `http:`
 * address that a page on `https:` may not call, `asleep` is a Space that wakes up, `loading` reads its model.
 */
export type EngineState =
  | "ready" | "loading" | "asleep" | "slow" | "origin_refused" | "mixed_content" | "unreachable" | "failing" | "not_configured";

export interface EngineStatus {
  state: EngineState;
  base?: string;
  diagnostics?: Record<string, unknown>;
  error?: AyniError;
  /** How long the answer took. */
  milliseconds?: number;
}

/** The kinds of errors where another engine may help, as in `docs/reference/error-kinds.md`. */
const FALLS_BACK: ReadonlySet<ErrorKind> = new Set<ErrorKind>([
  "credits_exhausted", "not_found", "unsupported", "rate_limited", "quota_exceeded", "timeout", "unavailable", "cold_start",
  "interrupted", "response_invalid", "model_load", "device_unavailable", "out_of_memory", "offline",
]);

export interface EngineOptions {
  local?: Client | undefined;
  cloud?: Client | undefined;
  /** How long to wait for an engine that is waking up or loading; 120 s by default. */
  wakeMs?: number | undefined;
  /** How long an engine may take to say how it is; 8 s by default. */
  statusMs?: number | undefined;
  fetch?: typeof fetch | undefined;
}

/** One or two engines behind a mode. */
export function imageEngines(options: EngineOptions) {
  const { wakeMs = 120_000, statusMs = 8000 } = options;
  const send = options.fetch ?? globalThis.fetch;

  function clientOf(name: EngineName): Client {
    const client = options[name];
    if (client === undefined) throw errorOf("config_invalid", `no ${name} engine is configured`);
    return client;
  }

  async function ask<T>(mode: EngineMode, path: string, body: unknown, call: EngineCall): Promise<T & Served> {
    const order = mode === "auto" ? (["local", "cloud"] as const).filter((name) => options[name]) : [mode];
    if (order.length === 0) throw errorOf("config_invalid", "no engine is configured");
    let passedOver: AyniError | undefined;
    for (const [index, engine] of order.entries()) {
      const next = order[index + 1];
      try {
        const answer = await awaken<T>(clientOf(engine), path, body, call, next ? 0 : wakeMs);
        return { ...answer, engine, ...(passedOver && { passedOver }) };
      } catch (error) {
        if (!next || call.signal?.aborted || !(error instanceof AyniError) || !FALLS_BACK.has(error.code)) throw error;
        passedOver = error;
        call.onProgress?.({ type: "falling_back", from: engine, to: next, error });
      }
    }
    throw passedOver;
  }

  /** Asks, and asks again once an engine that answered 503, so certainly did not serve, is awake. */
  async function awaken<T>(client: Client, path: string, body: unknown, call: EngineCall, patienceMs: number): Promise<T> {
    const began = Date.now();
    for (;;) {
      try {
        return await answerOf<T>(client, path, body, call);
      } catch (error) {
        const isAsleep = error instanceof AyniError && error.status === 503 && error.retryable;
        const left = patienceMs - (Date.now() - began);
        if (!isAsleep || left <= 0) throw error;
        const onWait = (elapsed: number) => call.onProgress?.({ type: "waiting", elapsed: elapsed / 1000, reason: error.message });
        onWait(Date.now() - began);
        const signal = joined(call.signal, left);
        await client.awake({ signal, onWait }).catch((late: unknown) => {
          throw call.signal?.aborted ? late : error;
        });
      }
    }
  }

  return {
    generate: (mode: EngineMode, body: Generation, call: EngineCall = {}) => ask<Images>(mode, "/generate", body, call),
    refine: (mode: EngineMode, body: Refinement, call: EngineCall = {}) => ask<Images>(mode, "/refine", body, call),
    /** Draws the image of a receipt again: an engine with the same model has to serve. `sources` are what it was made from. */
    replay: (mode: EngineMode, body: { image: string; sources?: string[] }, call: EngineCall = {}) =>
      ask<Replayed>(mode, "/replay", body, call),

    /** How an engine is. It never fails: what is wrong is part of the answer. */
    status: async (name: EngineName, signal?: AbortSignal): Promise<EngineStatus> => {
      const client = options[name];
      if (client === undefined) return { state: "not_configured" };
      const { base } = client;
      if (isMixed(base)) return { state: "mixed_content", base };
      const [began, within] = [performance.now(), { signal: joined(signal, statusMs) }];
      try {
        const diagnostics = await client.health(within);
        const milliseconds = Math.round(performance.now() - began);
        // Of ayni's engines only those that are still loading don't name their model.
        const unready = "model" in diagnostics ? undefined : await client.get("/ready", {}, within).catch((error: unknown) => error);
        const isLoading = unready instanceof AyniError && unready.status === 503;
        return { state: isLoading ? "loading" : "ready", base, diagnostics, milliseconds, ...(isLoading && { error: unready }) };
      } catch (error) {
        if (signal?.aborted) throw error;
        if (!(error instanceof AyniError)) return { state: "slow", base };
        if (error.status !== undefined) return { state: error.status === 503 ? "asleep" : "failing", base, error };
        return { state: (await answersSomebody(base, send, within.signal)) ? "origin_refused" : "unreachable", base, error };
      }
    },
  };
}

export type ImageEngines = ReturnType<typeof imageEngines>;

function joined(signal: AbortSignal | undefined, milliseconds: number): AbortSignal {
  const timer = AbortSignal.timeout(milliseconds);
  return signal ? AbortSignal.any([signal, timer]) : timer;
}

/** Whether the page may not call an address because it is on `https:` and the address is not. */
function isMixed(base: string): boolean {
  const { location } = globalThis as { location?: { protocol: string } };
  return location?.protocol === "https:" && /^http:\/\/(?!localhost\b|127\.|\[::1\])/.test(base);
}

/** Whether there is somebody at an address, whom it lets in or not: such a request may be sent, its answer not be read. */
async function answersSomebody(base: string, send: typeof fetch, signal: AbortSignal): Promise<boolean> {
  return send(`${base}/health`, { mode: "no-cors", cache: "no-store", signal }).then(() => true, () => false);
}

/** The answer of one engine: as events, of which the last is the answer, or, where the engine knows none, as JSON. */
async function answerOf<T>(client: Client, path: string, body: unknown, call: EngineCall): Promise<T> {
  const headers = { "content-type": "application/json", accept: "text/event-stream, application/json" };
  const response = await client.request(path, { method: "POST", body: JSON.stringify(body), headers }, call);
  if (!response.headers.get("content-type")?.startsWith("text/event-stream") || response.body === null) {
    return (await response.json().catch((cause: unknown) => broken(cause, call))) as T;
  }
  try {
    for await (const { event, data } of readServerSentEvents(response.body)) {
      if (event === "progress") call.onProgress?.(JSON.parse(data) as EngineProgress);
      else if (event === "done") return JSON.parse(data) as T;
      else if (event === "error") throw failure(data);
    }
  } catch (cause) {
    broken(cause, call);
  }
  throw errorOf("interrupted", "the engine's answer broke off before its end", { retryable: true, sent: "yes" });
}

function broken(cause: unknown, call: EngineCall): never {
  if (call.signal?.aborted || cause instanceof AyniError) throw cause;
  throw errorOf("interrupted", "the engine's answer broke off before its end", { cause, retryable: true, sent: "yes" });
}

function failure(data: string): AyniError {
  type Told = { kind: ErrorKind; message: string; retryable?: boolean; retry_after?: number | null; request_id?: string };
  const { error } = JSON.parse(data) as { error: Told };
  return errorOf(error.kind, error.message, {
    retryable: error.retryable,
    retryAfterMs: typeof error.retry_after === "number" ? error.retry_after * 1000 : undefined,
    requestId: error.request_id,
    sent: "yes",
  });
}
