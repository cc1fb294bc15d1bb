/**
 * The part for browsers and edge runtimes, without native code: where the API is, a client of our routes, server-sent events.
 * Bundlers for those take it in place of `ayni` itself, so what needs Node.js is missing there when the page is built.
 */

import { AyniError, type AyniErrorFields, errorOf } from "./failure.js";
import { type ErrorKind, errorKinds } from "./generated/kinds.js";

export { AyniError, type ErrorKind, errorKinds };

/** Where to look for the API. */
export interface ApiBaseOptions {
  /** Which words of a Space's name stand for which in the API's: `["andesops-ai", "andesai-backend"]`. */
  space?: readonly [from: string, to: string] | undefined;
  /** The address where no Space is: a variable that the bundler inlines, such as `process.env.NEXT_PUBLIC_API_URL`. */
  url?: string | undefined;
  /** The address while developing on this machine; the page's own origin without it. */
  local?: string | undefined;
  /** Where the page is; `window.location` by default. */
  location?: { readonly hostname: string; readonly origin: string } | undefined;
  /** Takes the line that says which address was chosen; `console.log` by default. */
  log?: ((line: string) => void) | undefined;
}

/**
 * The address of the API, without a slash at its end: on `*.hf.space` that of the Space whose name has `space[1]` in place of
 * `space[0]`, else `url`, else `local` on this machine, else the page's own origin.
 */
export function getApiBase(options: ApiBaseOptions = {}): string {
  const { space, url, local, log = console.log } = options;
  const location = options.location ?? (globalThis as { location?: ApiBaseOptions["location"] }).location;
  const host = location?.hostname ?? "";
  let base = url?.trim() || (isLocal(host) && local) || location?.origin || local || "";
  const [label = "", ...rest] = host.split(".");
  if (space && host.endsWith(".hf.space") && label.includes(space[0])) {
    base = `https://${[label.replace(space[0], space[1]), ...rest].join(".")}`;
  }
  base = base.replace(/\/+$/, "");
  log(`[API] Using API base: ${base}`);
  return base;
}

function isLocal(host: string): boolean {
  return host === "localhost" || host === "127.0.0.1" || host === "[::1]";
}

/** How to call the API. */
export interface ClientOptions {
  /** The address of the API; `getApiBase()` by default. */
  base?: string | undefined;
  /** Sent as `X-API-Key`. A page shows it to everybody: for tools of your own only. */
  apiKey?: string | undefined;
  fetch?: typeof fetch | undefined;
}

/** What every call takes. */
export interface RequestOptions {
  signal?: AbortSignal | undefined;
  headers?: Record<string, string> | undefined;
  /** How often a GET is tried (1 by default) while its failure is one that waiting may mend; it waits as the service says. */
  attempts?: number | undefined;
}

/** A vector, as the CLIP routes answer it. */
export interface Embedding {
  embedding: number[];
  dimensions: number;
  model: string;
  truncated: boolean;
}

/** Images in base64, as the image routes answer them. */
export interface Images {
  images: string[];
  model: string | null;
  seed: number | null;
  steps: number | null;
  scheduler: string | null;
  /** Which backend served, where there are several. */
  served_by: string | null;
  /** What of the request the backend has no notion of. */
  ignored: string[];
  /** What a safety checker said of each image, where one ran. */
  safety?: { flagged: boolean; blanked: boolean }[] | null;
}

/** One answer of the triage chat. */
export interface TriageAnswer {
  answer: string;
  reasoning: string | null;
  llm_mode: string;
  model: string;
  latency_ms: number;
  finish: string;
}

/** A service that wants more time than this between two attempts gets the next one after it. */
const LONGEST_WAIT_MS = 30_000;

type Query = Record<string, string | number | undefined>;

