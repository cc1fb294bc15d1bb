/** A service over Node's own HTTP server. */

import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";

import type { Service } from "../service/service.js";

/** How long the connection of a caller who sends too much is kept, so that the answer reaches it. */
const LINGER_MS = 5000;

/** The body as a web stream. What nobody wants to read any more is read and dropped. */
function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        incoming.on("data", (chunk: Buffer) => {
          controller.enqueue(chunk);
          incoming.pause();
        });
        incoming.on("end", () => controller.close());
        incoming.on("error", (error) => controller.error(error));
        incoming.pause();
      },
      pull: () => void incoming.resume(),
      cancel: () => drop(incoming),
    },
    { highWaterMark: 0 },
  );
}

function drop(incoming: IncomingMessage): void {
  for (const event of ["data", "end"]) incoming.removeAllListeners(event);
  incoming.resume();
}

/** Waits until the caller has sent everything. Who is still sending would not see the answer if the connection broke. */
async function sent(incoming: IncomingMessage): Promise<void> {
  if (incoming.complete || incoming.destroyed) return;
  drop(incoming);
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, LINGER_MS);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    incoming.once("end", done);
    incoming.once("close", done);
  });
}

function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers();
  for (let index = 0; index < incoming.rawHeaders.length; index += 2) {
    headers.append(incoming.rawHeaders[index] ?? "", incoming.rawHeaders[index + 1] ?? "");
  }
  const { method = "GET" } = incoming;
  // The host is the caller's word; only the path counts.
  const url = new URL(incoming.url ?? "/", "http://localhost");
  const body = method === "GET" || method === "HEAD" ? null : bodyOf(incoming);
  return new Request(url, { method, headers, body, signal, duplex: "half" } as RequestInit);
}

async function write(response: Response, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body === null) {
    outgoing.end();
    return;
  }
  const reader = response.body.getReader();
  outgoing.on("close", () => void reader.cancel().catch(() => undefined));
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (!outgoing.write(value)) {
      await new Promise<void>((resolve) => {
        outgoing.once("drain", resolve);
        outgoing.once("close", resolve);
      });
    }
    if (outgoing.destroyed) return;
  }
  await sent(incoming);
  outgoing.end();
}

async function answer(service: Service, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const leaving = new AbortController();
  outgoing.on("close", () => {
    if (!outgoing.writableFinished) leaving.abort();
  });
  let request: Request;
  try {
    request = requestOf(incoming, leaving.signal);
  } catch {
    outgoing.writeHead(400).end();
    return;
  }
  const response = await service.handle(request);
  if (outgoing.destroyed) return;
  await write(response, incoming, outgoing);
}

/** Serves until the server is closed. */
export function serve(service: Service, host: string, port: number): Promise<Server> {
  const server = createServer((incoming, outgoing) => {
    answer(service, incoming, outgoing).catch(() => outgoing.destroy());
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve(server));
  });
}
