// Written by `make gen` from the code. Change the code, not this file.

import type { ErrorKind } from "./kinds.js";

/**
 * Whether complete answers are kept in memory and returned to exactly the same request. Embeddings, chats, streamed
 * chats, and images whose request names a seed are cached; failures, partial answers, answers of a fallback, and
 * procurement records are not. The key is a SHA-256 of the operation, the backend and the request, so neither a
 * prompt nor a credential is kept with the answer. The route of a cached answer says that it is one.
 */
export interface Cache {
  /** The most memory for answers, in bytes; the least recently used answers are dropped first. */
  max_bytes?: number | undefined;
  /** How long an answer is kept; `null` keeps it until its memory is needed. */
  ttl_seconds?: number | undefined | null;
}

/** Which of OpenAI's APIs chats. */
export type ChatApi = "chat_completions" | "responses" | "completions";

/**
 * What makes vectors comparable. Two backends may stand in for each other, and share a cache, only if their spaces
 * are equal. A field that only one of them knows makes them differ. Models in this process have a fingerprint of
 * all that decides their vectors. Two spaces with fingerprints are equal if these and the widths are, whatever the
 * models are called: a model from the Hub and a copy in a folder make vectors that compare, and two folders of the
 * same name need not.
 */
export interface EmbeddingSpace {
  /** The model, as its publisher names it: `sentence-transformers/all-MiniLM-L6-v2`. */
  model?: string | undefined;
  /** The revision of the weights. */
  revision?: string | undefined | null;
  /** The width of a vector; `null` where it is not known yet. */
  dimensions?: number | undefined | null;
  /** How the vectors of tokens become one vector. */
  pooling?: Pooling | undefined | null;
  /** Whether vectors have unit length; true by default. */
  normalised?: boolean | undefined;
  /** The set of prompts put before queries and documents. */
  prompt_set?: string | undefined | null;
  /**
   * A hash of what decides the vectors but their width: weights, configuration, tokenizer, pooling, prompts. Models
   * in this process have one.
   */
  fingerprint?: string | undefined | null;
}

/**
 * When another backend takes over. Only before anything was delivered. The answer's route says which backend served
 * and which ones failed before it. Without fallback backends, these settings have no effect.
 */
export interface Fallback {
  /** The kinds of failure after which the next backend takes over. */
  on?: readonly ErrorKind[] | undefined;
  /**
   * How long a backend is skipped after it was rate-limited, unavailable, or out of quota or credits, unless it
   * says how long itself. A backend without an alternative is never skipped; 0 skips none.
   */
  cooldown_seconds?: number | undefined;
}

/**
 * How the built-in transport connects: which certificates it trusts, through which proxy it goes, what it calls
 * itself. The default trusts this machine's certificate authorities and takes the system's proxy (`HTTPS_PROXY`,
 * `HTTP_PROXY`, `NO_PROXY`). Requests to this machine, and those for URLs that an answer named, never go through a
 * proxy. It is the field `http` of a `Setup`, or becomes the transport of a `Context`.
 */
export interface HttpOptions {
  /** Certificate authorities to trust, as PEM text. */
  ca_certificates?: string | undefined | null;
  /** A PEM file with certificate authorities to trust. */
  ca_file?: string | undefined | null;
  /** Whether to trust this machine's certificate authorities too. */
  system_certificates?: boolean | undefined;
  /** The proxy for all requests: `http://host:port` or `https://host:port`, without credentials. */
  proxy?: string | undefined | null;
  /** The user name for the proxy. */
  proxy_username?: string | undefined | null;
  /** The password for the proxy. */
  proxy_password?: string | undefined | null;
  /**
   * Hosts that are reached without `proxy`: names (with all their subdomains), addresses, or networks
   * (`10.0.0.0/8`).
   */
  no_proxy?: readonly string[] | undefined;
  /** Whether to take the system's proxy where `proxy` is not set. */
  system_proxy?: boolean | undefined;
  /** The `User-Agent` of requests for which a backend sets none; `ayni/` and the version by default. */
  user_agent?: string | undefined | null;
}

/** Where reasoning stands in an answer's text if the server does not keep it apart. */
export type InlineReasoning = "auto" | "off" | "tagged" | "open";

/**
 * How many requests are in flight, and how closely they follow each other. Limits belong to the credential: all
 * handles in the process whose backends use the same credential at the same host share one queue, first come, first
 * served, and the strictest of their limits holds. A backend without a credential has its own queue. A stream is in
 * flight until it ends or is dropped.
 */
