/** A service over Node's own HTTP server. */

import { randomUUID } from "node:crypto";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";

import type { Socket } from "node:net";

import { ConfigInvalid } from "../generated/errors.js";
import { failureResponse } from "../service/failures.js";
import type { Service } from "../service/service.js";
import { type Settled, settle } from "../service/settings.js";

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

/** Waits until the caller has taken what was written; who takes nothing for too long is disconnected. */
function drained(outgoing: ServerResponse, timeMs: number): Promise<void> {
  return new Promise((resolve) => {
    let left = outgoing.writableLength;
    const timer = setInterval(() => {
      if (outgoing.writableLength >= left) outgoing.destroy();
      left = outgoing.writableLength;
    }, timeMs);
    const done = (): void => {
      clearInterval(timer);
      resolve();
    };
    for (const event of ["drain", "finish", "close"]) outgoing.once(event, done);
  });
}

/** Whether a page of this name may call a service that needs no key: the address alone keeps others out. */
function isHostAllowed(incoming: IncomingMessage, { apiKey, hosts }: Settled): boolean {
  if (apiKey !== undefined || !isLoopback(incoming.socket.localAddress ?? "")) return true;
  const url = `http://${incoming.headers.host ?? ""}/`;
  const name = URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, "") : "";
  return isLoopback(name) || name === "localhost" || hosts.has(name);
}

function isLoopback(address: string): boolean {
  return /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(address) || address === "::1";
}

/** Keeps the number of connections: one too many closes the oldest that has no request. */
function limitConnections(server: Server, most: number): void {
  const idle = new Set<Socket>();
  let count = 0;
  server.on("connection", (socket: Socket) => {
    count++;
    idle.add(socket);
    socket.once("close", () => {
      count--;
      idle.delete(socket);
    });
    if (count > most) (idle.values().next().value ?? socket).destroy();
  });
  server.on("request", ({ socket }: IncomingMessage, outgoing: ServerResponse) => {
    idle.delete(socket);
    outgoing.once("close", () => {
      if (!socket.destroyed) idle.add(socket);
    });
  });
}

async function write(
  response: Response,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  writeMs: number,
): Promise<void> {
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
    if (!outgoing.write(value)) await drained(outgoing, writeMs);
    if (outgoing.destroyed) return;
  }
  await sent(incoming);
  outgoing.end();
  if (outgoing.writableLength > 0) await drained(outgoing, writeMs);
}

async function answer(
  service: Service,
  settings: Settled,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
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
  const message = "this host name is not served; set ALLOW_HOSTS, or API_KEY";
  const response = isHostAllowed(incoming, settings)
    ? await service.handle(request)
    : failureResponse({ status: 421, kind: "invalid_request", message }, randomUUID().replaceAll("-", ""));
  if (outgoing.destroyed) return;
  await write(response, incoming, outgoing, settings.writeMs);
}

/** Serves until the server is closed. */
export function serve(service: Service, host: string, port: number, settings: Settled = settle({})): Promise<Server> {
  const { headerMs, maxConnections } = settings;
  const limits = { headersTimeout: headerMs, connectionsCheckingInterval: Math.min(1000, headerMs) };
  const server = createServer(limits, (incoming, outgoing) => {
    answer(service, settings, incoming, outgoing).catch(() => outgoing.destroy());
  });
  limitConnections(server, maxConnections);
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(new ConfigInvalid(`${host}:${port} cannot be listened on: ${error.message}`)));
    server.listen(port, host, () => resolve(server));
  });
}
