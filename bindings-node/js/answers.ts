/** What calls answer. The names are those of the JSON in every language. */

import type { RouteFailure } from "./failure.js";

/** Tokens that a call used. Null means not reported, never zero. */
export interface Usage {
  input_tokens: number | null;
  output_tokens: number | null;
  reasoning_tokens: number | null;
  cached_tokens: number | null;
  cache_write_tokens?: number;
  input_audio_tokens?: number;
  output_audio_tokens?: number;
}

/** Where an answer came from: which backend answered, which failed before, how many attempts it took. */
export interface Route {
  backend: string;
  model: string;
  provider?: string;
  failed?: readonly RouteFailure[];
  attempts: number;
  cached?: boolean;
  request_id?: string;
}

/** Who a backend is. */
export interface BackendInfo {
  backend: string;
  model: string;
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
  reads_images?: boolean;
  /** What a local image model draws with, once it is loaded. */
  image_model?: ImageModelInfo;
  limits: { max_batch: number | null; max_concurrency: number | null; max_images: number | null };
  cold_starts: boolean;
  /** Of a procurement backend: what each of its sources can do. */
  sources?: readonly SourceInfo[];
}

/** What a local image model draws with. */
export interface ImageModelInfo {
  /** What it was made for: `standard`, `lcm`, `turbo`, `lightning-4`. It decides which steps are legal. */
  recipe: string;
  /** The scheduler of requests without one. */
  scheduler: string;
  steps: number;
  guidance: number;
  /** Width and height that it was trained for. */
  size: [number, number];
  optimisations: readonly string[];
  weights_bytes: number;
  /** Bytes that images in progress may take beside the weights, when the model was loaded. */
  memory_bytes: number | null;
}

/** What one source of a procurement backend can do by itself. */
export interface SourceInfo {
  source: string;
  operations: readonly string[];
  needs_ticket: boolean;
  counts_quota: boolean;
  ranges: boolean;
  text: boolean;
  pages: boolean;
  changes: boolean;
  bidders: boolean;
}

/** What makes vectors comparable: those of equal spaces are. */
export interface EmbeddingSpace {
  model: string;
  revision: string | null;
  dimensions: number | null;
  pooling: string | null;
  normalised: boolean;
  prompt_set: string | null;
  /**
   * A hash of what decides the vectors but their width. Models in this process have one; two spaces with fingerprints are equal
   * if these and `dimensions` are.
   */
  fingerprint?: string;
}

/** Data that a provider attached and wants back unchanged. */
export type ProviderData = Record<string, unknown>;

/** A tool call that the model makes. */
export interface ToolCall {
  id: string;
  name: string;
  /** JSON text exactly as the model wrote it, which may not be valid JSON. */
  arguments: string;
  provider_data?: ProviderData;
}

/** How likely a token of the answer was, and the likeliest tokens at its position. */
export interface TokenLogprob {
  token: string;
  logprob: number;
  top: [string, number][];
}

/** Why an answer ended; other words are the backend's own. */
export type FinishReason = "stop" | "length" | "tool_calls" | "content_filter" | (string & {});

/** A part of an answer, in the form of a message's content: `text`, `image`, `file`, `server_tool_call` … */
export type AnswerPart = { type: string; [field: string]: unknown };

/** A source that a part of an answer rests on. */
export interface Annotation {
  kind: "url" | "file" | "document" | "other";
  url: string | null;
  title: string | null;
  file_id: string | null;
  /** The words of the source. */
  quote: string | null;
  /** The first character of the answer that the source supports. */
  start: number | null;
  end: number | null;
  /** The annotation in the provider's own words. */
  data: unknown;
}

/** What a provider says about an answer besides the answer. */
export interface ResponseMetadata {
  id?: string;
  service_tier?: string;
  fingerprint?: string;
  finish_reason?: string;
  finish_message?: string;
  native_finish_reason?: string;
  cost?: number;
  filter_results?: unknown;
  further?: Record<string, unknown>;
}

/** Another answer to the same request, where `choices` asked for several. */
export interface Alternative {
  text: string;
  reasoning: string | null;
  tool_calls: ToolCall[];
  finish: FinishReason;
  logprobs: TokenLogprob[];
}

/** An answer, and where it came from. */
export interface ChatResponse {
  text: string;
  reasoning: string | null;
  tool_calls: ToolCall[];
  /** The answer piece by piece, where it holds more than text and tool calls. */
  parts: AnswerPart[];
  /** The sources that the answer rests on. */
  annotations: Annotation[];
  finish: FinishReason;
  usage: Usage;
  logprobs: TokenLogprob[];
  provider_data: ProviderData;
  metadata: ResponseMetadata;
  alternatives?: Alternative[];
  route: Route;
}

/** One event of a streamed answer: `started` first, `finish` last. */
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
  | { type: "logprobs"; logprobs: TokenLogprob[] }
  | { type: "finish"; reason: FinishReason; usage: Usage; provider_data: ProviderData };

/** An encoded image. */
export interface Image {
  data: Buffer;
  media_type: string;
}

/** Images, and how they were made, as far as the backend says. */
export interface ImageResponse {
  images: Image[];
  usage: Usage;
  route: Route;
  seed: number | null;
  size: [number, number] | null;
  scheduler: string | null;
  steps: number | null;
  revised_prompt: string | null;
}

/** One of the vectors that are most similar to a query. */
export interface Match {
  /** Its position among the vectors. */
  index: number;
  /** The cosine: 1 for the same direction. */
  score: number;
}
