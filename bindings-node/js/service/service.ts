/** A service: routers with everything around them. */

import { createHash, randomUUID, timingSafeEqual } from "node:crypto";

import { native } from "../native.js";
import { bodyOf, counted } from "./body.js";
import { Refused, responseOf } from "./failures.js";
import { Loading } from "./loading.js";
import { Metrics } from "./metrics.js";
import { frontPage } from "./pages.js";
import { type Exchange, type Route, type Router, matched } from "./router.js";
import { type ServiceSettings, type Settled, settingsFromEnv, settle } from "./settings.js";

/** Paths that need no API key. They and the metrics are answered even when the service is busy. */
const OPEN = new Set(["/health", "/ready"]);
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;
/** The client closed the connection before the answer; nginx's code. */
const CLIENT_CLOSED_REQUEST = 499;

/** Something that answers web requests: a Next.js route exports its methods. */
export interface Service {
  handle(request: Request): Promise<Response>;
  readonly GET: (request: Request) => Promise<Response>;
  readonly POST: (request: Request) => Promise<Response>;
  readonly OPTIONS: (request: Request) => Promise<Response>;
  readonly HEAD: (request: Request) => Promise<Response>;
  /** Loads and warms up what the routes need. The first request does it otherwise. */
  load(): Promise<void>;
  /** The same, while requests are answered with 503 instead of waiting; `/health` and `/ready` answer, and say how far it is. */
  start(): Promise<void>;
  /** Waits for running requests, and releases what was opened. */
  close(): Promise<void>;
}

/** The routers as one service. Without settings it reads them from the environment. */
export function service(routers: Router | readonly Router[], settings: ServiceSettings = settingsFromEnv()): Service {
  return new Running(Array.isArray(routers) ? routers : [routers as Router], settle(settings)).asService();
}

class Running {
  readonly #routers: readonly Router[];
  readonly #settings: Settled;
  readonly #metrics = new Metrics();
  readonly #routes: readonly Route[];
  readonly #loading: Loading;
  #draining = false;

  constructor(routers: readonly Router[], settings: Settled) {
    this.#routers = routers;
    this.#settings = settings;
    this.#loading = new Loading(routers.map(({ part }) => part), settings);
    this.#routes = [...this.#own(), ...routers.flatMap((router) => router.routes)];
  }

