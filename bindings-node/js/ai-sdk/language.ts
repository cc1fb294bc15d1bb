/** Language models for the AI SDK. */

import type { Chat, ChatStream, ProviderData } from "../chat.js";
import type { ChatEvent, ChatResponse, FinishReason as Reason, Route, Usage } from "../generated/answers.js";
import { guarded, marked } from "./failures.js";
import { messagesOf, optionsOf } from "./prompt.js";
import type {
  Content,
  FinishReason,
  GenerateResult,
  JsonObject,
  LanguageModel,
  LanguageModelCallOptions,
  ProviderMetadata,
  SpecificationVersion,
  StreamPart,
  StreamResult,
  UnifiedFinishReason,
  Usage as SdkUsage,
  Warning,
} from "./types.js";

/** What a call used. The SDK gives none of it for a stream that was aborted. */
export interface UsageReport {
  /** How the call ended. */
  reason: "finish" | "abort" | "error";
  modelId: string;
  /** Who served, once that was known. */
  route: Route | undefined;
  /** The tokens, once the backend has told them; undefined for a stream that ended before. */
  usage: Usage | undefined;
  /** How many characters of text were delivered. */
  characters: number;
}

/** What a model needs besides its handle. */
export interface LanguageModelSettings<V extends SpecificationVersion> {
  specificationVersion: V;
  modelId: string;
  onUsage?: ((report: UsageReport) => void) | undefined;
}

const UNIFIED: Record<string, UnifiedFinishReason> = {
  stop: "stop", length: "length", content_filter: "content-filter", tool_calls: "tool-calls",
};

function finishOf<V extends SpecificationVersion>(version: V, reason: Reason): FinishReason<V> {
  const unified = UNIFIED[reason] ?? "other";
  return (version === "v2" ? unified : { unified, raw: reason }) as FinishReason<V>;
}

const known = (count: number | null): number | undefined => count ?? undefined;

function usageOf<V extends SpecificationVersion>(version: V, usage: Usage): SdkUsage<V> {
  const [input, output] = [known(usage.input_tokens), known(usage.output_tokens)];
  const [reasoning, cached] = [known(usage.reasoning_tokens), known(usage.cached_tokens)];
  const less = (whole: number | undefined, part: number | undefined) =>
    whole === undefined || part === undefined ? undefined : Math.max(0, whole - part);
  const made =
    version === "v2"
      ? {
          inputTokens: input,
          outputTokens: output,
          totalTokens: input === undefined || output === undefined ? undefined : input + output,
          reasoningTokens: reasoning,
          cachedInputTokens: cached,
        }
      : {
          inputTokens: { total: input, noCache: less(input, cached), cacheRead: cached, cacheWrite: undefined },
          outputTokens: { total: output, text: less(output, reasoning), reasoning },
        };
  return made as SdkUsage<V>;
}

/** Data of the provider that must come back with the next request: the SDK keeps it with the part. */
function kept(name: "call" | "message", data: ProviderData | undefined): { providerMetadata?: ProviderMetadata } {
  if (!data || Object.keys(data).length === 0) return {};
  return { providerMetadata: { ayni: { [name]: data as JsonObject } } };
}

const routed = (route: Route): ProviderMetadata => ({ ayni: { route: route as unknown as JsonObject } });

function contentOf(answer: ChatResponse): Content<SpecificationVersion>[] {
  const content: Content<SpecificationVersion>[] = [];
  if (answer.reasoning) content.push({ type: "reasoning", text: answer.reasoning });
  if (answer.text) content.push({ type: "text", text: answer.text, ...kept("message", answer.provider_data) });
  for (const call of answer.tool_calls) {
    const { id: toolCallId, name: toolName, provider_data: data } = call;
    content.push({ type: "tool-call", toolCallId, toolName, input: call.arguments.trim() || "{}", ...kept("call", data) });
  }
  return content;
}

/** Turns events into the parts of the SDK's streams. */
class Parts<V extends SpecificationVersion> {
  route: Route | undefined;
  usage: Usage | undefined;
  characters = 0;
  readonly #version: V;
  #open: "text" | "reasoning" | undefined;
  #count = 0;
  readonly #calls = new Map<number, string>();

  constructor(version: V) {
    this.#version = version;
  }

