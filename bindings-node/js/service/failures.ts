/** Failures as callers see them: a status, and JSON that says the kind and one sentence. */

import { AyniError } from "../failure.js";
import type { ErrorKind } from "../generated/kinds.js";
import { native, unwrap } from "../native.js";

let table: Record<string, number> | undefined;

/** The status of an error. A credential that a hosted backend refuses is the service's, not the caller's. */
export function statusOf(error: AyniError): number {
  if (error.context["body"] === "malformed") return 422;
  // The caller can leave the option out; clients would repeat a request that failed with a 5xx.
  if (error.code === "unsupported" && error.context["option"] !== undefined) return 400;
  table ??= JSON.parse(unwrap(native().statuses())) as Record<string, number>;
  return table[error.code] ?? 500;
}

/** A request that the service itself refuses. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly kind: ErrorKind,
    message: string,
    readonly more: { why?: string; param?: string; headers?: Record<string, string>; retryAfterMs?: number } = {},
  ) {
    super(message);
  }
}

/** What was sent has the wrong form; `param` is the field. */
export function malformed(message: string, param?: string): Refused {
  return new Refused(422, "invalid_request", message, param === undefined ? {} : { param });
}

interface Failure {
  status: number;
  kind: ErrorKind;
  message: string;
  retryable?: boolean;
  retryAfterMs?: number | undefined;
  backend?: string | undefined;
  param?: string | undefined;
}

/** A failure as a response. */
export function failureResponse(failure: Failure, requestId: string, headers: Record<string, string> = {}): Response {
  const { status, kind, message, retryable = false, retryAfterMs, backend, param } = failure;
  const retryAfter = retryAfterMs === undefined ? undefined : retryAfterMs / 1000;
  const described = { status, kind, message, retryable, retry_after: retryAfter, backend, param, request_id: requestId };
  const body = unwrap(native().failureBody(JSON.stringify(described)));
  const wait: Record<string, string> = {};
  if (retryAfterMs !== undefined || status === 429 || status === 503) {
    wait["retry-after"] = String(Math.max(1, Math.ceil((retryAfterMs ?? 1000) / 1000)));
  }
  return new Response(body, { status, headers: { "content-type": "application/json", ...wait, ...headers } });
}

/** The response to whatever was thrown, and its kind. What nobody expected says nothing of itself. */
export function responseOf(error: unknown, requestId: string): { response: Response; kind: ErrorKind; expected: boolean } {
  if (error instanceof Refused) {
    const { status, kind, message, more } = error;
    const { param, retryAfterMs } = more;
    const failure = { status, kind, message, param, retryAfterMs, retryable: retryAfterMs !== undefined };
    return { response: failureResponse(failure, requestId, more.headers), kind, expected: true };
  }
  if (error instanceof AyniError) {
    const { code: kind, message, retryable, retryAfterMs, backend, context } = error;
    const failure = { status: statusOf(error), kind, message, retryable, retryAfterMs, backend, param: context["param"] };
    return { response: failureResponse(failure, requestId), kind, expected: true };
  }
  const failure: Failure = { status: 500, kind: "unexpected", message: "the service failed unexpectedly" };
  return { response: failureResponse(failure, requestId), kind: "unexpected", expected: false };
}
