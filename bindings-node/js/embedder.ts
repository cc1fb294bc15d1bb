/** Vectors for texts and images. */

import type { EmbeddingSpace, Parity, Route, Usage } from "./generated/answers.js";
import { type CallOptions, MAX_ITEMS, RunningCall, jsonOf, reading, run, split } from "./calls.js";
import type { EmbedderConfig } from "./generated/configs.js";
import { InvalidRequest } from "./generated/errors.js";
import type { EmbedRequest } from "./generated/requests.js";
import { LoadableHandle, type OpenOptions, configText, opened, variablesText } from "./handle.js";
import { type ImageSource, base64Of } from "./images-in.js";
import { type NativeEmbedded, type NativeEmbedder, native, unwrap } from "./native.js";

/** Something to embed: a string is text, everything else an image. */
export type EmbedInput = string | ImageSource;

/** The options of an embedding. */
export interface EmbedOptions extends CallOptions, Omit<EmbedRequest, "inputs"> {
  /** The numbers: `f32` (the default), `f16` (their bits), `int8` with `scales`, or `ubinary`, one bit a number. */
  encoding?: "f32" | "f16" | "int8" | "ubinary" | undefined;
}

/** An array of numbers of one of the encodings. */
export type Numbers = Float32Array | Uint16Array | Int8Array | Uint8Array;

/** How many inputs of a list go into a stream at once. */
const INPUTS_AT_ONCE = 64;

/** The vectors of a call, and where they came from. */
export class EmbedResponse {
  /** All numbers, vector after vector. */
  readonly flat: Numbers;
  /** How many vectors there are. */
  readonly count: number;
  /** The positions of the inputs that were cut to the model's window, as far as the backend says so. */
  readonly truncated: readonly number[];
  readonly usage: Usage;
  readonly route: Route;
  /** Which vectors these may be compared with. */
  readonly space: EmbeddingSpace;
  /** Of `int8`: the scale of each vector; number × scale ≈ original. */
  readonly scales: Float32Array | undefined;
  #views: Numbers[] | undefined;

  /** @internal */
  constructor(found: NativeEmbedded) {
    const flat = found.f32 ?? found.f16 ?? found.int8 ?? found.ubinary;
    this.flat = flat ?? new Float32Array();
    this.count = found.count;
    this.scales = found.scales ?? undefined;
    const rest = JSON.parse(found.json) as Pick<EmbedResponse, "truncated" | "usage" | "route" | "space">;
    this.truncated = rest.truncated;
    this.usage = rest.usage;
    this.route = rest.route;
    this.space = rest.space;
  }

  /** How many numbers of the array a vector has. */
  get width(): number {
    return this.count === 0 ? 0 : this.flat.length / this.count;
  }

  /** One view for each input, in their order, on the same memory. */
  get vectors(): readonly Float32Array[] {
    if (this.#views === undefined) {
      const { flat, width, count } = this;
      this.#views = Array.from({ length: count }, (_, index) => flat.subarray(index * width, (index + 1) * width));
    }
    return this.#views as Float32Array[];
  }

  /** The first vector. */
  get vector(): Float32Array {
    return this.vectors[0] as Float32Array;
  }

  /** One array of numbers for each input, as JSON and most databases want them. */
  toArrays(): number[][] {
    const { flat, width, count } = this;
    const rows = new Array<number[]>(count);
    for (let index = 0, at = 0; index < count; index++) {
      // A loop, because `Array.from` takes twenty times as long.
      const row = new Array<number>(width);
      for (let column = 0; column < width; column++) row[column] = flat[at++] as number;
      rows[index] = row;
    }
    return rows;
  }

  toJSON(): object {
    const { truncated, usage, route, space } = this;
    return { vectors: this.toArrays(), truncated, usage, route, space };
  }
}

function listOf(inputs: EmbedInput | Iterable<EmbedInput>): EmbedInput[] {
  return reading("the inputs", () => {
    if (typeof inputs === "string" || isImage(inputs)) return [inputs];
    const tooMany = () => new InvalidRequest(`more than ${MAX_ITEMS} inputs in one call; use \`embedStream\``);
    if (Array.isArray(inputs) && inputs.length > MAX_ITEMS) throw tooMany();
    if (typeof (inputs as Iterable<EmbedInput> | null)?.[Symbol.iterator] !== "function") {
      throw new InvalidRequest("the inputs are a text, an image, or a list of them");
    }
    const list: EmbedInput[] = [];
    for (const input of inputs as Iterable<EmbedInput>) {
      if (list.push(input) > MAX_ITEMS) throw tooMany();
    }
    return list;
  });
}

function isImage(value: unknown): value is ImageSource {
  if (typeof value !== "object" || value === null) return false;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof Blob || value instanceof URL) return true;
  return "path" in value && !(Symbol.iterator in value);
}

/** Inputs as native code reads them. */
async function readable(inputs: EmbedInput[]): Promise<object[]> {
  const made = new Array<object>(inputs.length);
  for (const [index, input] of inputs.entries()) {
    if (typeof input === "string") made[index] = { text: input };
    else if (reading("the inputs", () => isImage(input))) made[index] = { image: await base64Of(input as ImageSource) };
    else throw new InvalidRequest(`input ${index} is neither text nor an image`, { context: { input: String(index) } });
  }
  return made;
}

