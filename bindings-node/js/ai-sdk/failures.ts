/** Errors that the AI SDK knows what to do with, without depending on it. */

import { AyniError } from "../failure.js";

const MARKERS = ["vercel.ai.error", "vercel.ai.error.AI_APICallError"];

/**
 * Marks an error as the SDK's `APICallError`, so that it retries what may be retried and waits as long as the backend asks.
 * Errors of a handle that has used up its own retries are not retryable any more.
 */
export function marked(error: unknown, options: { costly?: boolean } = {}): unknown {
  if (!(error instanceof AyniError)) return error;
  const { retryAfterMs, backend, status } = error;
  // What may have been served and cost something isn't asked for twice.
  const safe = !options.costly || error.sent === "no" || status === 429;
  const fields: Record<string | symbol, unknown> = {
    isRetryable: error.retryable && safe,
    statusCode: status,
    url: backend ?? "ayni",
    requestBodyValues: {},
    responseHeaders: retryAfterMs === undefined ? {} : { "retry-after-ms": String(retryAfterMs) },
  };
  for (const name of MARKERS) fields[Symbol.for(name)] = true;
  for (const name of Reflect.ownKeys(fields)) {
    Object.defineProperty(error, name, { value: fields[name], configurable: true, writable: true, enumerable: false });
  }
  return error;
}

/** Awaits work, and marks what it throws; an aborted call throws the signal's reason, as the SDK expects it. */
export async function guarded<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  options?: { costly?: boolean },
): Promise<T> {
  signal?.throwIfAborted();
  try {
    return await work();
  } catch (error) {
    throw signal?.aborted ? signal.reason : marked(error, options);
  }
}
