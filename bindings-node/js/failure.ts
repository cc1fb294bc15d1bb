/** The base class of all errors, and how native code's errors become them. Imports nothing native. */

import type { RouteFailure } from "./generated/answers.js";
import type { ErrorKind } from "./generated/kinds.js";

/** What an error is made of besides its message. */
export interface AyniErrorFields {
  code?: ErrorKind | undefined;
  retryable?: boolean | undefined;
  retryAfterMs?: number | undefined;
  status?: number | undefined;
  backend?: string | undefined;
  requestId?: string | undefined;
  route?: readonly RouteFailure[] | undefined;
  operation?: string | undefined;
  persistence?: "permanent" | "temporary" | "exhausted" | undefined;
  sent?: "no" | "maybe" | "yes" | undefined;
  partialText?: string | undefined;
  responseExcerpt?: string | undefined;
  context?: Readonly<Record<string, string>> | undefined;
  cause?: unknown;
}

/**
 * Why a call failed. Its message is one sentence for whoever can fix it and holds no prompt, no input and no key. There is
 * no need to parse it: the class, or `code`, says what went wrong.
 */
export class AyniError extends Error {
  static readonly code: ErrorKind = "unexpected";
  static readonly usuallyRetryable: boolean = false;

  /** What went wrong: one of `errorKinds`. */
  readonly code: ErrorKind;
  /** Whether another attempt may help now; false once the attempts allowed are used up. */
  readonly retryable: boolean;
  /** How long to wait before the next attempt, where the backend says so. */
  readonly retryAfterMs: number | undefined;
  /** The HTTP status, where one arrived. */
  readonly status: number | undefined;
  readonly backend: string | undefined;
  readonly requestId: string | undefined;
  /** The backends that were tried, where there was more than one; the last is the one of this error. */
  readonly route: readonly RouteFailure[];
  readonly operation: string | undefined;
  readonly persistence: "permanent" | "temporary" | "exhausted";
  /** Whether the backend may have received the request. */
  readonly sent: "no" | "maybe" | "yes";
  /** The text that was delivered before the failure; of a refusal its sentence. */
  readonly partialText: string | undefined;
  /** The beginning of the backend's own words, credentials masked. They may repeat the prompt: don't log them. */
  declare readonly responseExcerpt: string | undefined;
  /** Named facts about the failure. */
  readonly context: Readonly<Record<string, string>>;

  constructor(message = "", fields: AyniErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    const kind = new.target as typeof AyniError;
    this.code = fields.code ?? kind.code;
    this.retryable = fields.retryable ?? kind.usuallyRetryable;
    this.retryAfterMs = fields.retryAfterMs;
    this.status = fields.status;
    this.backend = fields.backend;
    this.requestId = fields.requestId;
    this.route = fields.route ?? [];
    this.operation = fields.operation;
    this.persistence = fields.persistence ?? (this.retryable ? "temporary" : "permanent");
    this.sent = fields.sent ?? "no";
    this.partialText = fields.partialText;
    // Not shown where an error is printed.
    Object.defineProperty(this, "responseExcerpt", { value: fields.responseExcerpt, configurable: true });
    this.context = fields.context ?? {};
  }
}
Object.defineProperty(AyniError.prototype, "name", { value: "AyniError", configurable: true, writable: true });

type ErrorClass = new (message?: string, fields?: AyniErrorFields) => AyniError;

/** The class of every kind that has one here. The browser's part has none but the base. */
const classes = new Map<ErrorKind, ErrorClass>();

/** Adds the class of a kind. */
export function register(name: string, kind: ErrorClass & { readonly code: ErrorKind }): void {
  // Callers tell an aborted call by this name, as they do for `fetch`.
  const shown = kind.code === "cancelled" ? "AbortError" : name;
  Object.defineProperty(kind.prototype, "name", { value: shown, configurable: true, writable: true });
  classes.set(kind.code, kind);
}

/** An error of a kind. */
export function errorOf(code: ErrorKind, message: string, fields: AyniErrorFields = {}): AyniError {
  const kind = classes.get(code) ?? AyniError;
  return new kind(message, { ...fields, code });
}

/** An error as native code describes it. */
interface Described {
  kind?: ErrorKind;
  message?: string;
  display?: string;
  cause?: Described | null;
  retryable?: boolean;
  retry_after_ms?: number | null;
  http_status?: number | null;
  backend?: string | null;
  request_id?: string | null;
  failed?: RouteFailure[];
  operation?: string | null;
  persistence?: AyniErrorFields["persistence"];
  sent?: AyniErrorFields["sent"];
  partial_text?: string | null;
  response_excerpt?: string | null;
  context?: Record<string, string>;
}

/** The error of native code, with its causes. */
export function errorFrom(found: Described): Error {
  const cause = found.cause ? errorFrom(found.cause) : undefined;
  if (found.kind === undefined) {
    return new Error(found.display ?? "", cause === undefined ? undefined : { cause });
  }
  return errorOf(found.kind, found.message ?? "", {
    retryable: found.retryable,
    retryAfterMs: found.retry_after_ms ?? undefined,
    status: found.http_status ?? undefined,
    backend: found.backend ?? undefined,
    requestId: found.request_id ?? undefined,
    route: found.failed,
    operation: found.operation ?? undefined,
    persistence: found.persistence,
    sent: found.sent,
    partialText: found.partial_text ?? undefined,
    responseExcerpt: found.response_excerpt ?? undefined,
    context: found.context,
    cause,
  });
}
