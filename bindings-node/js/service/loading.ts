/** Loading the parts of a service: once for everybody, and how far it is. */

import type { Progress } from "../generated/answers.js";
import { Refused } from "./failures.js";
import type { Part } from "./router.js";
import type { Settled } from "./settings.js";

/** How often the log says how far loading is. */
const LOG_PROGRESS_MS = 5000;

function inWords(event: Progress): string {
  if (!("file" in event)) return event.type === "waiting" ? event.reason : event.type;
  return event.done && event.of ? `${event.file} ${Math.floor((100 * event.done) / event.of)}%` : event.file;
}

export class Loading {
  readonly #parts: readonly Part[];
  readonly #settings: Settled;
  readonly #stop = new AbortController();
  /** How far each part is. */
  readonly #far = new Map<Part, string>();
  #loading: Promise<void> | undefined;
  /** Why requests are refused, while parts are loaded in the background. */
  #refusal: string | undefined;

  constructor(parts: readonly Part[], settings: Settled) {
    this.#parts = parts;
    this.#settings = settings;
  }

  /** Loads everything, once. After a failure the next call tries again. */
  load(): Promise<void> {
    this.#loading ??= this.#all().catch((error: unknown) => {
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }

  /** The same, while requests are refused instead of waiting. */
  async start(): Promise<void> {
    this.#refusal = "it is loading; see /ready";
    try {
      await this.load();
      this.#refusal = undefined;
    } catch (error) {
      this.#refusal = "it cannot be loaded";
      throw error;
    }
  }

  /** What each part waits for, while they are loaded in the background. */
  problems(): Record<string, string> | undefined {
    if (this.#refusal === undefined) return undefined;
    return Object.fromEntries(this.#parts.map((part) => [part.name, this.#far.get(part) ?? "it is waiting to be loaded"]));
  }

  /** Refuses a request that would have to wait for what is loaded in the background. */
  check(): void {
    if (this.#refusal === undefined) return;
    const message = `the service is not ready yet: ${this.#refusal}`;
    throw new Refused(503, "unavailable", message, { why: "loading", retryAfterMs: 5000 });
  }

  /** Stops what is being loaded. */
  stop(): void {
    this.#stop.abort();
  }

  async #all(): Promise<void> {
    for (const part of this.#parts) await this.#one(part);
  }

  async #one(part: Part): Promise<void> {
    const { log, apiKey } = this.#settings;
    const began = performance.now();
    let told = began;
    log({ level: "INFO", message: `loading ${part.title()}` });
    this.#far.set(part, "loading");
    const onProgress = (event: Progress): void => {
      this.#far.set(part, inWords(event));
      if (performance.now() - told < LOG_PROGRESS_MS) return;
      told = performance.now();
      log({ level: "INFO", message: `loading ${part.title()}: ${this.#far.get(part)}` });
    };
    try {
      await part.load({ signal: this.#stop.signal, onProgress });
    } catch (error) {
      log({ level: "ERROR", message: `${part.title()} cannot be loaded`, problem: (error as Error).message });
      throw error;
    }
    this.#far.set(part, "loaded");
    const seconds = Math.round(performance.now() - began) / 1000;
    log({ level: "INFO", message: `loaded ${part.title()}`, seconds, problem: part.problem() });
    if (apiKey === undefined && part.isPaid?.()) {
      const message = "API_KEY is not set: whoever reaches this service uses hosted models at its expense";
      log({ level: "WARNING", message });
    }
  }
}
