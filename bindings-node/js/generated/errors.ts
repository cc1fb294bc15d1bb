// Written by `make gen` from the code. Change the code, not this file.

import { AyniError, register } from "../failure.js";
import type { ErrorKind } from "./kinds.js";

/** A configuration value is missing, misspelt or contradicts another. */
export class ConfigInvalid extends AyniError {
  static override readonly code: ErrorKind = "config_invalid";
  static override readonly usuallyRetryable: boolean = false;
}
register("ConfigInvalid", ConfigInvalid);

/** The request itself is wrong; sending it again cannot help. */
export class InvalidRequest extends AyniError {
  static override readonly code: ErrorKind = "invalid_request";
  static override readonly usuallyRetryable: boolean = false;
}
register("InvalidRequest", InvalidRequest);

/** The input is longer than the model's context window. */
export class ContextTooLong extends AyniError {
  static override readonly code: ErrorKind = "context_too_long";
  static override readonly usuallyRetryable: boolean = false;
}
register("ContextTooLong", ContextTooLong);

/** No credential was sent, or the backend does not accept it. */
export class Unauthenticated extends AyniError {
  static override readonly code: ErrorKind = "unauthenticated";
  static override readonly usuallyRetryable: boolean = false;
}
register("Unauthenticated", Unauthenticated);

/** The credential is known but may not do this. */
export class PermissionDenied extends AyniError {
  static override readonly code: ErrorKind = "permission_denied";
  static override readonly usuallyRetryable: boolean = false;
}
register("PermissionDenied", PermissionDenied);

/** The account's money or credits are spent. */
export class CreditsExhausted extends AyniError {
  static override readonly code: ErrorKind = "credits_exhausted";
  static override readonly usuallyRetryable: boolean = false;
}
register("CreditsExhausted", CreditsExhausted);

/** The model, record or route does not exist at this backend. */
export class NotFound extends AyniError {
  static override readonly code: ErrorKind = "not_found";
  static override readonly usuallyRetryable: boolean = false;
}
register("NotFound", NotFound);

/** The request contradicts the current state of the resource. */
export class Conflict extends AyniError {
  static override readonly code: ErrorKind = "conflict";
  static override readonly usuallyRetryable: boolean = false;
}
register("Conflict", Conflict);

/** The backend does not offer this operation, or was compiled without it. */
export class Unsupported extends AyniError {
  static override readonly code: ErrorKind = "unsupported";
  static override readonly usuallyRetryable: boolean = false;
}
register("Unsupported", Unsupported);

/** A safety filter refused the prompt or the answer. */
export class ContentRejected extends AyniError {
  static override readonly code: ErrorKind = "content_rejected";
  static override readonly usuallyRetryable: boolean = false;
}
register("ContentRejected", ContentRejected);

/** Too many requests for the moment. */
export class RateLimited extends AyniError {
  static override readonly code: ErrorKind = "rate_limited";
  static override readonly usuallyRetryable: boolean = true;
}
register("RateLimited", RateLimited);

/** A quota is used up until a known or distant time; waiting a little does not help. */
export class QuotaExceeded extends AyniError {
  static override readonly code: ErrorKind = "quota_exceeded";
  static override readonly usuallyRetryable: boolean = false;
}
register("QuotaExceeded", QuotaExceeded);

/** A phase of the call, or the whole call, took too long. */
export class Timeout extends AyniError {
  static override readonly code: ErrorKind = "timeout";
  static override readonly usuallyRetryable: boolean = true;
}
register("Timeout", Timeout);

/** The backend cannot be reached or cannot serve now. */
export class Unavailable extends AyniError {
  static override readonly code: ErrorKind = "unavailable";
  static override readonly usuallyRetryable: boolean = true;
}
register("Unavailable", Unavailable);

/** The model or Space is waking up or loading. */
export class ColdStart extends AyniError {
  static override readonly code: ErrorKind = "cold_start";
  static override readonly usuallyRetryable: boolean = true;
}
register("ColdStart", ColdStart);

/** The answer broke off before its end. */
export class Interrupted extends AyniError {
  static override readonly code: ErrorKind = "interrupted";
  static override readonly usuallyRetryable: boolean = true;
}
register("Interrupted", Interrupted);

/** The answer arrived but is not what the protocol promises. */
export class ResponseInvalid extends AyniError {
  static override readonly code: ErrorKind = "response_invalid";
  static override readonly usuallyRetryable: boolean = false;
}
register("ResponseInvalid", ResponseInvalid);

/** Local weights are missing, damaged or of an unknown architecture. */
export class ModelLoad extends AyniError {
  static override readonly code: ErrorKind = "model_load";
  static override readonly usuallyRetryable: boolean = false;
}
register("ModelLoad", ModelLoad);

/** The requested device does not exist or does not work. */
export class DeviceUnavailable extends AyniError {
  static override readonly code: ErrorKind = "device_unavailable";
  static override readonly usuallyRetryable: boolean = false;
}
register("DeviceUnavailable", DeviceUnavailable);

/** The work does not fit into the device's memory. */
export class OutOfMemory extends AyniError {
  static override readonly code: ErrorKind = "out_of_memory";
  static override readonly usuallyRetryable: boolean = false;
}
register("OutOfMemory", OutOfMemory);

/** The caller cancelled the work. */
export class Cancelled extends AyniError {
  static override readonly code: ErrorKind = "cancelled";
  static override readonly usuallyRetryable: boolean = false;
}
register("Cancelled", Cancelled);

/** The network is needed but offline mode is on. */
export class Offline extends AyniError {
  static override readonly code: ErrorKind = "offline";
  static override readonly usuallyRetryable: boolean = false;
}
register("Offline", Offline);

/** A defect in ayni; please report it. */
export class Unexpected extends AyniError {
  static override readonly code: ErrorKind = "unexpected";
  static override readonly usuallyRetryable: boolean = false;
}
register("Unexpected", Unexpected);
