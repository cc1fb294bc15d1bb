/** Two functions for a route handler: the embedder that the environment names, a hosted CLIP service or a local model. */

import type { CallOptions } from "./calls.js";
import { Embedder } from "./embedder.js";
import type { EmbedderConfig } from "./generated/configs.js";
import { InvalidRequest } from "./generated/errors.js";
import { health } from "./services.js";

let shared: Promise<Embedder> | undefined;

/** The embedder of the environment, opened once. */
function embedder(): Promise<Embedder> {
  if (shared === undefined) {
    shared = Embedder.fromEnv();
    // A variable that is missing now may be there at the next call.
    shared.catch(() => (shared = undefined));
  }
  return shared;
}

/**
 * The vector of a text, by `EMBEDDING_PROVIDER=huggingface` and `CLIP_SERVICE_URL`, or by `EMBEDDING_PROVIDER=local` in this
 * process. A service that is waking up is waited for; `onProgress` says so.
 */
export async function embedText(text: string, options?: CallOptions): Promise<number[]> {
  if (typeof text !== "string") throw new InvalidRequest("the text is no string");
  return Array.from((await (await embedder()).embed([text], options)).vector);
}

/** The vector of an image in base64, with or without the prefix of a `data:` URL. The media type is read off the bytes. */
export async function embedImage(base64: string, _mediaType?: string, options?: CallOptions): Promise<number[]> {
  if (typeof base64 !== "string") throw new InvalidRequest("the image is no base64");
  const bytes = Buffer.from(base64.replace(/^\s*data:[^,]{0,200},/i, ""), "base64");
  return Array.from((await (await embedder()).embed([bytes], options)).vector);
}

/** The hosted service of the environment. Its token goes to Spaces and this machine only, as with `Embedder.fromEnv`. */
function hosted(url: string | undefined): EmbedderConfig {
  if (!url || !URL.canParse(url)) throw new InvalidRequest(url ? `CLIP_SERVICE_URL is '${url}', which is no URL` : "CLIP_SERVICE_URL is not set");
  const { hostname, protocol } = new URL(url);
  const isSpace = hostname.endsWith(".hf.space") && protocol === "https:";
  const isTrusted = isSpace || hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
  const token = isTrusted ? process.env.HF_API_TOKEN : undefined;
  return { backend: "clip_service", url, hf_token: token || undefined };
}

/**
 * What the service of `CLIP_SERVICE_URL` says of itself: `model_name`, `device`, … A service that sleeps is woken but not
 * waited for: the call fails with `cold_start`.
 */
export async function clipHealth({ url = process.env.CLIP_SERVICE_URL, ...call }: CallOptions & { url?: string | undefined } = {}): Promise<Record<string, unknown>> {
  return health(hosted(url), call);
}

/** Asks the service of `CLIP_SERVICE_URL` for its health every ten minutes, so that a Space does not fall asleep. */
export function keepAlive({ everyMs = 600_000, url = process.env.CLIP_SERVICE_URL }: { everyMs?: number; url?: string | undefined } = {}): () => void {
  hosted(url);
  const ping = (): void => {
    // Whether it answers shows at the next call; this one only wakes it.
    clipHealth({ url, timeoutMs: 90_000 }).catch(() => undefined);
  };
  const timer = setInterval(ping, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}