/** A client of ayni's routes. Failures are `AyniError`s with the code that the service answered. */
export function createClient(options: ClientOptions = {}) {
  const base = (options.base ?? getApiBase()).replace(/\/+$/, "");
  const send = options.fetch ?? globalThis.fetch;

  async function request(path: string, init: RequestInit, more: RequestOptions = {}): Promise<Response> {
    const key = options.apiKey === undefined ? {} : { "x-api-key": options.apiKey };
    const headers = { accept: "application/json", ...key, ...(init.headers as object), ...more.headers };
    let response: Response;
    try {
      response = await send(base + path, { ...init, headers, signal: more.signal ?? null });
    } catch (cause) {
      if (more.signal?.aborted) throw cause;
      throw errorOf("unavailable", `${base} cannot be reached`, { cause, retryable: true, sent: "maybe" });
    }
    if (!response.ok) throw await failureOf(response);
    return response;
  }

  async function post<T>(path: string, body: unknown, more?: RequestOptions): Promise<T> {
    const init = { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } };
    return readJson<T>(await request(path, init, more));
  }

  async function get<T>(path: string, query: Query = {}, more?: RequestOptions): Promise<T> {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
    for (let left = more?.attempts ?? 1, wait = 500; ; left -= 1, wait *= 2) {
      try {
        return await readJson<T>(await request(search ? `${path}?${search}` : path, { method: "GET" }, more));
      } catch (error) {
        if (left <= 1 || !(error instanceof AyniError) || !error.retryable) throw error;
        await pause(Math.min(error.retryAfterMs ?? wait, LONGEST_WAIT_MS), more?.signal);
        more?.signal?.throwIfAborted();
      }
    }
  }

  return {
    base,
    request,
    get,
    post,
    /**
     * Waits until the service answers: a Space that slept takes up to a minute, a service that starts says when it is ready.
     * `onWait` hears after each attempt how long it has taken so far. It ends with the signal, or with a failure that waiting
     * does not mend.
     */
    awake: async (more: RequestOptions & { onWait?: (milliseconds: number) => void } = {}) => {
      const began = Date.now();
      let path = "/ready";
      for (let wait = 1000; ; wait = Math.min(wait * 1.5, 8000)) {
        try {
          await get(path, {}, more);
          return;
        } catch (error) {
          // What is no service of ayni's may have this one alone.
          if (path === "/ready" && error instanceof AyniError && error.status === 404) {
            path = "/health";
            continue;
          }
          if (more.signal?.aborted || !(error instanceof AyniError) || !error.retryable) throw error;
        }
        more.onWait?.(Date.now() - began);
        await pause(wait, more.signal);
        more.signal?.throwIfAborted();
      }
    },
    health: (more?: RequestOptions) => get<{ status: string } & Record<string, unknown>>("/health", {}, more),
    embedText: (text: string, more?: RequestOptions) => post<Embedding>("/embed/text", { text }, more),
    embedImage: (image: string, mimeType?: string, more?: RequestOptions) =>
      post<Embedding>("/embed/image", { image, mime_type: mimeType }, more),
    generate: (
      body: { prompt: string; aspectRatio?: string; temperature?: number; resolution?: "high" | "standard" },
      more?: RequestOptions,
    ) => post<Images>("/generate", body, more),
    refine: (
      body: { refinePrompt: string; images: string[]; config?: { steps?: number; guidanceScale?: number } },
      more?: RequestOptions,
    ) => post<Images>("/refine", body, more),
    triage: (body: { patient_mrn: string; query: string; llm_mode?: string }, more?: RequestOptions) =>
      post<TriageAnswer>("/triage", body, more),
    /** The rows of a list of procurement: `list("purchase-orders", { on: "2026-11-20" })`. */
    list: <R = Record<string, unknown>>(
      what: "purchase-orders" | "tenders" | "quick-purchases" | "buyers" | "suppliers",
      query?: Query,
      more?: RequestOptions,
    ) => get<{ rows: R[]; next_cursor: string | null; source: string; as_of: string }>(`/api/${what}`, query, more),
    /** The events of a route that streams, by POST. */
    stream: async (path: string, body: unknown, more?: RequestOptions) => {
      const headers = { "content-type": "application/json", accept: "text/event-stream" };
      const response = await request(path, { method: "POST", body: JSON.stringify(body), headers }, more);
      if (response.body === null) throw errorOf("response_invalid", "the answer has no body");
      return readServerSentEvents(response.body);
    },
  };
}

async function readJson<T>(response: Response): Promise<T> {
  try {
    return (await response.json()) as T;
  } catch (cause) {
    throw errorOf("response_invalid", "the answer is no JSON", { cause, status: response.status });
  }
}

const KINDS: Record<number, ErrorKind> = {
  401: "unauthenticated", 403: "permission_denied", 404: "not_found", 408: "timeout", 429: "rate_limited",
  501: "unsupported", 504: "timeout",
};

/** A failure as our services describe it; of other bodies nothing. */
function described(text: string): Record<string, unknown> {
  try {
    const body = JSON.parse(text) as { error?: Record<string, unknown>; problems?: Record<string, string> };
    // `/ready` says what is not.
    return body.error ?? (body.problems ? { message: Object.values(body.problems).join("; ") } : {});
  } catch {
    // A proxy or a Space that is starting answers in HTML.
    return {};
  }
}