  #close(data?: ProviderData): StreamPart<V>[] {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) return [];
    return [{ type: `${open}-end`, id: String(this.#count), ...(open === "text" ? kept("message", data) : {}) }];
  }

  #piece(kind: "text" | "reasoning", delta: string): StreamPart<V>[] {
    const parts: StreamPart<V>[] = [];
    if (this.#open !== kind) {
      parts.push(...this.#close());
      this.#open = kind;
      parts.push({ type: `${kind}-start`, id: String(++this.#count) });
    }
    parts.push({ type: `${kind}-delta`, id: String(this.#count), delta });
    return parts;
  }

  of(event: ChatEvent): StreamPart<V>[] {
    switch (event.type) {
      case "started": {
        this.route = event.route;
        const id = event.route.request_id;
        return [{ type: "response-metadata", modelId: event.route.model, timestamp: new Date(), ...(id ? { id } : {}) }];
      }
      case "text":
        this.characters += event.text.length;
        return event.text === "" ? [] : this.#piece("text", event.text);
      case "reasoning":
        return event.text === "" ? [] : this.#piece("reasoning", event.text);
      case "tool_call_started":
        this.#calls.set(event.index, event.id);
        return [{ type: "tool-input-start", id: event.id, toolName: event.name }];
      case "tool_call_arguments": {
        const id = this.#calls.get(event.index);
        return id === undefined || event.piece === "" ? [] : [{ type: "tool-input-delta", id, delta: event.piece }];
      }
      case "tool_call": {
        const { id, name, provider_data: data } = event.call;
        const started = this.#calls.get(event.index);
        const end: StreamPart<V>[] = started === undefined ? [] : [{ type: "tool-input-end", id: started }];
        const input = event.call.arguments.trim() || "{}";
        return [...end, { type: "tool-call", toolCallId: id, toolName: name, input, ...kept("call", data) }];
      }
      case "part":
      case "annotation":
      case "metadata":
      case "logprobs":
        return [];
      case "finish": {
        this.usage = event.usage;
        const [finishReason, usage] = [finishOf(this.#version, event.reason), usageOf(this.#version, event.usage)];
        const metadata = this.route ? { providerMetadata: routed(this.route) } : {};
        return [...this.#close(event.provider_data), { type: "finish", finishReason, usage, ...metadata }];
      }
      default:
        // What a newer native part tells besides is not for the SDK.
        return [];
    }
  }
}

/** A model as a plain object of closures: the SDK wraps models in proxies, on which classes and frozen objects break. */
export function languageModel<V extends SpecificationVersion>(
  chat: () => Promise<Chat>,
  settings: LanguageModelSettings<V>,
): LanguageModel<V> {
  const { specificationVersion: version, modelId, onUsage } = settings;

  async function doGenerate(options: LanguageModelCallOptions<V>): Promise<GenerateResult<V>> {
    return guarded(options.abortSignal, async () => {
      const { options: own, warnings } = optionsOf(options);
      const answer = await (await chat()).chat(messagesOf(options.prompt), own);
      const { route, usage, text } = answer;
      onUsage?.({ reason: "finish", modelId, route, usage, characters: text.length });
      return {
        content: contentOf(answer) as Content<V>[],
        finishReason: finishOf(version, answer.finish),
        usage: usageOf(version, usage),
        warnings: warnings as Warning<V>[],
        providerMetadata: routed(route),
        response: { modelId: route.model, timestamp: new Date(), ...(route.request_id ? { id: route.request_id } : {}) },
      };
    });
  }

  async function doStream(options: LanguageModelCallOptions<V>): Promise<StreamResult<V>> {
    const signal = options.abortSignal;
    const { options: own, warnings } = optionsOf(options);
    const { stream, first } = await guarded(signal, async () => {
      const opened = (await chat()).stream(messagesOf(options.prompt), own);
      // A failure before the first event rejects here, and the SDK may try again.
      return { stream: opened, first: await opened.nextBatch() };
    });
    const start: StreamPart<V>[] = [{ type: "stream-start", warnings: warnings as Warning<V>[] }];
    return { stream: partsOf(stream, first, start, signal) };
  }

  function partsOf(
    stream: ChatStream,
    first: ChatEvent[] | undefined,
    start: StreamPart<V>[],
    signal: AbortSignal | undefined,
  ): ReadableStream<StreamPart<V>> {
    const parts = new Parts(version);
    let batch = first;
    let reported = false;
    const report = (reason: UsageReport["reason"]): void => {
      if (reported) return;
      reported = true;
      onUsage?.({ reason, modelId, route: parts.route, usage: parts.usage, characters: parts.characters });
    };
    return new ReadableStream<StreamPart<V>>(
      {
        start(controller) {
          for (const part of start) controller.enqueue(part);
        },
        async pull(controller) {
          try {
            // A pull that enqueues nothing is never repeated.
            for (let sent = 0; sent === 0; ) {
              const events = batch ?? (await stream.nextBatch());
              batch = undefined;
              if (signal?.aborted) throw signal.reason;
              if (events === undefined) return controller.close();
              for (const event of events) {
                for (const part of parts.of(event)) {
                  controller.enqueue(part);
                  sent++;
                }
              }
              if (parts.usage) report("finish");
            }
          } catch (error) {
            if (signal?.aborted) {
              stream.cancel();
              report("abort");
              // Without an end of its own, majors 5 and 6 would wait for ever.
              controller.error(signal.reason);
              return;
            }
            report("error");
            controller.enqueue({ type: "error", error: marked(error) });
            controller.close();
          }
        },
        cancel() {
          stream.cancel();
          report("abort");
        },
      },
      { highWaterMark: 0 },
    );
  }

  return {
    specificationVersion: version,
    provider: "ayni.chat",
    modelId,
    // The SDK downloads what a prompt points to, and hands over bytes.
    supportedUrls: {},
    doGenerate,
    doStream,
  };
}
