// Written by `make gen` from the code. Change the code, not this file.

/** Every error kind: the same names in Rust, Python and JSON. */
export const errorKinds = Object.freeze([
  "config_invalid",
  "invalid_request",
  "context_too_long",
  "unauthenticated",
  "permission_denied",
  "credits_exhausted",
  "not_found",
  "conflict",
  "unsupported",
  "content_rejected",
  "rate_limited",
  "quota_exceeded",
  "timeout",
  "unavailable",
  "cold_start",
  "interrupted",
  "response_invalid",
  "model_load",
  "device_unavailable",
  "out_of_memory",
  "cancelled",
  "offline",
  "unexpected",
] as const);

/** What went wrong. */
export type ErrorKind = (typeof errorKinds)[number];