  asService(): Service {
    const handle = (request: Request): Promise<Response> => this.#handle(request);
    const [load, start] = [() => this.#loading.load(), () => this.#loading.start()];
    return { handle, GET: handle, POST: handle, OPTIONS: handle, HEAD: handle, load, start, close: () => this.#close() };
  }

  #own(): Route[] {
    const health = async (): Promise<Response> => {
      // What is being opened would have to be waited for.
      if (this.#loading.problems()) return Response.json({ status: "healthy" });
      const found = await Promise.all(this.#routers.map(({ part }) => inTime(part.health(), `${part.name}_problem`)));
      return Response.json(Object.assign({ status: "healthy" }, ...found));
    };
    const ready = async (): Promise<Response> => {
      const waiting = this.#loading.problems();
      const problems: Record<string, string> = { ...waiting };
      for (const { part } of waiting ? [] : this.#routers) {
        const problem = part.problem();
        if (problem !== undefined) problems[part.name] = problem;
      }
      if (this.#draining) problems["service"] = "it is stopping";
      const isReady = Object.keys(problems).length === 0;
      const found = { ready: isReady, problems, ...(waiting ? { loading: true } : {}) };
      return Response.json(found, { status: isReady ? 200 : 503 });
    };
    const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
    const metrics = async (): Promise<Response> => new Response(this.#metrics.text() + native().prometheusText(), { headers });
    return [
      { method: "GET", path: "/health", handle: health },
      { method: "GET", path: "/ready", handle: ready },
      { method: "GET", path: "/metrics", handle: metrics },
    ];
  }

  async #close(): Promise<void> {
    this.#draining = true;
    this.#loading.stop();
    const end = Date.now() + this.#settings.drainMs;
    while (this.#metrics.inFlight > 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
    for (const { part } of this.#routers) await part.close();
  }

  async #handle(request: Request): Promise<Response> {
    const began = performance.now();
    const given = request.headers.get("x-request-id") ?? "";
    const requestId = REQUEST_ID.test(given) ? given : randomUUID().replaceAll("-", "");
    const url = new URL(request.url);
    const path = this.#pathOf(url);
    const preflight = this.#preflight(request);
    if (preflight) return preflight;
    if (this.#wantsPage(request, path)) {
      const page = frontPage(this.#routers.map(({ part }) => part), this.#settings.apiKey !== undefined);
      return this.#dressed(request, requestId, request.method === "HEAD" ? new Response(null, page) : page);
    }
    const told: Record<string, unknown> = {};
    let [template, kind]: [string, string | undefined] = ["unmatched", undefined];
    let isCounted = false;
    let isOver = false;
    const finish = (status: number): void => {
      if (isOver) return;
      isOver = true;
      if (isCounted) this.#metrics.inFlight--;
      const seconds = (performance.now() - began) / 1000;
      const shown = kind ?? (status === CLIENT_CLOSED_REQUEST ? "cancelled" : undefined);
      this.#metrics.observe(template, request.method, status, seconds, shown);
      if (OPEN.has(path) && status < 400) return;
      const milliseconds = Math.round(seconds * 10_000) / 10;
      const about = { method: request.method, route: template, status, milliseconds, request_id: requestId };
      this.#settings.log({ level: "INFO", message: "request", ...about, ...told, ...(shown ? { kind: shown } : {}) });
    };
    let response: Response;
    try {
      const { maxBodyBytes, maxTextBytes, bodyMs } = this.#settings;
      if (!OPEN.has(path)) this.#checkKey(request);
      const { route, params } = this.#routeOf(request.method, path);
      template = this.#settings.basePath + route.path;
      const most = route.takesImages ? maxBodyBytes : Math.min(maxTextBytes, maxBodyBytes);
      const isOwn = OPEN.has(path) || path === "/metrics";
      if (!isOwn) this.#loading.check();
      // Of paths that need no key whatever comes along is not read.
      const body = OPEN.has(path) ? new Uint8Array() : await bodyOf(request, most, bodyMs);
      if (!isOwn) {
        if (this.#metrics.inFlight >= this.#settings.maxConcurrency) throw busy();
        this.#metrics.inFlight++;
        isCounted = true;
        await this.#loading.load();
      }
      const { keepAliveMs } = this.#settings;
      response = await this.#worked(route, { request, body, params, query: url.searchParams, requestId, told, keepAliveMs });
    } catch (error) {
      if (request.signal.aborted) {
        finish(CLIENT_CLOSED_REQUEST);
        return this.#dressed(request, requestId, new Response(null, { status: CLIENT_CLOSED_REQUEST }));
      }
      const failed = responseOf(error, requestId);
      ({ response, kind } = failed);
      if (error instanceof Refused && error.more.why) this.#metrics.refuse(error.more.why);
      if (!failed.expected) {
        // Without the text of the error, which may hold the request.
        const where = error instanceof Error ? error.stack?.split("\n").slice(1, 7).join("\n") : undefined;
        const about = { request_id: requestId, error: error instanceof Error ? error.name : typeof error, where };
        this.#settings.log({ level: "ERROR", message: "a request failed unexpectedly", ...about });
      }
    }
    const { status } = response;
    const shown = request.method === "HEAD" ? new Response(null, response) : response;
    return this.#dressed(request, requestId, counted(shown, (left) => finish(left ? CLIENT_CLOSED_REQUEST : status)));
  }

  /** Whether a browser asks for the front page; where the routes are mounted below others, the root is somebody else's. */
  #wantsPage(request: Request, path: string): boolean {
    const isRead = request.method === "GET" || request.method === "HEAD";
    const isRoot = path === "/" && this.#settings.basePath === "";
    return isRead && isRoot && (request.headers.get("accept") ?? "").includes("text/html");
  }

  #pathOf(url: URL): string {
    const { basePath } = this.#settings;
    const isBelow = url.pathname === basePath || url.pathname.startsWith(`${basePath}/`);
    const path = (isBelow ? url.pathname.slice(basePath.length) : url.pathname) || "/";
    return path.length > 1 ? path.replace(/\/+$/, "") || "/" : path;
  }

  #routeOf(method: string, path: string): { route: Route; params: Record<string, string> } {
    const wanted = method === "HEAD" ? "GET" : method;
    const allowed: string[] = [];
    for (const route of this.#routes) {
      const params = matched(route.path, path);
      if (params === undefined) continue;
      if (route.method === wanted) return { route, params };
      allowed.push(route.method);
    }
    if (allowed.length === 0) throw new Refused(404, "not_found", "Not Found");
    throw new Refused(405, "invalid_request", "Method Not Allowed", { headers: { allow: allowed.join(", ") } });
  }

  /** The route's answer; its work is stopped when the caller leaves or the time is over. */
  async #worked(route: Route, exchange: Omit<Exchange, "signal">): Promise<Response> {
    const { requestMs } = this.#settings;
    const own = new AbortController();
    const stop = (): void => own.abort(exchange.request.signal.reason);
    exchange.request.signal.addEventListener("abort", stop, { once: true });
    if (exchange.request.signal.aborted) stop();
    let late = false;
    // Until the answer begins: a stream may go on for longer.
    const timer = setTimeout(() => {
      late = true;
      own.abort();
    }, requestMs);
    try {
      return await route.handle({ ...exchange, signal: own.signal });
    } catch (error) {
      if (!late) throw error;
      const message = `the request was not answered within ${requestMs / 1000} seconds`;
      throw new Refused(504, "timeout", message, { why: "slow_work" });
    } finally {
      clearTimeout(timer);
    }
  }

  #checkKey(request: Request): void {
    const { apiKey } = this.#settings;
    if (apiKey === undefined) return;
    const bearer = /^bearer\s+(.*)$/i.exec(request.headers.get("authorization") ?? "")?.[1]?.trim();
    const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
    if (timingSafeEqual(digest(request.headers.get("x-api-key") ?? bearer ?? ""), digest(apiKey))) return;
    throw new Refused(401, "unauthenticated", "Invalid API key", {
      why: "api_key",
      headers: { "www-authenticate": "X-API-Key" },
    });
  }

  #allowed(request: Request): string | undefined {
    const origin = request.headers.get("origin");
    if (origin === null) return undefined;
    const { origins, originPatterns } = this.#settings;
    if (origins.has("*")) return "*";
    return origins.has(origin) || originPatterns.some((pattern) => pattern.test(origin)) ? origin : undefined;
  }

  #preflight(request: Request): Response | undefined {
    if (request.method !== "OPTIONS" || !request.headers.has("access-control-request-method")) return undefined;
    const origin = this.#allowed(request);
    if (origin === undefined) return new Response("Disallowed CORS origin", { status: 400, headers: { vary: "origin" } });
    const headers = request.headers.get("access-control-request-headers") ?? "";
    return new Response("OK", {
      headers: {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": headers,
        "access-control-max-age": "600",
        vary: "origin",
      },
    });
  }

