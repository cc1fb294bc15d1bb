/**
 * Structural types for serving the AI SDK (npm `ai` 5, 6 and 7) without depending on
 * `@ai-sdk/provider`: only the shapes that a provider reads or emits.
 *
 * Direction matters. What the SDK hands to us (call options, prompt, tools) is typed at least as wide
 * as the real types. What we hand back (results, stream parts, warnings) is typed narrower.
 * So the models below are assignable to the real ones, and the real options are assignable to ours.
 *
 * Globals used: AbortSignal, ReadableStream, URL (lib "DOM" or @types/node).
 */

export type SpecificationVersion = 'v2' | 'v3' | 'v4';

export type JsonValue = null | string | number | boolean | JsonObject | JsonValue[];
export type JsonObject = { [key: string]: JsonValue };

/** Input side: options keyed by provider name, then by option. */
export type ProviderOptions = Record<string, Record<string, unknown>>;
/** Output side: `undefined` values are left out, since v2 does not allow them. */
export type ProviderMetadata = Record<string, JsonObject>;

// ---------------------------------------------------------------- warnings

/** `other` is the one warning that all three versions know. */
export type OtherWarning = { type: 'other'; message: string };
export type WarningV3 =
  | { type: 'unsupported' | 'compatibility'; feature: string; details?: string }
  | OtherWarning;
export type WarningV4 = WarningV3 | { type: 'deprecated'; setting: string; message: string };
export type Warning<V extends SpecificationVersion> =
  V extends 'v2' ? OtherWarning : V extends 'v3' ? WarningV3 : WarningV4;

// ---------------------------------------------------------------- language model: what we receive

export type UntaggedFileData = Uint8Array | string | URL;
export type TaggedFileData =
  | { type: 'data'; data: Uint8Array | string }
  | { type: 'url'; url: URL }
  | { type: 'reference'; reference: Record<string, string> }
  | { type: 'text'; text: string };
export type FileData<V extends SpecificationVersion> = V extends 'v4' ? TaggedFileData : UntaggedFileData;

export interface TextPart { type: 'text'; text: string; providerOptions?: ProviderOptions }
export interface FilePart<V extends SpecificationVersion> {
  type: 'file';
  filename?: string;
  data: FileData<V>;
  /** A full type, or a wildcard such as `image/*`. */
  mediaType: string;
  providerOptions?: ProviderOptions;
}
export interface ReasoningPart { type: 'reasoning'; text: string; providerOptions?: ProviderOptions }
export interface ToolCallPart {
  type: 'tool-call';
  toolCallId: string;
  toolName: string;
  /** Parsed JSON here; a JSON string in results and stream parts. */
  input: unknown;
  providerExecuted?: boolean;
  providerOptions?: ProviderOptions;
}
export type ToolResultOutput =
  | { type: 'text' | 'error-text'; value: string }
  | { type: 'json' | 'error-json'; value: unknown }
  | { type: 'execution-denied'; reason?: string }
  | { type: 'content'; value: ToolResultContentPart[] };
/** `media` in v2; `file-data`, `file-url`, `image-data`, … in v3; `file` with tagged data in v4. */
export interface ToolResultContentPart {
  type: string;
  text?: string;
  data?: unknown;
  url?: string;
  mediaType?: string;
}
export interface ToolResultPart {
  type: 'tool-result';
  toolCallId: string;
  toolName: string;
  output: ToolResultOutput;
  providerOptions?: ProviderOptions;
}
/** Parts that we never act on, but that must not crash the reader (approval answers, custom, reasoning files). */
export interface OpaquePart {
  type: 'tool-approval-response' | 'custom' | 'reasoning-file';
  providerOptions?: ProviderOptions;
}

export type Message<V extends SpecificationVersion> = (
  | { role: 'system'; content: string }
  | { role: 'user'; content: Array<TextPart | FilePart<V>> }
  | { role: 'assistant'; content: Array<TextPart | FilePart<V> | ReasoningPart | ToolCallPart | ToolResultPart | OpaquePart> }
  | { role: 'tool'; content: Array<ToolResultPart | OpaquePart> }
) & { providerOptions?: ProviderOptions };

export type Tool =
  | { type: 'function'; name: string; description?: string; inputSchema: object; strict?: boolean; providerOptions?: ProviderOptions }
  /** `provider-defined` in v2, `provider` from v3 on. */
  | { type: 'provider' | 'provider-defined'; id: string; name: string; args: Record<string, unknown> };

