/** Where a model's handle comes from: an open one, one that is being opened, or a configuration. */

import { reading } from "../calls.js";

/** A handle, the promise of one, a configuration, or the reference of a local model. */
export type Source<H, C> = H | Promise<H> | C | string;

/** Whether a value is a handle or the promise of one. */
export function isHandle<H>(source: unknown, kind: new (...given: never[]) => H): source is H | Promise<H> {
  return source instanceof kind || typeof (source as Promise<H> | null)?.then === "function";
}

/**
 * A function that gives the handle, opened at the first use. A configuration is opened without retries of its own: the SDK
 * retries, and both together would multiply.
 */
export function lazily<H, C extends object>(
  source: Source<H, C>,
  kind: new (...given: never[]) => H,
  open: (config: C) => Promise<H>,
  model?: string,
): () => Promise<H> {
  if (isHandle(source, kind)) return async () => source;
  let opening: Promise<H> | undefined;
  return () => {
    if (opening === undefined) {
      opening = open(reading("the configuration", () => withoutRetries(source as C | string, model)));
      // What is missing now may be there at the next call.
      opening.catch(() => (opening = undefined));
    }
    return opening;
  };
}

function withoutRetries<C extends object>(source: C | string, model: string | undefined): C {
  const config: Record<string, unknown> =
    typeof source === "string" ? { backend: "local", model: source } : { ...(source as object) };
  if (model) config["model"] = model;
  const policy = (config["policy"] ?? {}) as Record<string, unknown>;
  return { ...config, policy: { ...policy, retry: policy["retry"] ?? { max_retries: 0 } } } as unknown as C;
}