function failureFrom(text: string, otherwise: ErrorKind, message: string, fields: AyniErrorFields): AyniError {
  const found = described(text);
  const textOf = (name: string): string | undefined => (typeof found[name] === "string" ? found[name] : undefined);
  const kind = errorKinds.find((known) => known === found["kind"]) ?? otherwise;
  return errorOf(kind, textOf("message") ?? message, {
    ...fields,
    retryable: typeof found["retryable"] === "boolean" ? found["retryable"] : fields.retryable,
    retryAfterMs: typeof found["retry_after"] === "number" ? found["retry_after"] * 1000 : fields.retryAfterMs,
    requestId: textOf("request_id") ?? fields.requestId,
    backend: textOf("backend"),
    sent: "yes",
  });
}

/** The error of a response that says failure. */
async function failureOf(response: Response): Promise<AyniError> {
  const { status, headers } = response;
  const seconds = Number(headers.get("retry-after") ?? Number.NaN);
  return failureFrom(
    await response.text().catch(() => ""),
    KINDS[status] ?? (status < 500 ? "invalid_request" : "unavailable"),
    `the service answered ${status}`,
    {
      status,
      retryable: status === 429 || status === 503,
      retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : undefined,
      requestId: headers.get("x-request-id") ?? undefined,
    },
  );
}

/** The error that an `error` event of one of our streams carries in its data. */
export function errorOfEvent(data: string): AyniError {
  return failureFrom(data, "unexpected", "the stream failed", {});
}

/** One server-sent event. */
export interface ServerSentEvent {
  event: string;
  data: string;
  id: string;
}

/** The server-sent events of a body. Leaving the loop stops the body. */
export async function* readServerSentEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerSentEvent & { retryMs?: number | undefined }, void, undefined> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let [event, id, first] = ["", "", true];
  // The pieces of a line whose end has not come; an image in one line is many.
  let pieces: string[] = [];
  let data: string[] = [];
  let retryMs: number | undefined;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      // An event without its end is dropped.
      if (done) return;
      const isWithinLine = !/[\r\n]/.test(value) && !pieces.at(-1)?.endsWith("\r");
      pieces.push(first ? value.replace(/^\uFEFF/, "") : value);
      first = false;
      if (isWithinLine) continue;
      // A last carriage return may be half a line end.
      const lines = pieces.join("").split(/\r\n|\n|\r(?!$)/);
      pieces = [lines.pop() ?? ""];
      for (const line of lines) {
        if (!line) {
          if (data.length) yield { event: event || "message", data: data.join("\n"), id, retryMs };
          [data, event] = [[], ""];
          continue;
        }
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "data") data.push(text);
        else if (field === "event") event = text;
        else if (field === "id") id = text;
        else if (field === "retry" && /^\d+$/.test(text)) retryMs = Number(text);
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/**
 * The events of an address by GET, over as many connections as it takes: after a break it waits (as the server said, 3 s by
 * default), and asks for what follows the last id. It ends with the signal, with an answer of 204, or with an error that
 * another attempt does not mend. `onBreak` hears of each break, with its error where there was one.
 */
export async function* subscribe(
  url: string,
  options: RequestOptions & { fetch?: typeof fetch; waitMs?: number; onBreak?: (error: unknown) => void } = {},
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const { signal, headers, fetch: send = globalThis.fetch, onBreak } = options;
  let [wait, last] = [options.waitMs ?? 3000, ""];
  while (!signal?.aborted) {
    let broke: unknown;
    try {
      const resume = last === "" ? {} : { "last-event-id": last };
      const response = await send(url, {
        headers: { accept: "text/event-stream", ...headers, ...resume },
        cache: "no-store",
        signal: signal ?? null,
      });
      if (response.status === 204) return;
      if (!response.ok) throw await failureOf(response);
      if (response.body === null) return;
      for await (const event of readServerSentEvents(response.body)) {
        last = event.id;
        wait = event.retryMs ?? wait;
        yield event;
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (error instanceof AyniError && !error.retryable) throw error;
      if (error instanceof AyniError && error.retryAfterMs !== undefined) wait = error.retryAfterMs;
      broke = error;
    }
    if (!signal?.aborted) onBreak?.(broke);
    await pause(wait, signal);
  }
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done, { once: true });
  });
}
