/** Where a route's handle comes from: an open one, the promise of one, or a configuration that is opened at the start. */

import type { CallOptions } from "../calls.js";
import type { BackendInfo } from "../generated/answers.js";
import type { Part } from "./router.js";

interface Closable {
  close(): Promise<void>;
}

/** A handle, the promise of one, or what opens one. */
export type Given<H> = H | Promise<H> | (() => Promise<H>);

/** A handle that is opened when it is first asked for, and again after it was closed. */
export class Opening<H extends Closable> {
  readonly #given: Given<H>;
  #opening: Promise<H> | undefined;
  /** The handle, once it is there. */
  handle: H | undefined;

  constructor(given: Given<H>) {
    this.#given = given;
    // The caller of the route sees its failure.
    if (given instanceof Promise) given.catch(() => undefined);
  }

  get(): Promise<H> {
    if (this.#opening === undefined) {
      const opening = Promise.resolve(typeof this.#given === "function" ? this.#given() : this.#given);
      this.#opening = opening;
      opening.then(
        (handle) => (this.handle = handle),
        () => (this.#opening = undefined),
      );
    }
    return this.#opening;
  }

  /** Closes a handle that was opened here; the caller's own stays open. */
  async close(): Promise<void> {
    const handle = this.handle;
    this.#opening = this.handle = undefined;
    if (typeof this.#given === "function") await handle?.close();
  }
}

/** A part that stands on one handle. */
export abstract class HandlePart<H extends Closable & { info(): BackendInfo }> implements Part {
  abstract readonly name: string;
  protected readonly opening: Opening<H>;
  protected isLoaded = false;

  constructor(given: Given<H>) {
    this.opening = new Opening(given);
  }

  title(): string {
    return this.name;
  }

  async load(_call?: CallOptions): Promise<void> {
    await this.opening.get();
    this.isLoaded = true;
  }

  isPaid(): boolean {
    return (this.opening.handle?.info().host ?? null) !== null;
  }

  async close(): Promise<void> {
    this.isLoaded = false;
    await this.opening.close();
  }

  abstract health(): Promise<Record<string, unknown>>;

  problem(): string | undefined {
    return this.isLoaded ? undefined : "it is not loaded";
  }

  handle(): Promise<H> {
    return this.opening.get();
  }
}
