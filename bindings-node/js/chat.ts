/** Chat with language models. */

import { type CallOptions, MAX_ITEMS, RunningCall, jsonOf, reading, run, split } from "./calls.js";
import { errorFrom } from "./failure.js";
import type { ChatEvent, ChatResponse } from "./generated/answers.js";
import type { ChatConfig } from "./generated/configs.js";
import { InvalidRequest } from "./generated/errors.js";
import type { ChatRequest, Message as RequestMessage, Part as RequestPart } from "./generated/requests.js";
import { LoadableHandle, type OpenOptions, configText, opened, variablesText } from "./handle.js";
import { type ImageSource, base64Of } from "./images-in.js";
import { type NativeChat, native, unwrap } from "./native.js";
import { type Schema, outputFormat, validated } from "./schema.js";

/** A piece of a message. An image as a string is base64, with or without a `data:` prefix. */
export type Part =
  | Exclude<RequestPart, { type: "image" }>
  | (Omit<Extract<RequestPart, { type: "image" }>, "image"> & { image: ImageSource | string });

/** Data that a provider attached and wants back unchanged. */
export type ProviderData = ChatResponse["provider_data"];

/** One message of a conversation. */
export interface Message extends Omit<RequestMessage, "content"> {
  content?: string | readonly Part[] | undefined;
}

/** A conversation: a question, or messages; a string among them is the user's. */
export type Messages = string | Message | readonly (string | Message)[];

/** The options of an answer. */
export interface ChatOptions extends CallOptions, Omit<ChatRequest, "messages"> {}

/** The messages as native code reads them: images are base64. */
async function readable(messages: Messages): Promise<unknown[]> {
  const list = reading("the messages", () => {
    if (typeof messages === "string" || !Array.isArray(messages)) return [messages];
    if (messages.length > MAX_ITEMS) throw new InvalidRequest(`more than ${MAX_ITEMS} messages`);
    return Array.from(messages as readonly (string | Message)[]);
  });
  return Promise.all(list.map(one));
}

async function one(message: unknown): Promise<unknown> {
  if (typeof message === "string") return { role: "user", content: message };
  if (typeof message !== "object" || message === null) throw new InvalidRequest("a message is a string or an object");
  const content = reading("the messages", () => {
    const given = (message as Message).content;
    return Array.isArray(given) && given.length <= MAX_ITEMS ? Array.from(given as Part[]) : undefined;
  });
  if (content === undefined) return message;
  const parts = await Promise.all(
    content.map(async (part) => {
      const image = reading("the messages", () => (part?.type === "image" ? part.image : undefined));
      return typeof image === "object" && image !== null ? { ...part, image: await base64Of(image) } : part;
    }),
  );
  return { ...message, content: parts };
}

