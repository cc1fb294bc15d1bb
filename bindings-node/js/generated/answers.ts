// Written by `make gen` from the code. Change the code, not this file.

import type { ErrorKind } from "./kinds.js";

/** Another answer to the same request. */
export interface Alternative {
  /** The answer's text. */
  text: string;
  /** The model's reasoning. */
  reasoning: string | null;
  /** The tool calls that the model makes. */
  tool_calls: readonly ToolCall[];
  /** Why the answer ended. */
  finish: FinishReason;
  /** Log-probabilities. */
  logprobs: readonly TokenLogprob[];
}

/** A source that a part of an answer rests on. */
export interface Annotation {
  /** What kind of source it is. */
  kind: AnnotationKind;
  /** Where the source is. */
  url: string | null;
  /** The source's title, or a file's name. */
  title: string | null;
  /** The provider's id of the file. */
  file_id: string | null;
  /** The words of the source that support the answer. */
  quote: string | null;
  /** The first character of the answer's text that the source supports. */
  start: number | null;
  /** The character after the last one. */
  end: number | null;
  /** The annotation in the provider's own words. */
  data: unknown;
}

/** What kind of source an `Annotation` names. */
export type AnnotationKind = "url" | "file" | "document" | "other";

/** A piece of a message. */
export type AnswerPart =
  | { type: "text"; text: string }
  | { type: "image"; image: string; detail?: ImageDetail | undefined }
  | { type: "image_url"; url: string; media_type?: string | undefined; detail?: ImageDetail | undefined }
  | { type: "file"; file: FileData; name?: string | undefined }
  | { type: "file_url"; url: string; media_type?: string | undefined; name?: string | undefined }
  | { type: "file_id"; id: string }
  | { type: "cache_point"; ttl: CacheTtl }
  | { type: "server_tool_call"; id: string; name: string; arguments: unknown }
  | { type: "server_tool_result"; id: string; name: string; result: unknown }
  | { type: "raw"; data: unknown };

/**
 * Identity of a backend: fixed when it is built. Of a local model, precision and prompts are known once it is
 * loaded.
 */
export interface BackendInfo {
  /** The backend's name in configuration, errors, logs and metrics: `groq`, `huggingface`, `scripted`. */
  backend: string;
  /** The model, as the backend spells it. */
  model: string;
  /** The host it talks to; `null` for local backends. */
  host: string | null;
  /** The device of a local model: `cpu` or `cuda:0`. */
  device: string | null;
  /** The precision in which a local model multiplies: `f32`, `bf16` or `int8`. */
  precision: string | null;
  /** Why it is this one: a sentence for people. */
  precision_reason: string | null;
  /** Where a local embedder has its prompts from: `repository`, `catalogue` or `none`. */
  prompts: string | null;
  /** Whether a local chat model reads images, where that is known. */
  reads_images?: boolean | undefined;
  /** What a local image model draws with, once it is loaded. */
  image_model?: ImageModelInfo | undefined;
  /** Its limits. */
  limits: Limits;
  /** Whether the first request may have to wait until a model or container has started. */
  cold_starts: boolean;
}

/** How long a prompt cache keeps what is before a `Part::CachePoint`. */
export type CacheTtl = "short" | "hour";

/**
 * One event of a streamed answer. In JSON its `type` says what it is, and the rest of its fields are beside it:
 * `{"type": "text", "text": "ho"}`.
 */
export type ChatEvent =
  | { type: "started"; route: Route }
  | { type: "text"; text: string }
  | { type: "reasoning"; text: string }
  | { type: "tool_call_started"; index: number; id: string; name: string }
  | { type: "tool_call_arguments"; index: number; piece: string }
  | { type: "tool_call"; index: number; call: ToolCall }
  | { type: "part"; part: AnswerPart }
  | { type: "annotation"; annotation: Annotation }
  | { type: "metadata"; metadata: ResponseMetadata }
  | { type: "logprobs"; logprobs: readonly TokenLogprob[] }
  | { type: "finish"; reason: FinishReason; usage: Usage; provider_data: Readonly<Record<string, unknown>> };

