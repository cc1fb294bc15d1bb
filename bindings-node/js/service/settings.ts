/** The settings of a service. */

import { ConfigInvalid } from "../generated/errors.js";

/** The settings of a service; `settingsFromEnv` reads them from the environment. */
export interface ServiceSettings {
  /** What callers must send as `X-API-Key`, or as bearer token where they can send nothing else; `API_KEY`. */
  apiKey?: string | undefined;
  /**
   * Which pages of other origins may call; `ALLOW_ORIGINS`, separated by commas. None by default. A `*` stands for the first part of
   * a host's name: `https://*.vercel.app`; alone for any origin.
   */
  allowOrigins?: readonly string[] | undefined;
  /** Names under which `ayni serve` without a key may be called on this machine, besides loopback addresses; `ALLOW_HOSTS`. */
  allowHosts?: readonly string[] | undefined;
  /** The longest body of a request to routes that take images: 20 MiB; `MAX_BODY_BYTES`. */
  maxBodyBytes?: number | undefined;
  /** The longest body of a request to all other routes: 4 MiB; `MAX_TEXT_BYTES`. */
  maxTextBytes?: number | undefined;
  /** The most open connections of `ayni serve`: 1000; `MAX_CONNECTIONS`. */
  maxConnections?: number | undefined;
  /** How long a caller of `ayni serve` may take to send a request's head: 10 s; `HEADER_TIMEOUT_SECONDS`. */
  headerMs?: number | undefined;
  /** How long a caller of `ayni serve` may take none of an answer: 30 s; `WRITE_TIMEOUT_SECONDS`. */
  writeMs?: number | undefined;
  /** How long a stream is silent before a comment keeps its connection open: 15 s; `KEEP_ALIVE_SECONDS`. */
  keepAliveMs?: number | undefined;
  /** The most requests at a time: 128; more are refused with 429; `MAX_CONCURRENCY`. */
  maxConcurrency?: number | undefined;
  /** How long a caller may take to send a body: 30 s; `BODY_TIMEOUT_SECONDS`. */
  bodyMs?: number | undefined;
  /** How long a request may take until its answer begins: 300 s; `REQUEST_TIMEOUT_SECONDS`. */
  requestMs?: number | undefined;
  /** How long to wait for running requests at shutdown: 30 s; `DRAIN_SECONDS`. */
  drainMs?: number | undefined;
  /** Takes a record of the log: an event, and what belongs to it. Never a payload. `LOG_FORMAT` chooses json, text or none. */
  log?: ((record: LogRecord) => void) | "json" | "text" | "none" | undefined;
  /** What the paths of the routes begin with where they are mounted: `/api`. */
  basePath?: string | undefined;
}

/** One record of the log. */
export type LogRecord = { level: "INFO" | "WARNING" | "ERROR"; message: string } & Record<string, unknown>;

/** Settings with nothing left open. */
export interface Settled {
  apiKey: string | undefined;
  origins: ReadonlySet<string>;
  originPatterns: readonly RegExp[];
  hosts: ReadonlySet<string>;
  maxBodyBytes: number;
  maxTextBytes: number;
  maxConnections: number;
  headerMs: number;
  writeMs: number;
  keepAliveMs: number;
  maxConcurrency: number;
  bodyMs: number;
  requestMs: number;
  drainMs: number;
  log: (record: LogRecord) => void;
  basePath: string;
}

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * The settings of the environment. An empty variable counts as unset, except `API_KEY`: whoever sets it wants a service that is
 * closed.
 */
