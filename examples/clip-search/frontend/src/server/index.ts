/** Keeps the vectors true to the folder, and finds the images nearest to a text or an image. */

import { setTimeout as pause } from "node:timers/promises";

import { AyniError, type CallOptions, InvalidRequest, type Progress, topK } from "ayni";

import type { Embedded, Embeddings } from "./embeddings.ts";
import { type Folder, hashOf, type ImageFile, typeOf } from "./folder.ts";
import type { VectorStore } from "./store.ts";

export interface IndexState {
  /** Which model made the vectors; null before the first. */
  model: string | null;
  /** Who embeds: `local`, or the backend of a hosted service. */
  backend: string;
  images: number;
  /** Whether the folder has been looked through since the start. */
  scanned: boolean;
  /** How many of the images can be found. */
  indexed: number;
  /** Whether images are being embedded now. */
  running: boolean;
  /** What is waited for: a Space that wakes up, a model that loads. */
  waiting: { reason: string; seconds: number } | null;
  problem: { kind: string; message: string; backend: string | null; retryable: boolean; retry_after: number | null } | null;
  /** Images that the model cannot read, and why. */
  unreadable: { name: string; reason: string }[];
  /** The model whose vectors were dropped because another has taken its place. */
  replaced: string | null;
  /** Another number where the images are others. */
  version: number;
  largest_bytes: number;
}

type Now = Pick<IndexState, "running" | "waiting" | "problem" | "replaced">;

export interface Found {
  matches: { name: string; hash: string; score: number }[];
  model: string;
  /** How many images were compared with, and how many there are. */
  searched: number;
  images: number;
}

export type Query = { text: string } | { image: Uint8Array } | { name: string };

const AT_ONCE = 8;
const LOOK_AGAIN_MS = 3000;
/** After a failure that waiting does not mend: somebody has to change a setting. */
const LOOK_AGAIN_AFTER_REFUSAL_MS = 60_000;
/** States come no faster than this. */
const STATE_GAP_MS = 100;

export class ImageIndex {
  readonly folder: Folder;
  readonly #store: VectorStore;
  readonly #embeddings: Embeddings;
  readonly #largest: number;
  readonly #stop = new AbortController();
  readonly #unreadable = new Map<string, string>();
  #now: Now = { running: false, waiting: null, problem: null, replaced: null };
  #backend = "";
  #version = 0;
  #isScanned = false;
  #changes = 0;
  #waiters = new Set<() => void>();
  #poke: () => void = () => undefined;

  constructor(folder: Folder, store: VectorStore, embeddings: Embeddings, largestBytes: number) {
    this.folder = folder;
    this.#store = store;
    this.#embeddings = embeddings;
    this.#largest = largestBytes;
  }

  /** Fails where the settings are wrong. Then it goes on in the background until `close`. */
  async start(): Promise<void> {
    this.#backend = (await this.#embeddings.open()).info().backend;
    await this.folder.open();
    void this.#run();
  }

  close(): void {
    this.#stop.abort();
    this.#poke();
  }