export interface Limit {
  /** The most requests in flight; `null` takes the limit that the backend declares, if there is one. */
  max_concurrency?: number | undefined | null;
  /** Whether to honour the limit that the backend declares. */
  declared?: boolean | undefined;
  /** The least time between the starts of two requests. */
  min_gap_seconds?: number | undefined;
  /** The longest time in the queue; `null` sets no bound but the call's own. */
  max_queue_seconds?: number | undefined | null;
}

/** A LoRA, and how strongly it applies. */
export interface LoraSource {
  /** A file, a folder with one, or `org/name[:file][@revision]` on the Hub. */
  model?: string | undefined;
  /** How strongly it applies; 1 is as it was trained. */
  weight?: number | undefined;
}

/**
 * What is recorded about calls: one `tracing` span per call (target `ayni::call`) with OpenTelemetry's GenAI names,
 * one event at its end (debug for an answer, warn for a failure), and counters. Prompts, inputs, answers,
 * credentials, URLs and the texts of a backend's errors are never recorded.
 */
export interface Observe {
  /** Whether calls have spans and events. */
  spans?: boolean | undefined;
  /** Whether calls are counted. */
  metrics?: boolean | undefined;
}

/**
 * How calls are observed, cached, handed to fallbacks, retried, limited and timed out. The default is what we
 * recommend for services. `Policy::none` only observes.
 */
export interface Policy {
  /** When a request is retried. */
  retry?: Retry | undefined;
  /** How long the phases of a call may take. */
  timeout?: Timeout | undefined;
  /** How many requests are in flight, and how closely they follow each other. */
  limit?: Limit | undefined;
  /** When another backend takes over. */
  fallback?: Fallback | undefined;
  /** Whether complete answers are kept and returned to the same request; `null` for no cache. */
  cache?: Cache | undefined | null;
  /** What is recorded about calls. */
  observe?: Observe | undefined;
}

/** How the vectors of tokens become one vector. */
export type Pooling = "mean" | "cls" | "last_token" | "max" | "weighted_mean";

/** Full or reduced size. */
export type Resolution = "standard" | "high";

/**
 * When a request is retried, and after which wait. Only temporary failures are retried. The wait is the one that
 * the backend asks for, else exponential with full jitter. A stream is never retried once an event was delivered. A
 * request for images is retried only if the backend has certainly not served it.
 */
export interface Retry {
  /** The most retries of one request at one backend. */
  max_retries?: number | undefined;
  /** The first wait, in seconds, where the backend asks for none; each further one is twice as long. */
  first_wait_seconds?: number | undefined;
  /** The longest wait, in seconds, where the backend asks for none. */
  longest_backoff_seconds?: number | undefined;
  /**
   * The longest wait of all, in seconds. If the backend asks for more, its error is returned at once, with the
   * wait.
   */
  max_wait_seconds?: number | undefined;
  /**
   * Whether waits that the backend does not ask for are drawn at random between zero and their full length, so that
   * many clients do not come back at the same moment.
   */
  jitter?: boolean | undefined;
  /** The share of requests to one backend that may be retries: 0.2 is one in five. */
  budget_ratio?: number | undefined;
  /** The retries allowed before that share counts, so that a client with few requests can retry one. */
  budget_reserve?: number | undefined;
}

/** What is done with images in which a model's safety checker finds something. */
export type SafetyMode = "off" | "mark" | "blank" | "refuse";

/** One scripted chat answer. */
export interface ScriptedReply {
  /** The answer's text. */
  text?: string | undefined;
  /** The reasoning before it. */
  reasoning?: string | undefined | null;
  /** The tools that the answer calls. */
  tool_calls?: readonly ToolCall[] | undefined;
}

/**
 * How long the phases of a call may take. `null` sets no bound; connect, first byte and idle then keep the
 * backend's own. The time-outs of the call's `Context` override these.
 */
