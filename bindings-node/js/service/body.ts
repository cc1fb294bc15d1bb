/** Reads the bodies of requests within their limits, and counts answers until their last byte. */

import { Refused } from "./failures.js";

/** The body of a request, refused once it is too long or too slow. */
export async function bodyOf(request: Request, maxBytes: number, timeMs: number): Promise<Uint8Array> {
  const tooLarge = () =>
    new Refused(413, "invalid_request", `the body is larger than ${maxBytes} bytes`, {
      why: "body_size",
      headers: { connection: "close" },
    });
  const declared = request.headers.get("content-length");
  if (declared !== null && /^\d+$/.test(declared) && Number(declared) > maxBytes) throw tooLarge();
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    reader.cancel().catch(() => undefined);
  }, timeMs);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (late) {
        const message = `the body did not arrive within ${timeMs / 1000} seconds`;
        throw new Refused(408, "timeout", message, { why: "slow_body", headers: { connection: "close" } });
      }
      if (done) break;
      chunks.push(value);
      size += value.byteLength;
      if (size > maxBytes) {
        reader.cancel().catch(() => undefined);
        throw tooLarge();
      }
    }
  } finally {
    clearTimeout(timer);
  }
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
}

/** The same response; `ended` is called once after its last byte, or when the caller has left. */
export function counted(response: Response, ended: (left: boolean) => void): Response {
  if (response.body === null) {
    ended(false);
    return response;
  }
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) return controller.enqueue(value);
          ended(false);
          controller.close();
        } catch (error) {
          ended(true);
          controller.error(error);
        }
      },
      async cancel(reason) {
        ended(true);
        await reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  const { status, statusText, headers } = response;
  return new Response(body, { status, statusText, headers });
}
