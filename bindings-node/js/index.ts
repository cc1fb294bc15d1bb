/** Local and hosted models behind one typed interface. */

export type { CallOptions, Timeouts } from "./calls.js";
export {
  Chat,
  type ChatOptions,
  ChatStream,
  type Message,
  type Messages,
  type Part,
  type ProviderData,
  openChat,
  toMessage,
} from "./chat.js";
export { clipHealth, embedImage, embedText, keepAlive } from "./clip.js";
export { Analysis, type AnalyseOptions, type Claim, type FileForm, analyse, exportRecords, tenderFile } from "./documents.js";
export { EmbedResponse, Embedder, type EmbedInput, type EmbedOptions, type Numbers, openEmbedder } from "./embedder.js";
export { AyniError, type AyniErrorFields } from "./failure.js";
export type {
  Alternative,
  Annotation,
  AnswerPart,
  BackendInfo,
  ChatEvent,
  ChatResponse,
  EmbeddingSpace,
  FinishReason,
  Hardware,
  ImageModelInfo,
  KnownModel,
  Limits,
  Match,
  ModeInfo,
  Parity,
  ProcurementInfo,
  Progress,
  ResponseMetadata,
  Route,
  RouteFailure,
  SourceInfo,
  TokenLogprob,
  ToolCall,
  Usage,
} from "./generated/answers.js";
export type { ChatConfig, EmbedderConfig, HttpOptions, ImageConfig, Policy, ProcurementConfig } from "./generated/configs.js";
export * from "./generated/errors.js";
export { type ErrorKind, errorKinds } from "./generated/kinds.js";
export type * as requests from "./generated/requests.js";
export type * as records from "./generated/records.js";
export { version } from "./generated/version.js";
export type { OpenOptions } from "./handle.js";
export {
  type GenerateOptions,
  type Image,
  ImageGenerator,
  type ImageReplay,
  type ImageResponse,
  type RefineOptions,
  openImages,
} from "./images.js";
export type { ImageSource } from "./images-in.js";
export {
  type Answer,
  type BulkSet,
  type GetOptions,
  type ImportReport,
  type ListOptions,
  type Listing,
  type MonthFile,
  type MonthOptions,
  Procurement,
  type RecordKind,
  openProcurement,
} from "./procurement.js";
export type { Schema, StandardSchema } from "./schema.js";
export { type Vector, similarity, topK } from "./search.js";
export {
  ChatModes,
  type SampleModel,
  embeddingArchitectures,
  hardware,
  health,
  knownModels,
  models,
  prometheusText,
  sampleModels,
} from "./services.js";