/** An answer, and where it came from. */
export interface ChatResponse {
  /** The answer's text; empty where the model only calls tools. */
  text: string;
  /** The model's reasoning, kept apart from the answer. */
  reasoning: string | null;
  /** The tool calls that the model makes. */
  tool_calls: readonly ToolCall[];
  /**
   * The answer piece by piece, where it holds more than text and tool calls: texts, images, files, and the tools
   * that the provider ran. Empty otherwise.
   */
  parts: readonly AnswerPart[];
  /** The sources that the answer rests on. */
  annotations: readonly Annotation[];
  /** Why the answer ended. */
  finish: FinishReason;
  /** Tokens used, where the backend reports them. */
  usage: Usage;
  /** Log-probabilities, where they were asked for and the backend reports them. */
  logprobs: readonly TokenLogprob[];
  /** Data about the whole answer that the provider wants back with the next request. */
  provider_data: Readonly<Record<string, unknown>>;
  /** What the provider says about the answer. */
  metadata: ResponseMetadata;
  /** The other answers, where `choices` asked for several. */
  alternatives?: readonly Alternative[] | undefined;
  /** Who served. */
  route: Route;
}

/** The vectors, and where they came from. */
export interface EmbedResponse {
  /** One vector an input, in the order of the inputs. */
  vectors: readonly (readonly number[])[];
  /** How many vectors there are. */
  count: number;
  /** How many numbers a vector has. */
  width: number;
  /** The positions of the inputs that were cut to the model's window, as far as the backend says so. */
  truncated: readonly number[];
  /** Tokens used, where the backend says so. */
  usage: Usage;
  /** Who served. */
  route: Route;
}

/**
 * What makes vectors comparable. Two backends may stand in for each other, and share a cache, only if their spaces
 * are equal. A field that only one of them knows makes them differ. Models in this process have a fingerprint of
 * all that decides their vectors. Two spaces with fingerprints are equal if these and the widths are, whatever the
 * models are called: a model from the Hub and a copy in a folder make vectors that compare, and two folders of the
 * same name need not.
 */
export interface EmbeddingSpace {
  /** The model, as its publisher names it: `sentence-transformers/all-MiniLM-L6-v2`. */
  model: string;
  /** The revision of the weights. */
  revision: string | null;
  /** The width of a vector; `null` where it is not known yet. */
  dimensions: number | null;
  /** How the vectors of tokens become one vector. */
  pooling: Pooling | null;
  /** Whether vectors have unit length; true by default. */
  normalised: boolean;
  /** The set of prompts put before queries and documents. */
  prompt_set: string | null;
  /**
   * A hash of what decides the vectors but their width: weights, configuration, tokenizer, pooling, prompts. Models
   * in this process have one.
   */
  fingerprint?: string | undefined;
}

/** An encoded file as a `data:` URL, or as base64 whose first bytes tell the media type. */
export type FileData = string;

/** Why an answer ended; other words are the backend's own. */
export type FinishReason = "stop" | "length" | "tool_calls" | "content_filter" | (string & {});

/** What models in this process compute with where nothing else is configured. */
export interface Hardware {
  /** `cpu` or `cuda:0`. */
  device: string;
  /** The CPU's instruction set that the kernels use: `avx512-full`, `neon`, `portable`. */
  instruction_set: string;
  /** How many threads compute. */
  threads: number;
  /** The precision that `auto` means: `f32` or `bf16`. */
  precision: string;
  /** Why it is this one: a sentence for people. */
  precision_reason: string;
}

/** How closely a model looks at an image. */
export type ImageDetail = "auto" | "low" | "high" | "original";

/** What a local image model draws with: for health addresses and status panels. */
export interface ImageModelInfo {
  /** What the model was made for: `standard`, `lcm`, `turbo`, `lightning-4`. It decides which steps are legal. */
  recipe: string;
  /** The scheduler of requests without one. */
  scheduler: string;
  /** The steps of requests without any. */
  steps: number;
  /** The guidance of requests without one; up to 1 means none. */
  guidance: number;
  /** Width and height that the model was trained for. */
  size: [number, number];
  /** What makes it faster or smaller, in words. */
  optimisations: readonly string[];
  /** Bytes of the weights in memory. */
  weights_bytes: number;
  /** Bytes that images in progress may take beside them, when the model was loaded. */
  memory_bytes: number | null;
  /** What is done with images in which the safety checker finds something: `off`, `mark`, `blank`, `refuse`. */
  safety: string;
  /** Whether there is a safety checker, on or off. */
  has_safety_checker: boolean;
}