export interface Timeout {
  /** Until the connection is made. */
  connect_seconds?: number | undefined | null;
  /** From then until the status line. */
  first_byte_seconds?: number | undefined | null;
  /** The same for a backend that may have to start a model or a container first. */
  cold_start_first_byte_seconds?: number | undefined | null;
  /** The same for images, whose status line may come only with the finished image. */
  image_first_byte_seconds?: number | undefined | null;
  /** Between two pieces of data; keep-alive comments are not data. */
  idle_seconds?: number | undefined | null;
  /** One whole attempt; for a stream, until its end. */
  attempt_seconds?: number | undefined | null;
  /** One whole attempt to make images. */
  image_attempt_seconds?: number | undefined | null;
  /** The whole call, retries and fallbacks included, where the context sets no deadline. */
  total_seconds?: number | undefined | null;
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

/** How to read a `Z` that a source writes. */
export type ZoneMark = "wall_clock" | "utc";

/** Deterministic vectors for tests and documentation. */
export interface ScriptedConfig {
  backend: "scripted";
  /** The model's name, in answers and as the embedding space. */
  model?: string | undefined;
  /** Numbers in a vector. */
  dimensions?: number | undefined;
  /** What the first chats answer, in order. Later chats get an answer built from their question. */
  replies?: readonly ScriptedReply[] | undefined;
  /** How the first requests fail, whatever they ask for, in order. Later requests succeed. */
  failures?: readonly ErrorKind[] | undefined;
  /** How long each answer takes, by the clock of the call. */
  latency_seconds?: number | undefined;
  /** The limit that the backend declares for the inputs of one embedding request. */
  max_batch?: number | undefined | null;
  /** The limit that the backend declares for requests in flight. */
  max_concurrency?: number | undefined | null;
}

/** Any OpenAI-compatible API. */
export interface OpenaiConfig {
  backend: "openai";
  /**
   * The vendor: `openai` (the default), `azure`, `hf-router`, `openrouter`, `groq`, `gemini-openai`, `vertex`,
   * `featherless`, `together`, `fireworks`, `cerebras`, `deepinfra`, `deepseek`, `scaleway`, `nscale`, `nebius`,
   * `novita`, `cohere`, `mistral`, `ovhcloud`, `baseten`, `publicai`, `zai`, `snowflake`, `crusoe`, `sambanova`,
   * `voyage`, `ollama`, `vllm`, `llamacpp`, `tei`, `lmstudio`, or `custom` for any other server at `base_url`.
   */
  vendor?: string | undefined;
  /**
   * The model, as the vendor spells it. At `hf-router` a suffix chooses the provider: `:fastest`, `:cheapest`,
   * `:preferred` or a provider's name. May be empty where the server has one model.
   */
  model?: string | undefined;
  /** Where the API is, up to and including `/v1`; the vendor's own address by default. */
  base_url?: string | undefined | null;
  /**
   * The credential; the vendor's environment variable by default. With a Hugging Face token (`hf_…`) a vendor that
   * Hugging Face bills for is called through its router.
   */
  api_key?: string | undefined | null;
  /**
   * The version of the API (`?api-version=`), where the vendor's address names one: `OPENAI_API_VERSION` at Azure
   * by default.
   */
  api_version?: string | undefined | null;
  /** Which of OpenAI's APIs chats. */
  chat_api?: ChatApi | undefined;
  /**
   * Whether the provider keeps the answers, by the API `responses` only; its own default without it. A stored
   * answer is continued by its id, so that earlier messages need not be sent again.
   */
  store?: boolean | undefined | null;
  /** The organisation that pays (`OpenAI-Organization`); `OPENAI_ORG_ID` at OpenAI by default. */
  organization?: string | undefined | null;
  /** The project that pays (`OpenAI-Project`); `OPENAI_PROJECT_ID` at OpenAI by default. */
  project?: string | undefined | null;
  /** The Hugging Face organisation that pays (`X-HF-Bill-To`). */
  bill_to?: string | undefined | null;
  /** Further header fields of every request. Credentials are refused here: they belong in `api_key`. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Shortens embeddings to this width, for models trained to allow it. */
  dimensions?: number | undefined | null;
  /** The embedding space; by default the model's, with unit-length vectors of `dimensions` numbers. */
  space?: EmbeddingSpace | undefined | null;
  /** The text that the embedding model wants before queries; "" if it wants none. */
  query_prompt?: string | undefined | null;
  /** The text that the embedding model wants before documents; "" if it wants none. */
  document_prompt?: string | undefined | null;
  /** Most inputs of one embedding request; the vendor's limit by default. */
  max_batch?: number | undefined | null;
  /** Most requests in flight for this credential; the vendor's limit by default. */
  max_concurrency?: number | undefined | null;
  /**
   * The field in which an assistant message's reasoning is sent back (`reasoning_content`, `reasoning`). By default
   * as the vendor's row says: most do not take it back.
   */
  reasoning_field?: string | undefined | null;
  /** Further fields of an answer's message and tool calls that the server wants back with the next request. */
  returned_fields?: readonly string[] | undefined;
  /** Where reasoning stands if the server does not keep it apart from the text. */
  inline_reasoning?: InlineReasoning | undefined;
}

/** Google's native API. */
export interface GeminiConfig {
  backend: "gemini";
  /** The model: `gemini-2.5-flash`, `gemini-embedding-001`. `models/…` and `tunedModels/…` are taken too. */
  model?: string | undefined;
  /** Where the API is; `https://generativelanguage.googleapis.com/v1beta` by default. */
  base_url?: string | undefined | null;
  /** The credential; `GOOGLE_API_KEY`, then `GEMINI_API_KEY` by default. */
  api_key?: string | undefined | null;
  /**
   * A Google Cloud access token, sent as a bearer instead of a key: for Vertex AI, whose `base_url` ends with
   * `/publishers/google`. `VERTEX_ACCESS_TOKEN` by default where the address is Google Cloud's.
   */
  access_token?: string | undefined | null;
  /** Numbers in a vector, for embedding models that can be shortened; the model's own width by default. */
  dimensions?: number | undefined | null;
  /** Most requests in flight with this credential. */
  max_concurrency?: number | undefined | null;
}

/** Hugging Face: hf-inference and the providers behind the router. */
export interface HuggingfaceConfig {
  backend: "huggingface";
  /** The model's id on the Hub: `owner/name`, without a `:provider` at the end. */
  model?: string | undefined;
  /**
   * The provider: `hf-inference` (the default), another one by its name at Hugging Face, or `auto` for the first
   * one that the Hub lists for the model.
   */
  provider?: string | undefined;
  /** The model's id at the provider; by default the Hub is asked for it. */
  provider_model?: string | undefined | null;
  /** The router's address; `https://router.huggingface.co` by default. */
  base_url?: string | undefined | null;
  /** The Hub's address; `HF_ENDPOINT`, then `https://huggingface.co` by default. */
  hub_url?: string | undefined | null;
  /** The provider's own address, for a key of the provider's own. */
  direct_url?: string | undefined | null;
  /** The credential; `HF_API_TOKEN`, then `HF_TOKEN` by default. */
  api_key?: string | undefined | null;
  /** The organisation that pays, of which the token's owner is a member. */
  bill_to?: string | undefined | null;
  /** Shortens vectors to this width, for models trained to allow it. */
  dimensions?: number | undefined | null;
  /** Whether vectors have unit length. ayni normalises them itself. */
  normalise?: boolean | undefined;
  /** The name of the prompt that the model puts before queries (hf-inference only). */
  query_prompt?: string | undefined | null;
  /** The name of the prompt that the model puts before documents (hf-inference only). */
  document_prompt?: string | undefined | null;
  /** How to pool the vectors of tokens that some models return. If unset, such responses are refused. */
  pooling?: Pooling | undefined | null;
  /** The space of the vectors; by default it is made from model, width, normalisation, pooling and prompts. */
  space?: EmbeddingSpace | undefined | null;
  /** The pause between two polls of a queued job's state, in seconds. */
  poll_seconds?: number | undefined;
  /** How long to wait for a queued job, in seconds. */
  poll_limit_seconds?: number | undefined;
  /** Whether the answer of text generation begins with the prompt. */
  return_full_text?: boolean | undefined;
}

/** text-embeddings-inference. */
export interface TeiConfig {
  backend: "tei";
  /** Where the server is. */
  base_url?: string | undefined;
  /**
   * The model that must be served, for the vectors' space. If empty, any model is accepted, and the server's host
   * stands for the model in the space.
   */
  model?: string | undefined;
  /** The revision of the weights that must be served, as a full commit hash. */
  revision?: string | undefined | null;
  /** The credential, where the server asks for one; `TEI_API_KEY` by default. */
  api_key?: string | undefined | null;
  /** The width of the vectors: requested from the server, and part of the space. */
  dimensions?: number | undefined | null;
  /** How the server pools, as part of the space. The server decides by itself. */
  pooling?: Pooling | undefined | null;
  /** Whether to ask for vectors of unit length. */
  normalised?: boolean | undefined;
  /** The name of the prompt that the model puts before queries; "" if it has none. */
  query_prompt_name?: string | undefined | null;
  /** The name of the prompt that the model puts before documents; "" if it has none. */
  document_prompt_name?: string | undefined | null;
  /** Most inputs of one request: the server's `--max-client-batch-size`. */
  max_batch?: number | undefined;
}

/** Ollama's native API. */
export interface OllamaConfig {
  backend: "ollama";
  /** The model: `llama3.2`. */
  model?: string | undefined;
  /** Where the server is; `http://localhost:11434` by default. */
  base_url?: string | undefined | null;
  /** The credential, where a proxy or Ollama's cloud asks for one; `OLLAMA_API_KEY` by default. */
  api_key?: string | undefined | null;
  /**
   * How long the model stays loaded after a request: `10m`, `-1` for ever, `0` not at all. By default the server
   * decides.
   */
  keep_alive?: string | undefined | null;
  /**
   * Tokens of the context window. The server's default is small, and it cuts longer conversations without saying
   * so.
   */
  num_ctx?: number | undefined | null;
  /** The width of embeddings: requested from the server, and part of the space. */
  dimensions?: number | undefined | null;
  /** The text that the model wants before queries; "" if it wants none. */
  query_prompt?: string | undefined | null;
  /** The text that the model wants before documents; "" if it wants none. */
  document_prompt?: string | undefined | null;
}

/** A CLIP embedding service (`/embed/text`, `/embed/image`). */
export interface ClipServiceConfig {
  backend: "clip_service";
  /** The URL of the service, `https://owner-name.hf.space` or any other; `CLIP_SERVICE_URL` by default. */
  url?: string | undefined;
  /** The service's own key, sent as `X-API-Key`; `CLIP_API_KEY` by default, and no key if that is not set. */
  api_key?: string | undefined | null;
  /** A Hugging Face token for a private Space. It is sent to the service, so it is never read from the environment. */
  hf_token?: string | undefined | null;
  /** The model that the service runs; it names the embedding space. */
  model?: string | undefined;
  /** The width of the vectors; by default 512 for the default model, and that of the first answer for any other. */
  dimensions?: number | undefined | null;
  /** `owner/name` of the Space behind the URL, to ask the Hub for its state. URLs on `hf.space` do not need it. */
  space?: string | undefined | null;
  /** The URL of the Hub; `HF_ENDPOINT`, then `https://huggingface.co` by default. */
  hub_url?: string | undefined | null;
  /** The most seconds until the service's status line, unless the context or policy has a shorter limit. */
  timeout_seconds?: number | undefined;
  /** How many seconds to wait for a service that is waking up, within the deadline. */
  wake_seconds?: number | undefined;
}

/** In this process. */
export interface EmbedderLocalConfig {
  backend: "local";
  /**
   * The weights: a folder, a file (`model.gguf`), or `org/name[:file][@revision]` on the Hub, where `file` is a
   * part of the name of one of its GGUF files (`Q4_K_M`), or a sample model (`tiny:clip`).
   */
  model?: string | undefined;
  /** Where to run: `auto`, `cpu` or `cuda:N`. */
  device?: string | undefined | null;
  /**
   * In which precision: `auto`, `f32`, `bf16`, `int8`, or `bf16x3` on CPUs with AMX: almost f32, as sums of two
   * bf16. Chat models also take `q8_0` and `q4_k`: their plain numbers are quantised while they are loaded.
   */
  precision?: string | undefined | null;
  /**
   * How weights are read: `map` (the default) shares the pages of the files with the page cache and other
   * processes, and needs files that nobody rewrites in place; `copy` reads them into memory.
   */
  load?: string | undefined | null;
  /** The width of the vectors, for models trained to have them shortened; by default the model's own. */
  dimensions?: number | undefined | null;
  /**
   * How the vectors of a text's tokens become one vector, where the model's files do not say it or should not
   * decide: `mean`, `cls`, `last_token`, `max` or `weighted_mean`. Language models and cross-encoders without files
   * of sentence-transformers need it.
   */
  pooling?: Pooling | undefined | null;
  /**
   * The embedding space under the name by which others know it: the model and revision that a folder's files are,
   * so that another backend may stand in for it. The rest comes from the files and must agree with what is said
   * here.
   */
  space?: EmbeddingSpace | undefined | null;
  /**
   * Whether the precision is measured when the model is loaded: some texts (and images) are embedded in f32 too,
   * with a second copy of the weights that is dropped afterwards. If the vectors differ too much, `auto` takes f32
   * instead, and any other precision is an error.
   */
  verify?: boolean | undefined;
  /**
   * The most pixels of an image: 33,554,432 unless it or `AYNI_MAX_IMAGE_PIXELS` says otherwise. A larger one is
   * refused before anything is allocated for it; decoding takes up to 16 bytes a pixel, and as many images at a
   * time as there are threads.
   */
  max_image_pixels?: number | undefined | null;
}

/** Anthropic's Messages API. */
export interface AnthropicConfig {
  backend: "anthropic";
  /** The model: `claude-sonnet-4-6`. */
  model?: string | undefined;
  /** Where the API is, without `/v1`; `ANTHROPIC_BASE_URL`, then `https://api.anthropic.com` by default. */
  base_url?: string | undefined | null;
  /** The API key; `ANTHROPIC_API_KEY` by default. */
  api_key?: string | undefined | null;
  /** A token that is sent as a bearer instead of a key; `ANTHROPIC_AUTH_TOKEN` by default. */
  auth_token?: string | undefined | null;
  /** The most tokens of an answer whose request names none: the API wants a number. 4096 by default. */
  max_tokens?: number | undefined | null;
  /** Asks for the places of the conversation's documents that an answer rests on. */
  citations?: boolean | undefined;
  /** Features that are being tried out (`anthropic-beta`). */
  betas?: readonly string[] | undefined;
  /** Most requests in flight with this credential. */
  max_concurrency?: number | undefined | null;
}

/** In this process. */
export interface ChatLocalConfig {
  backend: "local";
  /**
   * The weights: a folder, a file (`model.gguf`), or `org/name[:file][@revision]` on the Hub, where `file` is a
   * part of the name of one of its GGUF files (`Q4_K_M`), or a sample model (`tiny:clip`).
   */
  model?: string | undefined;
  /** Where to run: `auto`, `cpu` or `cuda:N`. */
  device?: string | undefined | null;
  /**
   * In which precision: `auto`, `f32`, `bf16`, `int8`, or `bf16x3` on CPUs with AMX: almost f32, as sums of two
   * bf16. Chat models also take `q8_0` and `q4_k`: their plain numbers are quantised while they are loaded.
   */
  precision?: string | undefined | null;
  /**
   * How weights are read: `map` (the default) shares the pages of the files with the page cache and other
   * processes, and needs files that nobody rewrites in place; `copy` reads them into memory.
   */
  load?: string | undefined | null;
  /** The chat template by its name: one of the model's own, or of ayni's; by default the model's default. */
  template?: string | undefined | null;
  /** The longest conversation with its answer, in tokens; by default what the model takes and `cache_bytes` holds. */
  context?: number | undefined | null;
  /**
   * Memory for the keys and values of all conversations, in bytes; 2 GiB by default. Where it is short, beginnings
   * that might be used again go first; then the newest answer waits, and is gone on with later.
   */
  cache_bytes?: number | undefined | null;
  /**
   * The dtype of keys and values on the CPU: `auto` (the default), `f32`, `f16`, `bf16` or `int8`. `auto` is `f16`;
   * `int8` takes about half the memory and is less exact.
   */
  kv?: string | undefined | null;
  /**
   * A folder for beginnings of conversations that `cache_bytes` has no room for, so that they needn't be computed
   * again; none by default. Files there hold what was asked, in the model's numbers; nobody else can open them, and
   * none is left when the process ends.
   */
  spill?: string | undefined | null;
  /** The most bytes in `spill`; 8 GiB by default. */
  spill_bytes?: number | undefined | null;
  /**
   * Whether tokens that an answer probably goes on with are computed ahead where that has been faster; `true` by
   * default. The answer is the same.
   */
  speculation?: boolean | undefined | null;
  /** The most answers in progress; 16 by default. */
  max_running?: number | undefined | null;
  /** The most requests that wait; 64 by default. Further ones fail with `rate_limited`. */
  max_queued?: number | undefined | null;
}

/** An image engine (`/generate`, `/refine`). */
export interface ImageEngineConfig {
  backend: "image_engine";
  /** The URL of the engine; `CLOUD_ENGINE_URL`, then `VITE_CLOUD_ENGINE_URL` by default. */
  url?: string | undefined;
  /** The engine's own key, sent as `X-API-Key`. */
  api_key?: string | undefined | null;
  /** A Hugging Face token for a private Space. It is sent to the engine, so it is never read from the environment. */
  hf_token?: string | undefined | null;
  /** The name of the engine's model until an answer names it. */
  model?: string | undefined;
  /** The `resolution` of requests without one. */
  resolution?: Resolution | undefined;
  /** The `temperature` of requests without one. */
  temperature?: number | undefined;
  /** `owner/name` of the Space behind the URL, to ask the Hub for its state. URLs on `hf.space` do not need it. */
  space?: string | undefined | null;
  /** The URL of the Hub; `HF_ENDPOINT`, then `https://huggingface.co` by default. */
  hub_url?: string | undefined | null;
  /**
   * The most seconds until the engine's status line, which comes with the finished images, unless the context or
   * policy has a shorter limit.
   */
  timeout_seconds?: number | undefined;
  /** How many seconds to wait for an engine that is waking up, within the deadline. */
  wake_seconds?: number | undefined;
}

/** In this process. */
export interface ImageLocalConfig {
  backend: "local";
  /**
   * The weights: a folder, a file (`model.gguf`), or `org/name[:file][@revision]` on the Hub, where `file` is a
   * part of the name of one of its GGUF files (`Q4_K_M`), or a sample model (`tiny:clip`).
   */
  model?: string | undefined;
  /** Where to run: `auto`, `cpu` or `cuda:N`. */
  device?: string | undefined | null;
  /**
   * In which precision: `auto`, `f32`, `bf16`, `int8`, or `bf16x3` on CPUs with AMX: almost f32, as sums of two
   * bf16. Chat models also take `q8_0` and `q4_k`: their plain numbers are quantised while they are loaded.
   */
  precision?: string | undefined | null;
  /**
   * How weights are read: `map` (the default) shares the pages of the files with the page cache and other
   * processes, and needs files that nobody rewrites in place; `copy` reads them into memory.
   */
  load?: string | undefined | null;
  /**
   * LoRAs, in order. They apply to requests that do not name their own (`extra.loras`); one of weight 0 applies
   * only where a request names it.
   */
  loras?: readonly LoraSource[] | undefined;
  /** Other weights for the model's UNet, such as those of SDXL-Lightning: a file, or `org/name:file` on the Hub. */
  unet?: string | undefined | null;
  /** Another VAE: a folder, or `org/name` on the Hub. `AutoencoderTiny` (TAESD) and fp16-fix are read. */
  vae?: string | undefined | null;
  /**
   * What the model was made for, where neither its files nor the names of model, UNet and LoRAs say it: `standard`,
   * `lcm`, `turbo` or `lightning-N` for N steps. It decides which steps, guidance and schedulers are legal.
   */
  recipe?: string | undefined | null;
  /**
   * The scheduler of requests without one: `euler`, `euler_ancestral`, `dpmpp_2m`, `lcm`, …; by default the
   * recipe's.
   */
  scheduler?: string | undefined | null;
  /**
   * The most memory that weights and images in progress may take, in bytes; by default what the machine and the
   * cgroup leave. Larger requests fail with `out_of_memory`, which names the size that fits.
   */
  memory_bytes?: number | undefined | null;
  /** The most images in progress; 4 by default. Their steps are computed together. */
  max_batch?: number | undefined | null;
  /** The most requests that wait; 16 by default. Further ones fail with `rate_limited`. */
  max_queued?: number | undefined | null;
  /** Whether images hold no prompt and no receipt of how they were made. */
  without_receipts?: boolean | undefined;
  /**
   * What is done with images in which the model's safety checker finds something; `off` by default, and then it is
   * not loaded.
   */
  safety?: SafetyMode | undefined;
  /** A safety checker other than the repository's own, or for one that has none: a folder, or `org/name` on the Hub. */
  safety_checker?: string | undefined | null;
}

/** Chile's public procurement. */
export interface MercadoPublicoConfig {
  backend: "mercado_publico";
  /** The ticket; `MERCADO_PUBLICO_TICKET` by default. */
  ticket?: string | undefined | null;
  /** The ticket for the quick-purchase API, if it has its own. */
  quick_ticket?: string | undefined | null;
  /** The URL of the API for tenders and orders. */
  base_url?: string | undefined;
  /** The URL of the API for quick purchases. */
  quick_url?: string | undefined;
  /** The URL of the OCDS service. */
  ocds_url?: string | undefined;
  /** The URL of the monthly files. */
  bulk_url?: string | undefined;
  /** The URL of the rates of currencies by day: mindicador.cl's API. */
  rates_url?: string | undefined;
  /** The folder for monthly files while they are read; by default one beside the lock file. */
  bulk_dir?: string | undefined | null;
  /**
   * The store for quota, checkpoints, answers and records: `memory`, `sqlite:<path>`, or
   * `postgres://user:password@host/database` for several machines; `DATABASE_URL` by default, else `memory`.
   */
  store?: string | undefined | null;
  /**
   * Whether processes lock the ticket while they send a request: by a lock file for those on this machine, or, with
   * a store in PostgreSQL, through the store for all that share it.
   */
  lock?: boolean | undefined;
  /**
   * The folder of the lock file; by default that of the store, else the user's state folder, else the folder for
   * temporary files. With a store in PostgreSQL there is a lock file only if this is set.
   */
  lock_dir?: string | undefined | null;
  /** The ticket's requests per day. */
  daily_quota?: number | undefined;
  /** The most requests per day that ayni sends. */
  soft_limit?: number | undefined;
  /**
   * The most calls of one request, unless the request says otherwise. A listing that needs more ends there with a
   * cursor.
   */
  max_calls?: number | undefined;
  /** The shortest time between the end of a request and the start of the next. */
  min_gap_seconds?: number | undefined;
  /** How old a stored list of today may be. */
  today_ttl_seconds?: number | undefined;
  /** How many past days are read again, because records are added to a day's list late. */
  reread_days?: number | undefined;
  /** The rows of a page of quick purchases; halved when the service times out. Even, from 10 to 50. */
  page_size?: number | undefined;
  /** The most megabytes of stored answers. The oldest are deleted first; records and events stay. */
  answers_max_megabytes?: number | undefined;
  /** The most days that an answer is stored. */
  answers_max_days?: number | undefined;
  /** How to read the `Z` in the times of quick purchases and OCDS. */
  zone_mark?: ZoneMark | undefined;
  /**
   * Whether to keep names, telephone numbers and mail addresses of persons. Otherwise they are removed from every
   * answer before it is parsed or stored.
   */
  personal_data?: boolean | undefined;
}

/** A backend of this capability, without policy. */
export type EmbedderBackend =
  | ScriptedConfig
  | OpenaiConfig
  | GeminiConfig
  | HuggingfaceConfig
  | TeiConfig
  | OllamaConfig
  | ClipServiceConfig
  | EmbedderLocalConfig;

/** A backend, those that stand in for it, and the policy around them. */
export type EmbedderConfig = EmbedderBackend & {
  /** Retries, time-outs, limits, cache, observation. */
  policy?: Policy | undefined;
  /**
   * How the built-in transport connects: certificates, proxy, user agent. It is not used where the call's context,
   * the setup or the policy has a transport.
   */
  http?: HttpOptions | undefined;
  /** The backends that are asked when it cannot serve, in order. */
  fallback?: readonly EmbedderBackend[] | undefined;
};

/** A backend of this capability, without policy. */
export type ChatBackend =
  | ScriptedConfig
  | OpenaiConfig
  | AnthropicConfig
  | GeminiConfig
  | HuggingfaceConfig
  | OllamaConfig
  | ChatLocalConfig;

/** A backend, those that stand in for it, and the policy around them. */
export type ChatConfig = ChatBackend & {
  /** Retries, time-outs, limits, cache, observation. */
  policy?: Policy | undefined;
  /**
   * How the built-in transport connects: certificates, proxy, user agent. It is not used where the call's context,
   * the setup or the policy has a transport.
   */
  http?: HttpOptions | undefined;
  /** The backends that are asked when it cannot serve, in order. */
  fallback?: readonly ChatBackend[] | undefined;
};

/** A backend of this capability, without policy. */
export type ImageBackend =
  | ScriptedConfig
  | OpenaiConfig
  | HuggingfaceConfig
  | ImageEngineConfig
  | ImageLocalConfig;

/** A backend, those that stand in for it, and the policy around them. */
export type ImageConfig = ImageBackend & {
  /** Retries, time-outs, limits, cache, observation. */
  policy?: Policy | undefined;
  /**
   * How the built-in transport connects: certificates, proxy, user agent. It is not used where the call's context,
   * the setup or the policy has a transport.
   */
  http?: HttpOptions | undefined;
  /** The backends that are asked when it cannot serve, in order. */
  fallback?: readonly ImageBackend[] | undefined;
};

/** A backend of this capability, without policy. */
export type ProcurementBackend =
  | ScriptedConfig
  | MercadoPublicoConfig;

/** A backend, those that stand in for it, and the policy around them. */
export type ProcurementConfig = ProcurementBackend & {
  /** Retries, time-outs, limits, cache, observation. */
  policy?: Policy | undefined;
  /**
   * How the built-in transport connects: certificates, proxy, user agent. It is not used where the call's context,
   * the setup or the policy has a transport.
   */
  http?: HttpOptions | undefined;
  /** The backends that are asked when it cannot serve, in order. */
  fallback?: readonly ProcurementBackend[] | undefined;
};
