/** The addon: its functions as TypeScript sees them, loaded at the first use. */

import { errorFrom } from "./failure.js";
import { Unsupported } from "./generated/errors.js";

/** What a native function gives when it fails. */
export interface Failed {
  readonly error: string;
}
export type Outcome<T> = T | Failed;
type Promised<T> = Promise<Outcome<T>>;

export interface NativeCall {
  cancel(): void;
  progress(): Outcome<string>;
  finish(): void;
}
export interface NativeEmbedded {
  f32?: Float32Array;
  f16?: Uint16Array;
  int8?: Int8Array;
  scales?: Float32Array;
  ubinary?: Uint8Array;
  count: number;
  json: string;
}
interface NativeHandle {
  info(): Outcome<string>;
}
interface Loadable extends NativeHandle {
  ready(call?: NativeCall): Promised<void>;
}
export interface NativeEmbedder extends Loadable {
  space(): Outcome<string>;
  window(): Outcome<number | null>;
  countTokens(text: string, role: string): Outcome<number>;
  verify(call?: NativeCall): Promised<string>;
  embed(fields: string, encoding: string | undefined, call?: NativeCall): Promised<NativeEmbedded>;
  embedStream(fields: string, encoding: string | undefined, call?: NativeCall): Promised<NativeVectorStream>;
}
export interface NativeVectorStream {
  push(inputs: string): Promised<boolean>;
  finish(): void;
  next(): Promised<NativeEmbedded | null>;
  close(): void;
}
export interface NativeChat extends Loadable {
  window(): Outcome<number | null>;
  countTokens(fields: string): Outcome<number>;
  chat(fields: string, call?: NativeCall): Promised<string>;
  stream(fields: string, call?: NativeCall): Promised<NativeEventStream>;
}
export interface NativeEventStream {
  next(): Promised<string>;
  close(): void;
}
export interface NativeModes {
  defaultMode(): string | null;
  describe(): Outcome<string>;
  chat(mode?: string): Promised<NativeChat>;
  warmUp(call?: NativeCall): Promised<void>;
}
export interface NativePictures {
  images: Buffer[];
  mediaTypes: string[];
  json: string;
}
export interface NativeImages extends Loadable {
  generate(fields: string, call?: NativeCall): Promised<NativePictures>;
  refine(fields: string, call?: NativeCall): Promised<NativePictures>;
  replay(images: string, call?: NativeCall): Promised<NativePictures>;
}
export interface NativeProcurement extends NativeHandle {
  withEmbedder(embedder: NativeEmbedder): NativeProcurement;
  call(operation: string, fields: string, call?: NativeCall): Promised<string>;
}
export interface NativeAnalysis {
  json(): Outcome<string>;
  pdf(page: string): Promised<Buffer>;
}
export interface NativePieces {
  next(): Promised<Buffer | null>;
  close(): void;
}
interface Opens<H> {
  open(fields?: string, variables?: string): Promised<H>;
}
type NativeServed = NativeChat | NativeEmbedder | NativeImages;
export interface NativeOpenAiRequest {
  model(): string | null;
  streams(): boolean;
  answer(served: NativeServed, id: string, created: number, call?: NativeCall): Promised<string>;
  events(
    served: NativeServed,
    id: string,
    created: number,
    requestId?: string,
    call?: NativeCall,
  ): Promised<NativeOpenAiEvents>;
}
/** The routes whose bodies core reads. */
export type OpenAiRouteName = "chat" | "completions" | "responses" | "embeddings" | "images" | "edits" | "tokens";
export interface NativeOpenAiEvents {
  next(): Promised<{ text: string; kind?: string }>;
  close(): void;
}

/** Everything that the addon exports. */
export interface Native {
  version(): string;
  errorKinds(): string[];
  Call: new (
    timeoutMs?: number,
    connectMs?: number,
    firstByteMs?: number,
    idleMs?: number,
    notify?: () => void,
  ) => NativeCall;
  Embedder: Opens<NativeEmbedder>;
  Chat: Opens<NativeChat>;
  ImageGenerator: Opens<NativeImages>;
  Procurement: Opens<NativeProcurement>;
  Modes: { open(variables?: string): Promised<NativeModes> };
  OpenAiRequest: {
    read(route: OpenAiRouteName, body: Buffer, contentType?: string): Promised<NativeOpenAiRequest>;
  };
  openaiModels(names: string[], created: number, name?: string): Outcome<string>;
  checkBody(body: Buffer, contentType?: string): Outcome<boolean>;
  failureBody(fields: string): Outcome<string>;
  statuses(): Outcome<string>;
  topK(flat: Float32Array, width: number, query: Float32Array, k: number): Outcome<string>;
  similarity(a: Float32Array, b: Float32Array): Outcome<number>;
  analyse(
    procurement: NativeProcurement,
    fields: string,
    chat: NativeChat,
    question: string,
    call?: NativeCall,
  ): Promised<NativeAnalysis>;
  tenderFile(procurement: NativeProcurement, fields: string, form: string, call?: NativeCall): Promised<Buffer>;
  exportRecords(
    procurement: NativeProcurement,
    kind: string,
    fields: string,
    form: string,
    call?: NativeCall,
  ): Promised<NativePieces>;
  models(fields: string, variables?: string, call?: NativeCall): Promised<string>;
  health(fields: string, variables?: string, call?: NativeCall): Promised<string>;
  hardware(variables?: string): Promised<string>;
  knownModels(): Outcome<string>;
  prometheusText(): string;
  /** Only in builds for tests. */
  panicInside?(sync: boolean): Outcome<number> | Promised<number>;
}

let loaded: Native | undefined;

/** The addon. Importing the package doesn't load it, so `next.config` and bundlers may import it anywhere. */
export function native(): Native {
  if (loaded === undefined) {
    try {
      loaded = require("../../native.cjs") as Native;
    } catch (cause) {
      throw new Unsupported(cause instanceof Error ? cause.message : "the native part of ayni cannot be loaded", { cause });
    }
  }
  return loaded;
}

/** The answer; throws the error if it is one. */
export function unwrap<T>(outcome: Outcome<T>): T {
  if (typeof outcome === "object" && outcome !== null && typeof (outcome as Failed).error === "string") {
    throw errorFrom(JSON.parse((outcome as Failed).error));
  }
  return outcome as T;
}
