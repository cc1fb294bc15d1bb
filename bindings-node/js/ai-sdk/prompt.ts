/** The SDK's prompts and options as ayni's messages and options. */

import type { ProviderData } from "../chat.js";
import type { ToolCall } from "../generated/answers.js";
import type { ChatOptions, Message, Part } from "../chat.js";
import type { Tool } from "../generated/requests.js";
import { InvalidRequest } from "../generated/errors.js";
import type {
  FilePart,
  LanguageModelCallOptions,
  Message as PromptMessage,
  OtherWarning,
  ProviderOptions,
  SpecificationVersion,
  ToolResultOutput,
  ToolResultPart,
} from "./types.js";

type Options = LanguageModelCallOptions<SpecificationVersion>;

/** What came with an earlier answer and belongs back to its provider. */
function providerData(options: ProviderOptions | undefined, name: "call" | "message"): ProviderData | undefined {
  return options?.["ayni"]?.[name] as ProviderData | undefined;
}

function image(part: FilePart<SpecificationVersion>): Part {
  const { mediaType } = part;
  let data = part.data as unknown;
  if (typeof data === "object" && data !== null && "type" in data) {
    const tagged = data as { type: string; data?: unknown; url?: unknown };
    if (tagged.type !== "data" && tagged.type !== "url") {
      throw new InvalidRequest(`a file part with data of type '${tagged.type}' is not supported`);
    }
    data = tagged.data ?? tagged.url;
  }
  if (!mediaType.startsWith("image/")) {
    throw new InvalidRequest(`a file part of media type '${mediaType}' is not supported; images are`);
  }
  if (data instanceof URL) return { type: "image_url", url: data.href };
  return { type: "image", image: data as Uint8Array | string };
}

function textOf(output: ToolResultOutput): string {
  switch (output.type) {
    case "text":
    case "error-text":
      return output.value;
    case "json":
    case "error-json":
      return JSON.stringify(output.value);
    case "execution-denied":
      return `the call was not allowed${output.reason ? `: ${output.reason}` : ""}`;
    case "content": {
      const other = output.value.find((part) => part.type !== "text");
      if (other) throw new InvalidRequest(`a tool result with a part of type '${other.type}' is not supported`);
      return output.value.map((part) => part.text ?? "").join("");
    }
  }
}

const toolMessage = (part: ToolResultPart): Message => ({
  role: "tool",
  tool_call_id: part.toolCallId,
  content: textOf(part.output),
});

type AssistantParts = Extract<PromptMessage<SpecificationVersion>, { role: "assistant" }>["content"];

function assistant(content: AssistantParts): Message[] {
  const made: Message = { role: "assistant" };
  const [calls, results]: [ToolCall[], Message[]] = [[], []];
  let [text, reasoning] = ["", ""];
  for (const part of content) {
    switch (part.type) {
      case "text": {
        text += part.text;
        const data = providerData(part.providerOptions, "message");
        if (data) made.provider_data = data;
        break;
      }
      case "reasoning":
        reasoning += part.text;
        break;
      case "tool-call": {
        const data = providerData(part.providerOptions, "call");
        const call = { id: part.toolCallId, name: part.toolName, arguments: JSON.stringify(part.input ?? {}) };
        calls.push(data ? { ...call, provider_data: data } : call);
        break;
      }
      case "tool-result":
        results.push(toolMessage(part));
        break;
      default:
        throw new InvalidRequest(`an assistant's message with a part of type '${part.type}' is not supported`);
    }
  }
  made.content = text;
  if (reasoning) made.reasoning = reasoning;
  if (calls.length > 0) made.tool_calls = calls;
  return [made, ...results];
}

/** The messages of a prompt. */
export function messagesOf(prompt: Options["prompt"]): Message[] {
  return prompt.flatMap((message): Message[] => {
    switch (message.role) {
      case "system":
        return [{ role: "system", content: message.content }];
      case "user": {
        const parts = message.content.map((part): Part => (part.type === "text" ? { type: "text", text: part.text } : image(part)));
        const [only] = parts;
        return [{ role: "user", content: parts.length === 1 && only?.type === "text" ? only.text : parts }];
      }
      case "assistant":
        return assistant(message.content);
      case "tool":
        // Answers to requests for approval are the SDK's own business.
        return message.content.flatMap((part) => (part.type === "tool-result" ? [toolMessage(part)] : []));
    }
  });
}

const REASONING: Record<string, ChatOptions["reasoning"]> = {
  none: "none", minimal: "low", low: "low", medium: "medium", high: "high", xhigh: "high", max: "high",
};

/** The options of a call, and what of them is left out. */
export function optionsOf(options: Options): { options: ChatOptions; warnings: OtherWarning[] } {
  const warnings: OtherWarning[] = [];
  const tools: Tool[] = [];
  for (const tool of options.tools ?? []) {
    if (tool.type !== "function") {
      warnings.push({ type: "other", message: `the tool '${tool.name}' belongs to another provider and is left out` });
      continue;
    }
    const { name, description, inputSchema: parameters, strict } = tool;
    tools.push({ name, parameters, ...(description ? { description } : {}), ...(strict ? { strict } : {}) });
  }
  const { toolChoice, responseFormat } = options;
  const own = (options.providerOptions?.["ayni"] ?? {}) as Partial<ChatOptions>;
  return {
    warnings,
    options: {
      max_tokens: options.maxOutputTokens,
      temperature: options.temperature,
      top_p: options.topP,
      top_k: options.topK,
      presence_penalty: options.presencePenalty,
      frequency_penalty: options.frequencyPenalty,
      seed: options.seed,
      stop: options.stopSequences,
      tools: tools.length > 0 ? tools : undefined,
      tool_choice: tools.length === 0 ? undefined : toolChoice?.type === "tool" ? { tool: toolChoice.toolName } : toolChoice?.type,
      output: outputOf(responseFormat),
      reasoning: REASONING[options.reasoning ?? ""],
      signal: options.abortSignal,
      ...own,
    },
  };
}

function outputOf(format: Options["responseFormat"]): ChatOptions["output"] {
  if (format?.type !== "json") return undefined;
  if (!format.schema) return "json";
  return { json_schema: { name: format.name ?? "answer", schema: format.schema, strict: false } };
}
