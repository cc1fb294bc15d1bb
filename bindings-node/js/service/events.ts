/** Server-sent events. */

import { responseOf } from "./failures.js";
import type { Exchange } from "./router.js";

/** One event of a route: its data goes as JSON. */
export interface StreamedEvent {
  event: string;
  data: unknown;
}

/**
 * A response that streams what `source` yields. The signal is aborted when the caller leaves. What `source` throws becomes an
 * `error` event with the JSON that the same failure has as a response of its own; `errorOfEvent` of `ayni/browser` reads it.
 */
export function eventStream(exchange: Exchange, source: (signal: AbortSignal) => AsyncIterable<StreamedEvent>): Response {
  const stop = new AbortController();
  const leave = (): void => stop.abort();
  exchange.signal.addEventListener("abort", leave, { once: true });
  if (exchange.signal.aborted) leave();
  const encoder = new TextEncoder();
  const encoded = (event: string, json: string): Uint8Array => encoder.encode(`event: ${event}\ndata: ${json}\n\n`);
  const events = source(stop.signal)[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await events.next();
          if (!done) return controller.enqueue(encoded(value.event, JSON.stringify(value.data)));
        } catch (error) {
          const { response, kind } = responseOf(error, exchange.requestId);
          exchange.told["failed"] = kind;
          if (!stop.signal.aborted) controller.enqueue(encoded("error", await response.text()));
        }
        exchange.signal.removeEventListener("abort", leave);
        controller.close();
      },
      async cancel() {
        leave();
        await events.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  return keptAlive(body, exchange.keepAliveMs);
}

/** Events as a response, with comments in between while nothing comes. */
export function keptAlive(
  body: ReadableStream<Uint8Array>,
  silenceMs: number,
  headers: Record<string, string> = {},
): Response {
  const reader = body.getReader();
  const comment = new TextEncoder().encode(": keep-alive\n\n");
  let pending: ReturnType<typeof reader.read> | undefined;
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        pending ??= reader.read();
        let stop = (): void => undefined;
        const silence = new Promise<undefined>((resolve) => {
          const timer = setTimeout(() => resolve(undefined), silenceMs);
          stop = () => clearTimeout(timer);
        });
        const found = await Promise.race([pending, silence]).finally(stop);
        if (found === undefined) return controller.enqueue(comment);
        pending = undefined;
        if (found.done) return controller.close();
        controller.enqueue(found.value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
  const usual = { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform", "x-accel-buffering": "no" };
  return new Response(stream, { headers: { ...usual, ...headers } });
}
