/** Routes, and the part of a service that they work with. */

import type { CallOptions } from "../calls.js";
import { InvalidRequest } from "../generated/errors.js";
import { native, unwrap } from "../native.js";
import { malformed } from "./failures.js";
import type { Form } from "./pages.js";

/** What a router works with: something that is loaded at the start and closed at the end. */
export interface Part {
  readonly name: string;
  /** What it is, for the log. */
  title(): string;
  /** Readies it. Fails where nothing can be served without it. */
  load(call?: CallOptions): Promise<void>;
  /** Lets go of what was opened here. */
  close(): Promise<void>;
  /** What `/health` says about it. */
  health(): Promise<Record<string, unknown>>;
  /** Why it cannot serve yet; undefined if it can. */
  problem(): string | undefined;
  /** Whether its work, once it is loaded, is done by a service for which somebody pays. */
  isPaid?(): boolean;
  /** What people can try on the front page. */
  forms?(): readonly Form[];
}

/** One request as a route sees it. */
export interface Exchange {
  readonly request: Request;
  readonly body: Uint8Array;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Aborted when the caller leaves or the time is over. */
  readonly signal: AbortSignal;
  readonly requestId: string;
  /** How long a stream is silent before a comment. */
  readonly keepAliveMs: number;
  /** What the log says of the request besides the usual; never a payload. */
  readonly told: Record<string, unknown>;
}

/** A route: `/tenders/:code`, or `/models/*` for whatever follows. */
export interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** Whether it takes images: their bodies may be long. */
  readonly takesImages?: boolean;
  handle(exchange: Exchange): Promise<Response>;
}

/** Routes and their part. */
export interface Router {
  readonly part: Part;
  readonly routes: readonly Route[];
}

/** The parameters of a path that fits a route's; undefined if it doesn't. */
export function matched(route: string, path: string): Record<string, string> | undefined {
  const [wanted, given] = [route.split("/"), path.split("/")];
  const params: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    if (part === "*") {
      params["rest"] = decoded(given.slice(index).join("/"));
      return params["rest"] === "" ? undefined : params;
    }
    const found = given[index];
    if (found === undefined) return undefined;
    if (part.startsWith(":")) {
      if (found === "") return undefined;
      params[part.slice(1)] = decoded(found);
    } else if (part !== found) return undefined;
  }
  return wanted.length === given.length ? params : undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw malformed("the path is not encoded as a path");
  }
}

/** JSON text as a response. */
export function jsonText(text: string, init: ResponseInit = {}): Response {
  return new Response(text, { ...init, headers: { "content-type": "application/json", ...init.headers } });
}

/** The body as a JSON object. */
export function objectOf({ body, request }: Exchange): Record<string, unknown> {
  // Content type, form, depth and number of parts, before anything is made of them.
  const checked = native().checkBody(Buffer.from(body), request.headers.get("content-type") ?? undefined);
  unwrap(checked);
  let found: unknown;
  try {
    found = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw malformed("the body is not JSON");
  }
  if (typeof found !== "object" || found === null || Array.isArray(found)) throw malformed("the body is no JSON object");
  return found as Record<string, unknown>;
}

/** Reads the fields of a body or a query; a wrong one is refused by its name. */
export class Fields {
  constructor(
    readonly values: Readonly<Record<string, unknown>>,
    readonly prefix = "",
  ) {}

  static ofQuery(query: URLSearchParams): Fields {
    return new Fields(Object.fromEntries(query));
  }

  #wrong(name: string, what: string): never {
    throw malformed(`\`${this.prefix}${name}\` ${what}`, this.prefix + name);
  }

  text(name: string, longest: number, pattern?: RegExp): string {
    return this.optionalText(name, longest, pattern) ?? this.#wrong(name, "is missing");
  }

  optionalText(name: string, longest: number, pattern?: RegExp): string | undefined {
    const value = this.values[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== "string") this.#wrong(name, "is no text");
    if (value.length === 0) this.#wrong(name, "is empty");
    // A half of a surrogate pair is no text; a regular expression that sees halves would find any.
    if (value.length > longest) this.#wrong(name, `is longer than ${longest} characters`);
    if (!value.isWellFormed()) this.#wrong(name, "is no Unicode text");
    if (pattern && !pattern.test(value)) this.#wrong(name, "has the wrong form");
    return value;
  }

  number(name: string, least: number, most: number, whole = false): number | undefined {
    const value = this.values[name];
    if (value === undefined || value === null) return undefined;
    const found = typeof value === "string" && /^-?\d+$/.test(value) ? Number(value) : value;
    const fits = typeof found === "number" && found >= least && found <= most && (!whole || Number.isInteger(found));
    if (!fits) this.#wrong(name, `is no ${whole ? "whole " : ""}number from ${least} to ${most}`);
    return found as number;
  }

  choice<T extends string>(name: string, valid: readonly T[]): T | undefined {
    const value = this.values[name];
    if (value === undefined || value === null) return undefined;
    if (!valid.includes(value as T)) this.#wrong(name, `is unknown; valid: ${valid.join(", ")}`);
    return value as T;
  }

  object(name: string): Fields | undefined {
    const value = this.values[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== "object" || Array.isArray(value)) this.#wrong(name, "is no object");
    return new Fields(value as Record<string, unknown>, `${this.prefix}${name}.`);
  }

  texts(name: string, most: number): string[] {
    const value = this.values[name];
    const fits = Array.isArray(value) && value.length > 0 && value.length <= most;
    if (!fits || !value.every((item) => typeof item === "string" && item !== "")) {
      this.#wrong(name, `is no list of 1 to ${most} texts`);
    }
    return value as string[];
  }
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** The bytes of base64, with or without the prefix of a `data:` URL. */
export function base64Of(text: string, name: string): Buffer {
  const plain = text.replace(/^\s*data:[^,]{0,200},/i, "").replace(/\s+/g, "");
  if (plain.length % 4 !== 0 || !BASE64.test(plain)) throw new InvalidRequest(`\`${name}\` is not base64`);
  if (plain === "") throw new InvalidRequest(`\`${name}\` is empty`);
  return Buffer.from(plain, "base64");
}
