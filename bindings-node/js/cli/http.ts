/** A service over Node's own HTTP server. */

import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { Readable } from "node:stream";

import type { Service } from "../service/service.js";

/** How long the connection of a caller who sends too much is kept, so that the answer reaches it. */
const LINGER_MS = 5000;

function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers();
  for (let index = 0; index < incoming.rawHeaders.length; index += 2) {
    headers.append(incoming.rawHeaders[index] ?? "", incoming.rawHeaders[index + 1] ?? "");
  }
  const { method = "GET" } = incoming;
  // The host is the caller's word; only the path counts.
  const url = new URL(incoming.url ?? "/", "http://localhost");
  const body = method === "GET" || method === "HEAD" ? null : (Readable.toWeb(incoming) as ReadableStream<Uint8Array>);
  return new Request(url, { method, headers, body, signal, duplex: "half" } as RequestInit);
}

async function write(response: Response, outgoing: ServerResponse): Promise<void> {
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
  await write(response, outgoing);
  if (incoming.complete) return;
  // Who is still sending would not see the answer if the connection broke now.
  const timer = setTimeout(() => incoming.destroy(), LINGER_MS);
  incoming.on("close", () => clearTimeout(timer));
  incoming.resume();
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
