/** Chat for pages: the AI SDK's UI stream (`useChat`), or plain text. */

import { randomUUID } from "node:crypto";

import type { ChatEvent, ChatResponse, Route as ServedBy } from "../generated/answers.js";
import { Chat, type ChatOptions, type ChatStream, type Message, type Part as MessagePart, openChat } from "../chat.js";
import { AyniError } from "../failure.js";
import type { ChatConfig } from "../generated/configs.js";
import { keptAlive } from "./events.js";
import { malformed } from "./failures.js";
import { HandlePart } from "./handles.js";
import { type Exchange, Fields, type Router, objectOf } from "./router.js";

const MOST_MESSAGES = 1000;

/** How the chat route answers. */
export interface ChatRouteOptions {
  /** The route's path: `/chat`. */
  path?: string | undefined;
  /** `ui` is what `useChat` reads; `text` is the text alone. */
  format?: "ui" | "text" | undefined;
  /** The instruction before every conversation. */
  system?: string | undefined;
  /** Options of every answer. */
  options?: Omit<ChatOptions, "signal"> | undefined;
  /** Told what an answer used, once it is complete. */
  onFinish?: ((finish: Pick<ChatResponse, "usage" | "route"> & { text: string }) => void) | undefined;
}

class ChatPart extends HandlePart<Chat> {
  readonly name = "chat";

  async health(): Promise<Record<string, unknown>> {
    const { backend, model } = (await this.handle()).info();
    return { chat: { backend, model } };
  }
}

interface UiPart {
  type?: unknown;
  text?: unknown;
  url?: unknown;
  mediaType?: unknown;
}

/** The messages that `useChat` sends. What a page shows besides (sources, data, reasoning) is not for the model. */
function messagesOf(fields: Fields): Message[] {
  const given = fields.values["messages"];
  if (!Array.isArray(given) || given.length === 0 || given.length > MOST_MESSAGES) {
    throw malformed(`\`messages\` is no list of 1 to ${MOST_MESSAGES} messages`, "messages");
  }
  return given.map((message: { role?: unknown; content?: unknown; parts?: unknown } | null, index): Message => {
    const role = message?.role;
    if (role !== "user" && role !== "assistant" && role !== "system") {
      throw malformed("a message's `role` is user, assistant or system", `messages.${index}.role`);
    }
    const parts = message?.parts;
    if (!Array.isArray(parts)) {
      if (typeof message?.content === "string") return { role, content: message.content };
      throw malformed("a message has no `parts`", `messages.${index}.parts`);
    }
    return { role, content: parts.flatMap((part: UiPart | null) => partOf(part, index)) };
  });
}

function partOf(part: UiPart | null, index: number): MessagePart[] {
  const where = `messages.${index}.parts`;
  if (part?.type === "text") {
    if (typeof part.text === "string") return [{ type: "text", text: part.text }];
    throw malformed("a part has no `text`", where);
  }
  if (part?.type === "file") {
    const { url, mediaType } = part;
    if (typeof url !== "string" || typeof mediaType !== "string" || !mediaType.startsWith("image/")) {
      throw malformed("a file that is no image is not supported", where);
    }
    return [url.startsWith("data:") ? { type: "image", image: url } : { type: "image_url", url }];
  }
  if (typeof part?.type === "string" && (part.type.startsWith("tool-") || part.type === "dynamic-tool")) {
    throw malformed("tools are not served by this route; use `streamText` of the AI SDK with ayni/ai-sdk", where);
  }
  return [];
}

