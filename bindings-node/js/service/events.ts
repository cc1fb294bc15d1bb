/** Server-sent events. */

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