export function settingsFromEnv(env: Variables = process.env): ServiceSettings {
  const given = (name: string): string | undefined => env[name]?.trim() || undefined;
  const number = (name: string, factor = 1): number | undefined => {
    const text = given(name);
    if (text === undefined) return undefined;
    const value = Number(text) * factor;
    if (!Number.isFinite(value)) throw new ConfigInvalid(`${name} is '${text}', which is no number`);
    return value;
  };
  if (env["API_KEY"] !== undefined && given("API_KEY") === undefined) {
    throw new ConfigInvalid("API_KEY is blank; set a key, or unset the variable for a service that is open to everybody");
  }
  const list = (name: string): string[] => (given(name) ?? "").split(",").map((one) => one.trim()).filter(Boolean);
  return {
    apiKey: given("API_KEY"),
    allowOrigins: list("ALLOW_ORIGINS"),
    allowHosts: list("ALLOW_HOSTS"),
    maxBodyBytes: number("MAX_BODY_BYTES"),
    maxTextBytes: number("MAX_TEXT_BYTES"),
    maxConnections: number("MAX_CONNECTIONS"),
    headerMs: number("HEADER_TIMEOUT_SECONDS", 1000),
    writeMs: number("WRITE_TIMEOUT_SECONDS", 1000),
    keepAliveMs: number("KEEP_ALIVE_SECONDS", 1000),
    maxConcurrency: number("MAX_CONCURRENCY"),
    bodyMs: number("BODY_TIMEOUT_SECONDS", 1000),
    requestMs: number("REQUEST_TIMEOUT_SECONDS", 1000),
    drainMs: number("DRAIN_SECONDS", 1000),
    log: (given("LOG_FORMAT") ?? "json") as "json",
  };
}

/** Checks settings and fills in what they leave open. */
export function settle(settings: ServiceSettings): Settled {
  const positive = (name: keyof ServiceSettings, otherwise: number): number => {
    const value = settings[name] ?? otherwise;
    if (typeof value === "number" && value > 0) return value;
    throw new ConfigInvalid(`\`${name}\` is ${String(value)}; it must be a number above 0`);
  };
  if (settings.apiKey !== undefined && !settings.apiKey.trim()) {
    throw new ConfigInvalid("`apiKey` is empty; leave it out for a service without one");
  }
  const origins = (settings.allowOrigins ?? []).map(originOf);
  return {
    apiKey: settings.apiKey,
    origins: new Set(origins.filter((origin) => origin === "*" || !origin.includes("*"))),
    originPatterns: origins.filter((origin) => origin !== "*" && origin.includes("*")).map(patternOf),
    hosts: new Set((settings.allowHosts ?? []).map((host) => host.toLowerCase())),
    maxBodyBytes: positive("maxBodyBytes", 20 << 20),
    maxTextBytes: positive("maxTextBytes", 4 << 20),
    maxConnections: positive("maxConnections", 1000),
    headerMs: positive("headerMs", 10_000),
    writeMs: positive("writeMs", 30_000),
    keepAliveMs: positive("keepAliveMs", 15_000),
    maxConcurrency: positive("maxConcurrency", 128),
    bodyMs: positive("bodyMs", 30_000),
    requestMs: positive("requestMs", 300_000),
    drainMs: positive("drainMs", 30_000),
    log: logOf(settings.log ?? "json"),
    basePath: (settings.basePath ?? "").replace(/\/+$/, ""),
  };
}

/** An origin whose host's first part may be any name. */
function patternOf(origin: string): RegExp {
  const [before = "", after = ""] = origin.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${before}[a-z0-9-]+${after}$`);
}

function originOf(origin: string): string {
  if (origin === "*") return origin;
  if (origin.includes("*")) {
    if (/^https?:\/\/\*(\.[a-z0-9-]+){2,}(:\d+)?$/.test(origin)) return origin;
    throw new ConfigInvalid(
      `ALLOW_ORIGINS has '${origin}'; a \`*\` stands for the first part of a host's name only: https://*.vercel.app`,
    );
  }
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  const isOrigin = url && /^https?:$/.test(url.protocol) && url.pathname.replaceAll("/", "") === "" && !url.search;
  if (isOrigin) return url.origin;
  throw new ConfigInvalid(
    `ALLOW_ORIGINS has '${origin}', which is no origin; write scheme, host and port: https://app.example`,
  );
}

function logOf(log: Exclude<ServiceSettings["log"], undefined>): (record: LogRecord) => void {
  if (typeof log === "function") return log;
  switch (log) {
    case "none":
      return () => undefined;
    case "json":
      return (record) => console.error(JSON.stringify({ time: new Date().toISOString(), ...record }));
    case "text":
      return ({ level, message, ...rest }) => {
        const facts = Object.entries(rest).filter(([, value]) => value !== undefined);
        console.error([level.padEnd(7), message, ...facts.map(([name, value]) => `${name}=${String(value)}`)].join(" "));
      };
    default:
      throw new ConfigInvalid(`LOG_FORMAT is '${String(log)}', which is unknown; valid: json, text, none`);
  }
}