export type ToolChoice = { type: 'auto' | 'none' | 'required' } | { type: 'tool'; toolName: string };

export interface LanguageModelCallOptions<V extends SpecificationVersion> {
  prompt: Message<V>[];
  maxOutputTokens?: number;
  temperature?: number;
  stopSequences?: string[];
  topP?: number;
  topK?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  /** `schema` is JSON Schema draft 7. */
  responseFormat?: { type: 'text' } | { type: 'json'; schema?: object; name?: string; description?: string };
  seed?: number;
  tools?: Tool[];
  toolChoice?: ToolChoice;
  /** Declared by v4 only; `ai` 7 sends it to v2 and v3 models too. */
  reasoning?: 'provider-default' | 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max';
  includeRawChunks?: boolean;
  abortSignal?: AbortSignal;
  headers?: Record<string, string | undefined>;
  providerOptions?: ProviderOptions;
}

// ---------------------------------------------------------------- language model: what we return

export type UnifiedFinishReason = 'stop' | 'length' | 'content-filter' | 'tool-calls' | 'error' | 'other';
export type FinishReason<V extends SpecificationVersion> =
  V extends 'v2' ? UnifiedFinishReason | 'unknown'
  : V extends 'v3' ? { unified: UnifiedFinishReason; raw: string | undefined }
  : { unified: UnifiedFinishReason | 'interrupted'; raw: string | undefined };

export interface UsageV2 {
  inputTokens: number | undefined;
  outputTokens: number | undefined;
  totalTokens: number | undefined;
  reasoningTokens?: number | undefined;
  cachedInputTokens?: number | undefined;
}
/** Same in v3 and v4. Every key must be present; unknown counts are `undefined`. */
export interface UsageV3 {
  inputTokens: { total: number | undefined; noCache: number | undefined; cacheRead: number | undefined; cacheWrite: number | undefined };
  outputTokens: { total: number | undefined; text: number | undefined; reasoning: number | undefined };
  raw?: JsonObject;
}
export type Usage<V extends SpecificationVersion> = V extends 'v2' ? UsageV2 : UsageV3;

export interface ToolCall {
  type: 'tool-call';
  toolCallId: string;
  toolName: string;
  /** JSON text, also for an empty object (`'{}'`). */
  input: string;
  providerMetadata?: ProviderMetadata;
}
export type GeneratedFile<V extends SpecificationVersion> = {
  type: 'file';
  mediaType: string;
  data: V extends 'v4' ? { type: 'data'; data: string | Uint8Array } : string | Uint8Array;
};
export type Content<V extends SpecificationVersion> =
  | { type: 'text'; text: string; providerMetadata?: ProviderMetadata }
  | { type: 'reasoning'; text: string; providerMetadata?: ProviderMetadata }
  | ToolCall
  | GeneratedFile<V>;

export interface ResponseMetadata { id?: string; timestamp?: Date; modelId?: string }

export interface GenerateResult<V extends SpecificationVersion> {
  content: Content<V>[];
  finishReason: FinishReason<V>;
  usage: Usage<V>;
  warnings: Warning<V>[];
  providerMetadata?: ProviderMetadata;
  request?: { body?: unknown };
  response?: ResponseMetadata & { headers?: Record<string, string>; body?: unknown };
}

export type StreamPart<V extends SpecificationVersion> =
  | { type: 'stream-start'; warnings: Warning<V>[] }
  | ({ type: 'response-metadata' } & ResponseMetadata)
  | { type: 'text-start' | 'text-end' | 'reasoning-start' | 'reasoning-end'; id: string; providerMetadata?: ProviderMetadata }
  | { type: 'text-delta' | 'reasoning-delta'; id: string; delta: string; providerMetadata?: ProviderMetadata }
  | { type: 'tool-input-start'; id: string; toolName: string }
  | { type: 'tool-input-delta'; id: string; delta: string }
  | { type: 'tool-input-end'; id: string }
  | ToolCall
  | GeneratedFile<V>
  | { type: 'raw'; rawValue: unknown }
  | { type: 'error'; error: unknown }
  | { type: 'finish'; usage: Usage<V>; finishReason: FinishReason<V>; providerMetadata?: ProviderMetadata }
  | (V extends 'v4' ? { type: 'ping' } : never);

export interface StreamResult<V extends SpecificationVersion> {
  stream: ReadableStream<StreamPart<V>>;
  request?: { body?: unknown };
  response?: { headers?: Record<string, string> };
}