/** Routes for a chat in a page: POST what `useChat` sends. */
export function chatRoutes(chat: Chat | Promise<Chat> | ChatConfig | string, options: ChatRouteOptions = {}): Router {
  const isOpen = chat instanceof Chat || chat instanceof Promise;
  const part = new ChatPart(isOpen ? chat : () => openChat(chat));
  const answer = async (exchange: Exchange): Promise<Response> => {
    const system = options.system === undefined ? [] : [{ role: "system", content: options.system } as const];
    const messages = [...system, ...messagesOf(new Fields(objectOf(exchange)))];
    const own = new AbortController();
    const stop = (): void => own.abort();
    // The caller's leaving counts until the end, the time limit until the first event.
    exchange.request.signal.addEventListener("abort", stop, { once: true });
    exchange.signal.addEventListener("abort", stop, { once: true });
    const stream = (await part.handle()).stream(messages, { ...options.options, signal: own.signal });
    // A failure before the first event can still set the status.
    const first = await stream.nextBatch();
    exchange.signal.removeEventListener("abort", stop);
    const told = new Told(options.onFinish);
    const chunks = options.format === "text" ? textChunks : uiChunks();
    const body = bodyOf(stream, first, chunks, told);
    if (options.format !== "text") return keptAlive(body, exchange.keepAliveMs, { "x-vercel-ai-ui-message-stream": "v1" });
    const headers = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-cache, no-transform" };
    return new Response(body, { headers });
  };
  return { part, routes: [{ method: "POST", path: options.path ?? "/chat", takesImages: true, handle: answer }] };
}

/** What an answer comes to. */
class Told {
  #text = "";
  #route: ServedBy | undefined;

  constructor(private readonly onFinish: ChatRouteOptions["onFinish"]) {}

  of(event: ChatEvent): void {
    if (event.type === "started") this.#route = event.route;
    else if (event.type === "text") this.#text += event.text;
    else if (event.type === "finish" && this.#route) {
      this.onFinish?.({ text: this.#text, usage: event.usage, route: this.#route });
    }
  }
}

/** The text of an event, of the beginning or of an error. */
type Chunks = (event: ChatEvent | "start" | Error) => string;

const textChunks: Chunks = (event) => (typeof event === "object" && "type" in event && event.type === "text" ? event.text : "");

const data = (chunk: object): string => `data: ${JSON.stringify(chunk)}\n\n`;

/** The chunks of the AI SDK's UI stream. */
function uiChunks(): Chunks {
  let open: "text" | "reasoning" | undefined;
  let count = 0;
  let route: ServedBy | undefined;
  const close = (): string => {
    const ended = open === undefined ? "" : data({ type: `${open}-end`, id: String(count) });
    open = undefined;
    return ended;
  };
  const piece = (kind: "text" | "reasoning", delta: string): string => {
    if (delta === "") return "";
    let text = "";
    if (open !== kind) {
      text = close() + data({ type: `${kind}-start`, id: String(++count) });
      open = kind;
    }
    return text + data({ type: `${kind}-delta`, id: String(count), delta });
  };
  return (event) => {
    if (event === "start") return data({ type: "start", messageId: randomUUID() }) + data({ type: "start-step" });
    if (event instanceof Error) {
      // Its code, not its words: the page shows them to everybody.
      const code = event instanceof AyniError ? event.code : "unexpected";
      return `${close()}${data({ type: "error", errorText: code })}data: [DONE]\n\n`;
    }
    switch (event.type) {
      case "started":
        route = event.route;
        return "";
      case "text":
      case "reasoning":
        return piece(event.type, event.text);
      case "finish": {
        const finish = { type: "finish", messageMetadata: { route, usage: event.usage } };
        return `${close()}${data({ type: "finish-step" })}${data(finish)}data: [DONE]\n\n`;
      }
      default:
        return "";
    }
  };
}

function bodyOf(stream: ChatStream, first: ChatEvent[] | undefined, chunks: Chunks, told: Told): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let batch = first;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const text = chunks("start");
        if (text) controller.enqueue(encoder.encode(text));
      },
      async pull(controller) {
        try {
          for (;;) {
            const events = batch ?? (await stream.nextBatch());
            batch = undefined;
            if (events === undefined) return controller.close();
            for (const event of events) told.of(event);
            const text = events.map(chunks).join("");
            if (text) return controller.enqueue(encoder.encode(text));
          }
        } catch (error) {
          const text = chunks(error as Error);
          // Text has no form for a failure: the body breaks off, so that nobody takes it for complete.
          if (text === "") return controller.error(error);
          controller.enqueue(encoder.encode(text));
          controller.close();
        }
      },
      cancel: () => stream.cancel(),
    },
    { highWaterMark: 0 },
  );
}