  #dressed(request: Request, requestId: string, response: Response): Response {
    response.headers.set("x-request-id", requestId);
    const origin = this.#allowed(request);
    if (origin !== undefined) {
      response.headers.set("access-control-allow-origin", origin);
      response.headers.set("access-control-expose-headers", "X-Request-ID, Retry-After");
    }
    if (this.#settings.origins.size + this.#settings.originPatterns.length > 0) response.headers.append("vary", "origin");
    return response;
  }
}

/** How long `/health` waits for what its parts have to ask others. */
const DIAGNOSIS_MS = 1000;

/** What a part says of itself, or that it says nothing in time. */
async function inTime(asked: Promise<Record<string, unknown>>, problem: string): Promise<Record<string, unknown>> {
  let stop = (): void => undefined;
  const late = new Promise<Record<string, unknown>>((resolve) => {
    const timer = setTimeout(() => resolve({ [problem]: `no answer within ${DIAGNOSIS_MS / 1000} seconds` }), DIAGNOSIS_MS);
    stop = () => clearTimeout(timer);
  });
  return Promise.race([asked, late]).finally(stop);
}

function busy(): Refused {
  const message = "the service is at its limit of concurrent requests; come back soon";
  return new Refused(429, "rate_limited", message, { why: "concurrency", retryAfterMs: 1000 });
}