/**
 * How an image was made: all that is needed to make it again. It is in the image's own file, as JSON under the key
 * `ayni` of a PNG's text and as `ImageDescription` of a JPEG's or WebP's EXIF.
 */
export interface ImageReceipt {
  /** The engine and its version: `ayni 0.1.0`. */
  engine: string;
  /** `generate` or `refine`. */
  operation: string;
  /** The model's name. */
  model: string;
  /** SHA-256 of the files of its weights, in hex. */
  model_sha256: string;
  /** The LoRAs that applied, in order. */
  loras?: readonly LoraReceipt[] | undefined;
  /** `standard`, `lcm`, `turbo`, `lightning-4`. */
  recipe: string;
  /** Where it was computed. */
  device: string;
  /** In which precision. */
  precision: string;
  /** What the image shows. */
  prompt: string;
  /** What it must not show. */
  negative_prompt?: string | undefined;
  /** The seed of this image. */
  seed: number;
  /** How noise was made of the seed: `ayni`, `torch_cpu`, `torch_cuda`. */
  noise: string;
  /** Pixels of a row. */
  width: number;
  /** Rows. */
  height: number;
  /** Denoising steps. */
  steps: number;
  /** The guidance scale. */
  guidance: number;
  /** The scheduler. */
  scheduler: string;
  /** Layers of the text encoder that were left out. */
  clip_skip: number;
  /** Whether parentheses in the prompt are weights. */
  weighted: boolean;
  /** How much of an image was changed. */
  strength?: number | undefined;
  /** SHA-256 of the image that was refined. */
  input_sha256?: string | undefined;
  /** SHA-256 of the mask. */
  mask_sha256?: string | undefined;
  /**
   * Width and height of what was drawn, where the image that was refined is larger than the model draws: it was
   * enlarged.
   */
  drawn_size?: [number, number] | undefined;
  /** Whether the size was asked for, and not that of the image that was refined. */
  is_resized?: boolean | undefined;
  /** Whether the model's safety checker found something in the image. */
  is_flagged?: boolean | undefined;
  /** Whether the image is black because of that. */
  is_blanked?: boolean | undefined;
}

/** An image that was drawn again, and how far it is from the first. */
export interface ImageReplay {
  /** How the first was made. */
  receipt: ImageReceipt;
  /** The largest difference of a channel of a pixel, of 255. */
  max_difference: number;
  /** The mean difference. */
  mean_difference: number;
}

/** Images, and how they were generated. */
export interface ImageResponse {
  /** How many images there are. */
  count: number;
  /** The images, encoded, as base64. */
  images: readonly string[];
  /** The media type of each image. */
  media_types: readonly string[];
  /** The seed used, where the backend reports it. */
  seed: number | null;
  /** Width and height of the images. */
  size: [number, number] | null;
  /** The scheduler used, where the backend says so. */
  scheduler: string | null;
  /** The steps run, where the backend says so. */
  steps: number | null;
  /** The prompt as the backend rewrote it, where it did. */
  revised_prompt: string | null;
  /** What a local model's safety checker said of each image, where one ran. */
  safety?: readonly ImageSafety[] | undefined;
  /** Tokens used, where the backend says so. */
  usage: Usage;
  /** Who served; its `model` is the model. */
  route: Route;
}

/** What a safety checker said of an image, and what was done. */
export interface ImageSafety {
  /** Whether it found something. */
  flagged: boolean;
  /** Whether the image is black because of that. */
  blanked: boolean;
  /** What it found. */
  concepts: readonly SafetyConcept[];
}