/** The events of a streamed answer. They end with one `finish` or an error; leaving the loop stops the work. */
export class ChatStream implements AsyncIterableIterator<ChatEvent> {
  readonly #call: RunningCall;
  readonly #start: (call: RunningCall) => Promise<{ next(): Promise<never>; close(): void }>;
  #native: Awaited<ReturnType<NativeChat["stream"]>> | undefined;
  #batch: ChatEvent[] = [];
  #at = 0;
  #failure: Error | undefined;
  #ended = false;
  #turn: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(call: RunningCall, start: (call: RunningCall) => Promise<unknown>) {
    this.#call = call;
    this.#start = start as never;
  }

  /** Events as they arrived together; undefined at the end. */
  nextBatch(): Promise<ChatEvent[] | undefined> {
    const step = this.#turn.then(() => this.#read());
    this.#turn = step.catch(() => undefined);
    return step;
  }

  async #read(): Promise<ChatEvent[] | undefined> {
    if (this.#at < this.#batch.length) {
      const rest = this.#batch.slice(this.#at);
      this.#batch = [];
      this.#at = 0;
      return rest;
    }
    if (this.#ended) return undefined;
    try {
      if (this.#failure) throw this.#failure;
      if (this.#native === undefined) {
        this.#call.check();
        this.#native = (await this.#start(this.#call)) as never;
      }
      const stream = this.#native as unknown as { next(): Promise<string> };
      const { events, failure } = JSON.parse(await this.#call.step(stream.next())) as {
        events: ChatEvent[];
        failure: object | null;
      };
      if (failure !== null) this.#failure = errorFrom(failure);
      if (events.length > 0) return events;
      if (this.#failure) throw this.#failure;
      this.#end();
      return undefined;
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  async next(): Promise<IteratorResult<ChatEvent, undefined>> {
    if (this.#at >= this.#batch.length) {
      const batch = await this.nextBatch();
      if (batch === undefined) return { done: true, value: undefined };
      this.#batch = batch;
      this.#at = 0;
    }
    return { done: false, value: this.#batch[this.#at++] as ChatEvent };
  }

  /** Stops the work. */
  async return(): Promise<IteratorResult<ChatEvent, undefined>> {
    this.cancel();
    return { done: true, value: undefined };
  }

  /** Stops the work at once. */
  cancel(): void {
    this.#call.native?.cancel();
    this.#batch = [];
    this.#at = 0;
    this.#end();
  }

  #end(): void {
    this.#ended = true;
    this.#call.finish();
    (this.#native as { close(): void } | undefined)?.close();
    this.#native = undefined;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
  }

  #readable<T>(pick: (event: ChatEvent) => T | undefined): ReadableStream<T> {
    return new ReadableStream<T>(
      {
        pull: async (controller) => {
          for (let sent = 0; sent === 0; ) {
            const batch = await this.nextBatch();
            if (batch === undefined) return controller.close();
            for (const event of batch) {
              const picked = pick(event);
              if (picked !== undefined) {
                controller.enqueue(picked);
                sent++;
              }
            }
          }
        },
        cancel: () => this.cancel(),
      },
      { highWaterMark: 0 },
    );
  }

  /** The events as a web stream. */
  toReadableStream(): ReadableStream<ChatEvent> {
    return this.#readable((event) => event);
  }

  /** The text alone as a web stream. */
  textStream(): ReadableStream<string> {
    return this.#readable((event) => (event.type === "text" ? event.text : undefined));
  }
}

/** Answers conversations. */
export class Chat extends LoadableHandle<NativeChat> {
  /** The chat backends whose keys are set (Gemini, Groq, Featherless), each standing in for those before it. */
  static async fromEnv(env?: OpenOptions["env"]): Promise<Chat> {
    return new Chat(await opened(native().Chat, undefined, variablesText({ env })));
  }

  /** The most tokens of a conversation and its answer; null where it is not known. */
  window(): number | null {
    return unwrap(this.native.window());
  }

  /** How many tokens a conversation has for a local model that is `ready`. */
  async countTokens(messages: Messages): Promise<number> {
    return unwrap(this.native.countTokens(jsonOf("the request", { messages: await readable(messages) })));
  }

  /** Answers in one piece. */
  async chat(messages: Messages, options?: ChatOptions): Promise<ChatResponse> {
    const handle = this.native;
    const [request, call] = split(options);
    const fields = jsonOf("the request", { messages: await readable(messages), ...request });
    return JSON.parse(await run(call, (running) => handle.chat(fields, running))) as ChatResponse;
  }

  /** Answers in a stream: `for await (const event of chat.stream(…))`. Nothing is sent before the first event is asked for. */
  stream(messages: Messages, options?: ChatOptions): ChatStream {
    const [request, callOptions] = split(options);
    return new ChatStream(new RunningCall(callOptions, true), async (call) => {
      const fields = jsonOf("the request", { messages: await readable(messages), ...request });
      return call.step(this.native.stream(fields, call.native));
    });
  }

  /**
   * Asks for an answer that follows a schema and gives it validated: any Standard Schema that knows its JSON Schema (zod 4),
   * or a Standard Schema with the JSON Schema beside it. `response_invalid` if the answer does not follow it.
   */
  async parse<T>(schema: Schema<T>, messages: Messages, options?: ChatOptions): Promise<T> {
    const output = outputFormat(schema);
    const response = await this.chat(messages, { ...options, output });
    return validated(schema, response);
  }
}

/** The next message of a conversation: an answer, provider data included. */
export function toMessage(response: ChatResponse): Message {
  return {
    role: "assistant",
    content: response.parts.length > 0 ? (response.parts as unknown as readonly Part[]) : response.text,
    ...(response.reasoning === null ? {} : { reasoning: response.reasoning }),
    ...(response.tool_calls.length === 0 ? {} : { tool_calls: response.tool_calls }),
    ...(Object.keys(response.provider_data).length === 0 ? {} : { provider_data: response.provider_data }),
  };
}

/** Opens a chat backend: a configuration, or the reference of a local model. */
export async function openChat(config: ChatConfig | string, options?: OpenOptions): Promise<Chat> {
  return new Chat(await opened(native().Chat, configText(config), variablesText(options)));
}
