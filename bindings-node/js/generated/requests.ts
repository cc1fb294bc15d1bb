// Written by `make gen` from the code. Change the code, not this file.

export type AspectRatio = string;

/** How long a prompt cache keeps what is before a `Part::CachePoint`. */
export type CacheTtl = "short" | "hour";

/** A conversation, and the options of its answer. */
export interface ChatRequest {
  /** The conversation so far, oldest first. */
  messages?: readonly Message[] | undefined;
  /** Instead of a conversation: what the model continues as it is, without a template. Local models do that. */
  prompt?: RawPrompt | undefined | null;
  /** The most tokens of the answer. */
  max_tokens?: number | undefined | null;
  /** The sampling temperature: 0 always takes the likeliest token. */
  temperature?: number | undefined | null;
  /** Nucleus sampling: considers only the likeliest tokens that together reach this probability. */
  top_p?: number | undefined | null;
  /** Considers only this many of the likeliest tokens. */
  top_k?: number | undefined | null;
  /** Lowers the probability of tokens that occurred before, in proportion to how often. */
  frequency_penalty?: number | undefined | null;
  /** Lowers the probability of tokens that occurred before at all. */
  presence_penalty?: number | undefined | null;
  /** The seed of sampling: makes the answer repeatable, as far as the backend allows. */
  seed?: number | undefined | null;
  /** Stop sequences: the answer ends before any of these texts. */
  stop?: readonly string[] | undefined;
  /** The tools that the model may call. */
  tools?: readonly Tool[] | undefined;
  /** Whether the model may, must or must not call tools. */
  tool_choice?: ToolChoice | undefined | null;
  /** The format of the answer. */
  output?: OutputFormat | undefined | null;
  /** How much to reason before answering. */
  reasoning?: ReasoningEffort | undefined | null;
  /** Asks for log-probabilities, with this many alternatives for each token. */
  logprobs?: number | undefined | null;
  /** How many answers to give, one by default. The others are in `alternatives` of the response; a stream gives one. */
  choices?: number | undefined | null;
  /** Further fields of the request body, sent as they are. Fields that ayni sets itself take precedence. */
  extra?: Readonly<Record<string, unknown>> | undefined;
}

/** What a message says: text, or a list of parts. In JSON a string or a list of parts. */
export type Content = string | readonly Part[];

/** One thing to embed. */
export type EmbedInput = { text: string } | { image: string };

/** What to embed, and how. */
export interface EmbedRequest {
  /** The inputs, in the order of the vectors. Shared, so that a retry copies no text. */
  inputs?: readonly EmbedInput[] | undefined;
  /** Which side of a search the inputs are on, for models that embed queries and documents differently. */
  role?: EmbedRole | undefined | null;
  /** Shortens the vectors to this width, for models trained for it (Matryoshka). */
  dimensions?: number | undefined | null;
  /**
   * What to do with an input longer than the model's window: cut it and say so (the default), or fail with
   * `context_too_long`.
   */
  truncation?: Truncation | undefined;
  /** Further fields of the request body, sent as they are. Fields that ayni sets itself take precedence. */
  extra?: Readonly<Record<string, unknown>> | undefined;
}

/** Which side of a search an input is on. */
export type EmbedRole = "query" | "document";

/** An encoded file as a `data:` URL, or as base64 whose first bytes tell the media type. */
export type FileData = string;

/** Images from a prompt. */
export interface GenerateRequest {
  /** What the images show. */
  prompt?: string | undefined;
  /** What they must not show, for models that support it. */
  negative_prompt?: string | undefined | null;
  /** How many images. */
  count?: number | undefined;
  /** Width and height in pixels. */
  size?: [number, number] | null | undefined;
  /** The aspect ratio, for backends that choose the size themselves. */
  aspect_ratio?: AspectRatio | undefined | null;
  /** Full or reduced size, for backends that choose the size themselves. */
  resolution?: Resolution | undefined | null;
  /** Denoising steps. */
  steps?: number | undefined | null;
  /** The guidance scale: how closely to follow the prompt. */
  guidance?: number | undefined | null;
  /** The scheduler, as the backend names it. */
  scheduler?: string | undefined | null;
  /** The seed: makes the images repeatable, as far as the backend allows. */
  seed?: number | undefined | null;
  /** The temperature, for engines that support it. */
  temperature?: number | undefined | null;
  /** Further fields of the request body, sent as they are. Fields that ayni sets itself take precedence. */
  extra?: Readonly<Record<string, unknown>> | undefined;
}