/** A well-known embedding model, as its publisher documents it. It runs in this process, and may run elsewhere. */
export interface KnownModel {
  /** Its id on the Hub. */
  id: string;
  /** The width of its vectors. */
  dimensions: number;
  /** How the vectors of tokens become one vector; `null` for models of texts and images. */
  pooling: Pooling | null;
  /** The `model_type` of its configuration; `model2vec` for every table of vectors. */
  architecture: string;
  /** The most tokens of a text. */
  window: number;
  /** Its size. */
  parameters_in_millions: number;
  /** `English`, `Chinese` or `multilingual`. */
  languages: string;
  /** The licence of the weights; `null` where the publisher names none. */
  licence: string | null;
}

/** Limits that a backend declares. */
export interface Limits {
  /** The most inputs of one embedding request. Handles split larger requests. */
  max_batch: number | null;
  /** The most requests in flight for one credential. */
  max_concurrency: number | null;
  /** The most images of one generation request. */
  max_images: number | null;
}

/** A LoRA that applied. */
export interface LoraReceipt {
  /** Its file. */
  name: string;
  /** How strongly it applied. */
  weight: number;
  /** SHA-256 of the file, in hex. */
  sha256: string;
}

/** One of the vectors that are most similar to a query. */
export interface Match {
  /** Its position among the vectors. */
  index: number;
  /** The cosine similarity to the query. */
  score: number;
}

/** One mode as `GET /` and the start-up log show it. Holds no secret. */
export interface ModeInfo {
  /** The mode's name. */
  mode: string;
  /** What it is. */
  what: string;
  /** The model that answers, where there is one. */
  model?: string | undefined;
  /** Where requests go; `null` for what runs in this process. */
  endpoint?: string | undefined;
  /** What has to be mended before the mode can be used. */
  problem?: string | undefined;
}

/** How close vectors are to those of f32 on the CPU. */
export interface Parity {
  /** The precision that was measured: `f32`, `bf16` or `int8`. */
  precision: string;
  /** The lowest acceptable cosine: 0.99999 for f32, 0.9995 for bf16, 0.995 for int8. */
  bar: number;
  /** The cosine of each probe. */
  probes: readonly ProbeParity[];
}

/** How the vectors of tokens become one vector. */
export type Pooling = "mean" | "cls" | "last_token" | "max" | "weighted_mean";

/** How close one vector is to that of f32. */
export interface ProbeParity {
  /** What was embedded: a language, or the number of an image. */
  name: string;
  /** The cosine between the two vectors; null in JSON if one of them is none. */
  cosine: number | null;
}

/** Who a procurement backend is, and what its sources can do. */
export interface ProcurementInfo {
  /** The backend's name in configuration, errors, logs and metrics: `groq`, `huggingface`, `scripted`. */
  backend: string;
  /** The model, as the backend spells it. */
  model: string;
  /** The host it talks to; `null` for local backends. */
  host: string | null;
  /** The device of a local model: `cpu` or `cuda:0`. */
  device: string | null;
  /** The precision in which a local model multiplies: `f32`, `bf16` or `int8`. */
  precision: string | null;
  /** Why it is this one: a sentence for people. */
  precision_reason: string | null;
  /** Where a local embedder has its prompts from: `repository`, `catalogue` or `none`. */
  prompts: string | null;
  /** Whether a local chat model reads images, where that is known. */
  reads_images?: boolean | undefined;
  /** What a local image model draws with, once it is loaded. */
  image_model?: ImageModelInfo | undefined;
  /** Its limits. */
  limits: Limits;
  /** Whether the first request may have to wait until a model or container has started. */
  cold_starts: boolean;
  /** What each of its sources can do. */
  sources: readonly SourceInfo[];
}

/**
 * What a call tells the person who waits for it. In JSON its `type` says what it is, and durations are whole
 * milliseconds.
 */
export type Progress =
  | { type: "waiting"; reason: string; elapsed_ms: number }
  | { type: "retrying"; attempt: number; kind: ErrorKind; wait_ms: number }
  | { type: "falling_back"; from: string; to: string; kind: ErrorKind }
  | { type: "inputs"; done: number; of: number }
  | { type: "image_step"; step: number; of: number; preview: string | null }
  | { type: "reading"; file: string; rows: number; done: number; of: number | null }
  | { type: "download"; file: string; done: number; of: number | null };