/** Turns texts and images into vectors. */
export class Embedder extends LoadableHandle<NativeEmbedder> {
  /** The embedder that `EMBEDDING_PROVIDER` and its companions name. */
  static async fromEnv(env?: OpenOptions["env"]): Promise<Embedder> {
    return new Embedder(await opened(native().Embedder, undefined, variablesText({ env })));
  }

  /** Which vectors its own may be compared with. Complete once a local model is loaded. */
  space(): EmbeddingSpace {
    return JSON.parse(unwrap(this.native.space())) as EmbeddingSpace;
  }

  /** The most tokens of a text; null where it is not known: for most hosted backends, and for a local model until `ready`. */
  window(): number | null {
    return unwrap(this.native.window());
  }

  /** How many tokens a text has for a local model that is `ready`, before it is cut to `window`. */
  countTokens(text: string, options?: { role?: EmbedOptions["role"] }): number {
    if (typeof text !== "string") throw new InvalidRequest("the text is no string");
    const role = reading("the options", () => jsonOf("`role`", options?.role ?? null));
    return unwrap(this.native.countTokens(text, role));
  }

  /**
   * Measures how close the vectors of a local model are to those that the same weights make in f32. Loads a second copy of
   * the weights for that time.
   */
  async verify(options?: CallOptions): Promise<Parity> {
    return JSON.parse(await run(split(options)[1], (call) => this.native.verify(call))) as Parity;
  }

  /** Embeds a text, an image, or any number of them. */
  async embed(inputs: EmbedInput | Iterable<EmbedInput>, options?: EmbedOptions): Promise<EmbedResponse> {
    const handle = this.native;
    const [{ encoding, ...request }, call] = split(options);
    const given = await readable(listOf(inputs));
    const fields = jsonOf("the request", { inputs: given, ...request });
    return new EmbedResponse(await run(call, (running) => handle.embed(fields, encodingOf(encoding), running)));
  }

  /**
   * Embeds inputs as they arrive, in order. Each response is for the next few of them, and its positions count from the
   * first of these. At most about two thousand inputs are held; no more are read until vectors are taken. What the inputs
   * throw is thrown after the vectors of those before it. Leaving the loop stops the work.
   */
  async *embedStream(
    inputs: AsyncIterable<EmbedInput> | Iterable<EmbedInput>,
    options?: EmbedOptions,
  ): AsyncGenerator<EmbedResponse, void, undefined> {
    const [{ encoding, ...request }, callOptions] = split(options);
    const fields = jsonOf("the request", request);
    const call = new RunningCall(callOptions, true);
    call.check();
    try {
      const stream = await call.step(this.native.embedStream(fields, encodingOf(encoding), call.native));
      let thrown: { value: unknown } | undefined;
      const feeding = (async () => {
        try {
          for await (const some of portions(inputs)) {
            if (!unwrap(await stream.push(jsonOf("the inputs", await readable(some))))) return;
          }
        } catch (value) {
          thrown = { value };
        } finally {
          stream.finish();
        }
      })();
      try {
        for (;;) {
          const part = await call.step(stream.next());
          if (part === null) break;
          yield new EmbedResponse(part);
        }
        await feeding;
        if (thrown) throw thrown.value;
      } finally {
        call.native?.cancel();
        stream.close();
      }
    } finally {
      call.finish();
    }
  }
}

function encodingOf(encoding: unknown): string | undefined {
  if (encoding === undefined || typeof encoding === "string") return encoding;
  throw new InvalidRequest("`encoding` is no string; valid: f32, f16, int8, ubinary");
}

async function* portions(inputs: AsyncIterable<EmbedInput> | Iterable<EmbedInput>): AsyncGenerator<EmbedInput[]> {
  const form = reading("the inputs", () => {
    if (typeof inputs === "string" || isImage(inputs)) return undefined;
    if (typeof (inputs as Iterable<EmbedInput> | null)?.[Symbol.iterator] === "function") return "list";
    return typeof (inputs as AsyncIterable<EmbedInput> | null)?.[Symbol.asyncIterator] === "function" ? "async" : undefined;
  });
  if (form === undefined) throw new InvalidRequest("the inputs of a stream are a list or an async iterable");
  if (form === "list") {
    let some: EmbedInput[] = [];
    for (const input of inputs as Iterable<EmbedInput>) {
      if (some.push(input) === INPUTS_AT_ONCE) {
        yield some;
        some = [];
      }
    }
    if (some.length > 0) yield some;
    return;
  }
  // One by one, because the next may be slow.
  for await (const input of inputs as AsyncIterable<EmbedInput>) yield [input];
}

/** Opens an embedder: a configuration, or the reference of a local model (a folder, or `org/name[@revision]` on the Hub). */
export async function openEmbedder(config: EmbedderConfig | string, options?: OpenOptions): Promise<Embedder> {
  return new Embedder(await opened(native().Embedder, configText(config), variablesText(options)));
}