  /** Looks at the folder now instead of in a while. */
  lookNow(): void {
    this.#poke();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const woken = new Promise<void>((resolve) => (this.#poke = resolve));
      await this.#pass();
      const { problem } = this.#now;
      const wait = problem && !problem.retryable ? LOOK_AGAIN_AFTER_REFUSAL_MS : Math.max(LOOK_AGAIN_MS, 1000 * (problem?.retry_after ?? 0));
      const timer = new AbortController();
      await Promise.race([woken, pause(wait, undefined, { signal: timer.signal, ref: false })]).catch(() => undefined);
      timer.abort();
    }
  }

  async #pass(): Promise<void> {
    const tried = new Set<string>();
    try {
      for (;;) {
        const isOther = await this.folder.scan();
        if (isOther || !this.#isScanned) {
          this.#isScanned = true;
          this.#tell({}, true);
        }
        const [batch, all] = [this.#missing(tried), new Set([...this.folder.images.values()].map(({ hash }) => hash))];
        for (const hash of this.#unreadable.keys()) if (!all.has(hash)) this.#unreadable.delete(hash);
        await this.#store.keep(all);
        if (batch.length === 0 || this.#stop.signal.aborted) break;
        this.#tell({ running: true });
        for (const { hash } of batch) tried.add(hash);
        await this.#embed(batch);
        this.#tell({ waiting: null, problem: null });
      }
      // Nothing is left to do, so nothing keeps it from being done.
      if (this.#now.running || this.#now.problem) this.#tell({ running: false, waiting: null, problem: null });
    } catch (error) {
      this.#tell({ running: false, waiting: null, problem: problemOf(error) });
    }
  }

  /** The next images without a vector, each content once. */
  #missing(tried: ReadonlySet<string>): ImageFile[] {
    const missing = new Map<string, ImageFile>();
    for (const image of this.folder.images.values()) {
      const { hash } = image;
      if (!this.#store.get(hash) && !this.#unreadable.has(hash) && !tried.has(hash)) missing.set(hash, image);
      if (missing.size === AT_ONCE) break;
    }
    return [...missing.values()];
  }

  /** Embeds images. Where one of them cannot be read, the others still are. */
  async #embed(images: readonly ImageFile[]): Promise<void> {
    const read = await Promise.all(images.map(({ name }) => this.folder.read(name).catch(() => undefined)));
    const inputs = read.filter((bytes) => bytes !== undefined && this.#isReadable(bytes)) as Buffer[];
    if (inputs.length === 0) return;
    try {
      const found = await this.#embeddings.embed(inputs, { signal: this.#stop.signal, onProgress: (event) => this.#progress(event) });
      await this.#put(found, inputs);
    } catch (error) {
      if (!(error instanceof AyniError) || error.code !== "invalid_request") throw error;
      const [only] = inputs;
      if (inputs.length === 1 && only) this.#unreadable.set(hashOf(only), error.message);
      else for (const image of images) await this.#embed([image]);
    }
  }

  #isReadable(bytes: Uint8Array): boolean {
    const reason = bytes.byteLength > this.#largest ? `larger than ${this.#largest} bytes` : typeOf(bytes) ? undefined : "no JPEG, PNG, WebP, GIF or BMP";
    if (reason) this.#unreadable.set(hashOf(bytes), reason);
    return reason === undefined;
  }

  /** Stores vectors by the content that they are of. A new model's come in place of all others. */
  async #put({ model, vectors }: Embedded, inputs: readonly Uint8Array[]): Promise<void> {
    const replaced = await this.#store.add(model, inputs.map((bytes, at) => [hashOf(bytes), vectors[at] as Float32Array] as const));
    if (replaced) this.#tell({ replaced: replaced.name });
    else this.#tell({});
  }

  #progress(event: Progress): void {
    if (event.type === "waiting") this.#tell({ waiting: { reason: event.reason, seconds: Math.floor(event.elapsed_ms / 1000) } });
    if (event.type === "retrying") this.#tell({ waiting: { reason: event.kind, seconds: 0 } });
    if (event.type === "reading" || event.type === "download") this.#tell({ waiting: { reason: "loading", seconds: 0 } });
  }

  #tell(change: Partial<Now>, isOther = false): void {
    this.#now = { ...this.#now, ...change };
    if (isOther) this.#version++;
    this.#changes++;
    for (const waiter of this.#waiters) waiter();
    this.#waiters.clear();
  }

  state(): IndexState {
    const images = [...this.folder.images.values()];
    const unreadable = images.flatMap(({ name, hash }) => {
      const reason = this.#unreadable.get(hash);
      return reason === undefined ? [] : [{ name, reason }];
    });
    return {
      model: this.#store.model?.name ?? null,
      backend: this.#backend,
      images: images.length,
      scanned: this.#isScanned,
      indexed: images.filter(({ hash }) => this.#store.get(hash)).length,
      ...this.#now,
      unreadable,
      version: this.#version,
      largest_bytes: this.#largest,
    };
  }

  /** The state now and after every change, until the signal. */
  async *states(signal: AbortSignal): AsyncGenerator<IndexState, void, undefined> {
    let wake: () => void = () => undefined;
    signal.addEventListener("abort", () => wake(), { once: true });
    for (let seen = -1; !signal.aborted; ) {
      if (seen === this.#changes) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          this.#waiters.add(resolve);
        });
        this.#waiters.delete(wake);
        continue;
      }
      seen = this.#changes;
      yield this.state();
      await pause(STATE_GAP_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Stores an uploaded image; it is embedded in the background. */
  async add(name: string, bytes: Uint8Array): Promise<string> {
    const stored = await this.folder.add(name, bytes);
    this.#tell({}, true);
    this.#poke();
    return stored;
  }

  async search(query: Query, most: number, call: CallOptions): Promise<Found> {
    const own = "name" in query ? this.folder.images.get(query.name) : undefined;
    const { vector, model } = await this.#vectorOf(query, own, call);
    const seen = new Set(own ? [own.hash] : []);
    const compared = [...this.folder.images.values()].flatMap((image) => {
      const found = this.#store.get(image.hash);
      // Of equal images one is enough.
      if (!found || seen.has(image.hash)) return [];
      seen.add(image.hash);
      return [{ image, found }];
    });
    const best = compared.length ? topK(compared.map(({ found }) => found), vector, most) : [];
    const matches = best.map(({ index, score }) => {
      const { name, hash } = (compared[index] as (typeof compared)[number]).image;
      return { name, hash, score };
    });
    return { matches, model, searched: compared.length, images: this.folder.images.size };
  }

  async #vectorOf(query: Query, own: ImageFile | undefined, call: CallOptions): Promise<{ vector: Float32Array; model: string }> {
    const known = own && this.#store.get(own.hash);
    if (known && this.#store.model) return { vector: known, model: this.#store.model.name };
    const input = "text" in query ? query.text : "image" in query ? query.image : await this.folder.read(query.name);
    if (typeof input !== "string" && !typeOf(input)) throw new InvalidRequest("this is no image that can be read: JPEG, PNG, WebP, GIF or BMP");
    const found = await this.#embeddings.embed([input], call);
    await this.#put(found, typeof input === "string" || !own ? [] : [input]);
    if (this.#now.problem) this.#poke();
    return { vector: found.vectors[0] as Float32Array, model: found.model.name };
  }
}

function problemOf(error: unknown): NonNullable<IndexState["problem"]> {
  if (!(error instanceof AyniError)) {
    // Of the disk: a folder that may not be read, no room left.
    const message = error instanceof Error ? error.message : String(error);
    return { kind: "unexpected", message, backend: null, retryable: true, retry_after: null };
  }
  const { code: kind, message, backend = null, retryable, retryAfterMs } = error;
  // What the library gave up after its own attempts is asked for again with the next look at the folder.
  const mends = retryable || ["unavailable", "cold_start", "timeout", "rate_limited", "interrupted", "offline"].includes(kind);
  return { kind, message, backend, retryable: mends, retry_after: retryAfterMs === undefined ? null : retryAfterMs / 1000 };
}