/** How closely a model looks at an image. */
export type ImageDetail = "auto" | "low" | "high" | "original";

/** One message of a conversation. */
export interface Message {
  /** Who speaks. */
  role: Role;
  /** What is said. */
  content?: Content | undefined;
  /** The speaker's name, where the backend takes one. */
  name?: string | undefined | null;
  /** The reasoning that came with an assistant's message. */
  reasoning?: string | undefined | null;
  /** The tools that an assistant's message calls. */
  tool_calls?: readonly ToolCall[] | undefined;
  /** The call that a tool's message answers. */
  tool_call_id?: string | undefined | null;
  /** Data that the provider attached to the message and wants back. */
  provider_data?: Readonly<Record<string, unknown>> | undefined;
}

/** The format of an answer. */
export type OutputFormat =
  | "text"
  | "json"
  | { json_schema: { name: string; description?: string | undefined | null; schema: unknown; strict?: boolean | undefined } };

/** A piece of a message. */
export type Part =
  | { type: "text"; text: string }
  | { type: "image"; image: string; detail?: ImageDetail | undefined | null }
  | { type: "image_url"; url: string; media_type?: string | undefined | null; detail?: ImageDetail | undefined | null }
  | { type: "file"; file: FileData; name?: string | undefined | null }
  | { type: "file_url"; url: string; media_type?: string | undefined | null; name?: string | undefined | null }
  | { type: "file_id"; id: string }
  | { type: "cache_point"; ttl?: CacheTtl | undefined }
  | { type: "server_tool_call"; id?: string | undefined; name: string; arguments?: unknown }
  | { type: "server_tool_result"; id?: string | undefined; name: string; result?: unknown }
  | { type: "raw"; data: unknown };

/** A text or tokens. */
export type PromptInput = string | readonly number[];

/** What a model continues as it is: no template, no roles, control tokens in it are tokens. */
export interface RawPrompt {
  /** The text, or the ids of its tokens. */
  input: PromptInput;
  /**
   * Whether the answer begins with the prompt. With `logprobs`, those of the prompt's tokens come first, from its
   * second token on; `max_tokens` may then be 0.
   */
  echo?: boolean | undefined;
}

/** How much to reason before answering. */
export type ReasoningEffort = "none" | "low" | "medium" | "high";

/** Images from images and a prompt. */
export interface RefineRequest {
  /** How to change the images. */
  prompt?: string | undefined;
  /** The images to change. Shared, so that a retry copies no pixels. */
  images?: readonly string[] | undefined;
  /** The area to change, for backends that support masks. */
  mask?: string | undefined | null;
  /** What must not be shown, for models that support it. */
  negative_prompt?: string | undefined | null;
  /** How much to change, from 0 to 1. */
  strength?: number | undefined | null;
  /** Denoising steps. */
  steps?: number | undefined | null;
  /** The guidance scale: how closely to follow the prompt. */
  guidance?: number | undefined | null;
  /** The seed: makes the images repeatable, as far as the backend allows. */
  seed?: number | undefined | null;
  /** Width and height in pixels. */
  size?: [number, number] | null | undefined;
  /** Further fields of the request body, sent as they are. Fields that ayni sets itself take precedence. */
  extra?: Readonly<Record<string, unknown>> | undefined;
}

/** Full or reduced size. */
export type Resolution = "standard" | "high";

/** Who speaks. */
export type Role = "system" | "developer" | "user" | "assistant" | "tool";

/** A tool that the model may call. */
export interface Tool {
  /** The tool's name. */
  name: string;
  /** What it does: the model decides by it when to call the tool. */
  description?: string | undefined;
  /** The arguments, as a JSON Schema. */
  parameters: unknown;
  /** Whether the arguments must follow the schema strictly, where the backend can guarantee it. */
  strict?: boolean | undefined;
  /** A hint: this tool and those before it are worth keeping in the provider's prompt cache. */
  cache?: CacheTtl | undefined | null;
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

/** Whether tools may, must or must not be called. */
export type ToolChoice = "auto" | "none" | "required" | { tool: string };

/** What to do with an input longer than the model's window. */
export type Truncation = "end" | "refuse";
