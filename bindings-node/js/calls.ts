/** How calls are made: time-outs, `AbortSignal`, progress. */

import { AyniError } from "./failure.js";
import type { Progress } from "./generated/answers.js";
import { Cancelled, InvalidRequest } from "./generated/errors.js";
import { type NativeCall, type Outcome, native, unwrap } from "./native.js";

/** Time-outs of the phases of one HTTP exchange. */
export interface Timeouts {
  connectMs?: number | undefined;
  firstByteMs?: number | undefined;
  idleMs?: number | undefined;
}

/** The options that every call takes besides its request. */
export interface CallOptions {
  /** Stops the work. The call fails with `Cancelled` (named `AbortError`), whose `cause` is the signal's reason. */
  signal?: AbortSignal | undefined;
  /** How long the whole call may take, retries and fallbacks included. */
  timeoutMs?: number | undefined;
  timeouts?: Timeouts | undefined;
  /** Called with every event, in order and before the outcome. If it throws, the call fails with what it throws. */
  onProgress?: ((event: Progress) => void) | undefined;
}

/** The most items of one list. Longer ones would block the event loop while they cross. */
export const MAX_ITEMS = 1_000_000;

/** Reads what a caller gave. Whatever a getter, a proxy or a wrong type throws becomes an `InvalidRequest`. */
export function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw cause instanceof AyniError ? cause : new InvalidRequest(`${what} cannot be read`, { cause });
  }
}

/** A value as JSON text. */
export function jsonOf(what: string, value: unknown): string {
  const text = reading(what, () => JSON.stringify(value));
  if (text === undefined) throw new InvalidRequest(`${what} is no JSON value`);
  return text;
}

/** A value as JSON text, where it is there. */
export function optionalJson(what: string, value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : jsonOf(what, value);
}

/** Splits options into those of the request and those that every call takes. What is null or undefined is left out. */
export function split(options: object | undefined | null): [Record<string, unknown>, CallOptions] {
  return reading("the options", () => {
    if (options === undefined || options === null) return [{}, {}];
    if (typeof options !== "object") throw new InvalidRequest("the options are no object");
    const { signal, timeoutMs, timeouts, onProgress, ...rest } = options as CallOptions & Record<string, unknown>;
    const given = Object.entries(rest).filter(([, value]) => value !== undefined && value !== null);
    return [Object.fromEntries(given), { signal, timeoutMs, timeouts, onProgress }];
  });
}

function milliseconds(name: string, value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && value >= 0 && Number.isFinite(value)) return value;
  throw new InvalidRequest(`\`${name}\` is no number of milliseconds from 0 up`);
}

/** The error of a call whose signal is aborted. */
function cancelledBy(signal: AbortSignal, error?: AyniError): AyniError {
  const { message = "the call was aborted", operation, backend, sent, partialText } = error ?? {};
  return new Cancelled(message, { cause: signal.reason, operation, backend, sent, partialText });
}

/** One call: its native settings, its signal, its progress. */
export class RunningCall {
  /** What native functions take; undefined if the call has no options. */
  readonly native: NativeCall | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #onProgress: CallOptions["onProgress"];
  readonly #stop = (): void => this.native?.cancel();
  #thrown: { value: unknown } | undefined;

  constructor(options: CallOptions, alwaysStoppable = false) {
    const { signal, timeoutMs, timeouts, onProgress } = options;
    const plain = [signal, timeoutMs, timeouts, onProgress].every((option) => option === undefined || option === null);
    if (plain && !alwaysStoppable) return;
    this.#signal = checkedSignal(signal);
    if (onProgress !== undefined && onProgress !== null && typeof onProgress !== "function") {
      throw new InvalidRequest("`onProgress` is no function");
    }
    this.#onProgress = onProgress ?? undefined;
    const times = reading("`timeouts`", () => ({ ...timeouts }) as Record<string, unknown>);
    const { connectMs, firstByteMs, idleMs, ...unknown } = times;
    const [wrong] = Object.keys(unknown);
    if (wrong !== undefined) {
      throw new InvalidRequest(`\`timeouts\` has no '${wrong}'; valid: connectMs, firstByteMs, idleMs`);
    }
    this.native = new (native().Call)(
      milliseconds("timeoutMs", timeoutMs),
      milliseconds("connectMs", connectMs),
      milliseconds("firstByteMs", firstByteMs),
      milliseconds("idleMs", idleMs),
      this.#onProgress && (() => this.#deliver()),
    );
    this.#signal?.addEventListener("abort", this.#stop, { once: true });
  }

  /** Throws if the signal is aborted already. */
  check(): void {
    if (this.#signal?.aborted) {
      this.finish();
      throw cancelledBy(this.#signal);
    }
  }

  #deliver(): void {
    if (this.#onProgress === undefined || this.native === undefined || this.#thrown) return;
    try {
      for (const event of JSON.parse(unwrap(this.native.progress())) as Progress[]) this.#onProgress(event);
    } catch (value) {
      this.#thrown = { value };
      this.native.cancel();
    }
  }

  /** Awaits one native step and gives its answer. */
  async step<T>(outcome: Promise<Outcome<T>>): Promise<T> {
    try {
      const found = await outcome;
      this.#deliver();
      if (this.#thrown) throw this.#thrown.value;
      return unwrap(found);
    } catch (error) {
      if (this.#thrown) throw this.#thrown.value;
      if (error instanceof Cancelled && this.#signal?.aborted) throw cancelledBy(this.#signal, error);
      throw error;
    }
  }

  /** Nothing follows. */
  finish(): void {
    this.#signal?.removeEventListener("abort", this.#stop);
    if (this.#onProgress !== undefined) this.native?.finish();
  }
}

function checkedSignal(signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined;
  const found = signal as AbortSignal;
  const is = reading("`signal`", () => typeof found.aborted === "boolean" && typeof found.addEventListener === "function");
  if (!is) throw new InvalidRequest("`signal` is no AbortSignal");
  return found;
}

/** Makes one call. */
export async function run<T>(
  options: CallOptions,
  start: (call: NativeCall | undefined) => Promise<Outcome<T>>,
): Promise<T> {
  const call = new RunningCall(options);
  call.check();
  try {
    return await call.step(reading("the arguments", () => start(call.native)));
  } finally {
    call.finish();
  }
}