export interface LanguageModel<V extends SpecificationVersion> {
  readonly specificationVersion: V;
  readonly provider: string;
  readonly modelId: string;
  /** `{}` means that the SDK downloads every URL in the prompt and hands over bytes. */
  supportedUrls: Record<string, RegExp[]>;
  doGenerate(options: LanguageModelCallOptions<V>): Promise<GenerateResult<V>>;
  doStream(options: LanguageModelCallOptions<V>): Promise<StreamResult<V>>;
}

// ---------------------------------------------------------------- embedding model (one shape for v2, v3, v4)

export interface EmbeddingCallOptions {
  values: string[];
  /** Declared by v4 only; `ai` 7 sends it to v2 and v3 models too. */
  dimensions?: number;
  abortSignal?: AbortSignal;
  providerOptions?: ProviderOptions;
  headers?: Record<string, string | undefined>;
}
export interface EmbeddingResult<V extends SpecificationVersion> {
  embeddings: number[][];
  usage?: { tokens: number };
  providerMetadata?: ProviderMetadata;
  response?: { headers?: Record<string, string>; body?: unknown };
  /** Unknown to v2, required from v3 on. */
  warnings: Warning<V>[];
}
export interface EmbeddingModel<V extends SpecificationVersion> {
  readonly specificationVersion: V;
  readonly provider: string;
  readonly modelId: string;
  readonly maxEmbeddingsPerCall: number | undefined;
  readonly supportsParallelCalls: boolean;
  doEmbed(options: EmbeddingCallOptions): Promise<EmbeddingResult<V>>;
}

// ---------------------------------------------------------------- image model (one shape for v2, v3, v4)

export type ImageInput =
  | { type: 'file'; mediaType: string; data: string | Uint8Array }
  | { type: 'url'; url: string };

export interface ImageCallOptions {
  /** Always a string in v2. */
  prompt: string | undefined;
  n: number;
  /** `WIDTHxHEIGHT` */
  size: string | undefined;
  /** `W:H` */
  aspectRatio: string | undefined;
  seed: number | undefined;
  /** Absent in v2. */
  files?: ImageInput[] | undefined;
  mask?: ImageInput | undefined;
  providerOptions: ProviderOptions;
  abortSignal?: AbortSignal;
  headers?: Record<string, string | undefined>;
}
export interface ImageResult<V extends SpecificationVersion> {
  /** Base64 without a `data:` prefix, or bytes. */
  images: string[] | Uint8Array[];
  warnings: Warning<V>[];
  /** `images` must have one entry an image. */
  providerMetadata?: Record<string, JsonObject & { images: JsonValue[] }>;
  response: { timestamp: Date; modelId: string; headers: Record<string, string> | undefined };
  /** From v3 on. */
  usage?: { inputTokens: number | undefined; outputTokens: number | undefined; totalTokens: number | undefined };
}
export interface ImageModel<V extends SpecificationVersion> {
  readonly specificationVersion: V;
  readonly provider: string;
  readonly modelId: string;
  readonly maxImagesPerCall: number | undefined;
  doGenerate(options: ImageCallOptions): Promise<ImageResult<V>>;
}

// ---------------------------------------------------------------- provider

/** v2 providers carry no `specificationVersion` and call the embedding factory `textEmbeddingModel`. */
export interface ProviderV2 {
  languageModel(modelId: string): LanguageModel<'v2'>;
  textEmbeddingModel(modelId: string): EmbeddingModel<'v2'>;
  imageModel(modelId: string): ImageModel<'v2'>;
}
export interface Provider<V extends 'v3' | 'v4'> {
  readonly specificationVersion: V;
  languageModel(modelId: string): LanguageModel<V>;
  embeddingModel(modelId: string): EmbeddingModel<V>;
  imageModel(modelId: string): ImageModel<V>;
}

// ---------------------------------------------------------------- errors

/**
 * What an error must carry so that `ai` retries it. It must also be an `instanceof Error`, with
 * `Symbol.for('vercel.ai.error')` and `Symbol.for('vercel.ai.error.AI_APICallError')` set to `true`.
 */
export interface ApiCallErrorShape extends Error {
  name: 'AI_APICallError';
  url: string;
  requestBodyValues: unknown;
  statusCode?: number;
  responseHeaders?: Record<string, string>;
  responseBody?: string;
  isRetryable: boolean;
  data?: unknown;
}
