/** What all handles have in common. */

import type { BackendInfo } from "./generated/answers.js";
import { type CallOptions, optionalJson, reading, run, split } from "./calls.js";
import { ConfigInvalid, InvalidRequest } from "./generated/errors.js";
import { type NativeCall, type Outcome, unwrap } from "./native.js";

/** The environment variables that complete a configuration, instead of the process's own. */
export interface OpenOptions {
  env?: Readonly<Record<string, string | undefined>> | undefined;
}

interface Native {
  info(): Outcome<string>;
}

/** The base of all handles. One handle serves any number of calls at the same time. */
export class Handle<N extends Native> {
  #native: N | undefined;

  /** @internal */
  constructor(native: N) {
    this.#native = native;
  }

  /** @internal The native handle. */
  get native(): N {
    if (this.#native === undefined) throw new InvalidRequest(`this ${this.constructor.name} is closed`);
    return this.#native;
  }

  /** Who the backend is. */
  info(): BackendInfo {
    return JSON.parse(unwrap(this.native.info())) as BackendInfo;
  }

  /** Releases the backend. A local model is unloaded once its last handle is closed; running calls finish as usual. */
  async close(): Promise<void> {
    this.#native = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

interface Loadable extends Native {
  ready(call?: NativeCall): Promise<Outcome<void>>;
}

/** A handle on something that may have to be loaded first. */
export class LoadableHandle<N extends Loadable> extends Handle<N> {
  /** Waits until a local model is loaded; a hosted one is not called. */
  async ready(options?: CallOptions): Promise<void> {
    await run(split(options)[1], (call) => this.native.ready(call));
  }
}

/** A configuration as native code reads it. A string is the reference of a local model. */
export function configText(config: unknown): string {
  if (typeof config === "string") return JSON.stringify({ backend: "local", model: config });
  let text: string | undefined;
  try {
    text = typeof config === "object" && config !== null && !Array.isArray(config) ? JSON.stringify(config) : undefined;
  } catch (cause) {
    throw new ConfigInvalid("the configuration cannot be read", { cause });
  }
  if (text !== undefined) return text;
  throw new ConfigInvalid("a configuration is an object, or the reference of a local model as a string");
}

/** The variables as native code reads them; undefined for the process's own. */
export function variablesText(options: OpenOptions | undefined): string | undefined {
  return reading("the options", () => optionalJson("`env`", options?.env));
}

/** Opens a native handle. */
export async function opened<N>(kind: { open(fields?: string, variables?: string): Promise<Outcome<N>> }, fields?: string, variables?: string): Promise<N> {
  return unwrap(await kind.open(fields, variables));
}