/** What a provider says about an answer besides the answer. */
export interface ResponseMetadata {
  /** The provider's id of the answer. */
  id?: string | undefined;
  /** The tier of service that answered. */
  service_tier?: string | undefined;
  /** The configuration of the model that answered. */
  fingerprint?: string | undefined;
  /** Why the answer ended, as the provider spells it. */
  finish_reason?: string | undefined;
  /** Why the answer ended, in a sentence of the provider. */
  finish_message?: string | undefined;
  /** Why the answer ended, as the provider behind a router spells it. */
  native_finish_reason?: string | undefined;
  /** What the answer cost, in the currency of the account (US dollars at OpenRouter). */
  cost?: number | undefined;
  /** What the provider's filters say about prompt and answer. */
  filter_results?: unknown;
  /** What else came with the answer, by the provider's names. */
  further?: Readonly<Record<string, unknown>> | undefined;
}

/** Where an answer came from: which backend answered, which failed before, and how many attempts it took. */
export interface Route {
  /** The backend that answered. */
  backend: string;
  /** The model that answered, as the backend reports it. */
  model: string;
  /** The provider behind a router, where the router reports it. */
  provider?: string | undefined;
  /** The backends that failed before it, in order. */
  failed?: readonly RouteFailure[] | undefined;
  /** How many attempts at the backend that answered. */
  attempts: number;
  /** Whether the answer came from the response cache. */
  cached: boolean;
  /** The backend's id of the request. */
  request_id?: string | undefined;
}

/** One backend that failed before another one answered. */
export interface RouteFailure {
  /** The backend's name. */
  backend: string;
  /** The model it was asked for. */
  model: string;
  /** The kind of its error. */
  kind: ErrorKind;
}

/** A concept that a safety checker found in an image. */
export interface SafetyConcept {
  /** Its number in the checker's list, from 0; what it stands for is not published. */
  concept: number;
  /** How far the image is above the threshold, in cosine. */
  score: number;
}

/** Where a record is from: `v1`, `compra_agil_v2`, `ocds`, `bulk`, `scripted`. */
export type Source = string;

/**
 * What a source of a procurement backend can do by itself. The backend does the rest with more calls or by
 * filtering; a plan says how many calls.
 */
export interface SourceInfo {
  /** The source. */
  source: Source;
  /** The operations that it supports. */
  operations: readonly string[];
  /** Whether it needs a ticket. */
  needs_ticket: boolean;
  /** Whether its calls count against the ticket's daily quota. */
  counts_quota: boolean;
  /** Whether it accepts a range of days. */
  ranges: boolean;
  /** Whether it searches by words. */
  text: boolean;
  /** Whether its lists have pages. */
  pages: boolean;
  /** Whether it lists the changes since a given time. */
  changes: boolean;
  /** Whether it names all bidders. */
  bidders: boolean;
}

/** How likely a token of the answer was. */
export interface TokenLogprob {
  /** The token's text. */
  token: string;
  /** The natural logarithm of its probability. */
  logprob: number;
  /** The likeliest tokens at this position, where they were asked for. */
  top: readonly ([string, number])[];
}

/** A tool that the model wants called. */
export interface ToolCall {
  /** The id of the call, which the tool's answer repeats. Generated where the backend gives none. */
  id: string;
  /** The tool's name. */
  name: string;
  /** The arguments: JSON text exactly as the model wrote it, which may not be valid JSON. */
  arguments: string;
  /** Data that the provider attached to the call and wants back. */
  provider_data?: Readonly<Record<string, unknown>> | undefined;
}

/** Tokens that a call used, where the backend reports them. `null` means not reported, never zero. */
export interface Usage {
  /** Tokens of the input, those from a prompt cache included. */
  input_tokens: number | null;
  /** Tokens of the answer, reasoning included at every provider. */
  output_tokens: number | null;
  /** Tokens of the answer that were spent on reasoning. */
  reasoning_tokens: number | null;
  /** Input tokens that came from a prompt cache. */
  cached_tokens: number | null;
  /** Input tokens that were written to a prompt cache. */
  cache_write_tokens?: number | undefined;
  /** Input tokens of sound. */
  input_audio_tokens?: number | undefined;
  /** Tokens of the answer that are sound. */
  output_audio_tokens?: number | undefined;
}
