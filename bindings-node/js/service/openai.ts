/** OpenAI's routes: chat completions, responses, embeddings, images, models, tokens. */

import { randomUUID } from "node:crypto";

import { RunningCall, run } from "../calls.js";
import { Chat } from "../chat.js";
import { Embedder } from "../embedder.js";
import { AyniError } from "../failure.js";
import { NotFound } from "../generated/errors.js";
import { version } from "../generated/version.js";
import { ImageGenerator } from "../images.js";
import { type NativeOpenAiEvents, type NativeOpenAiRequest, type OpenAiRouteName, native, unwrap } from "../native.js";
import { keptAlive } from "./events.js";
import { responseOf, statusOf } from "./failures.js";
import type { Form } from "./pages.js";
import type { Exchange, Part, Route, Router } from "./router.js";
import { jsonText } from "./router.js";

type Named<H> = H | Readonly<Record<string, H>> | undefined;

/** The handles that answer. A handle is served under its model's name; an object gives the names. */
export interface OpenAiHandles {
  chat?: Named<Chat>;
  embedder?: Named<Embedder>;
  images?: Named<ImageGenerator>;
}

function named<H extends { info(): { model: string } }>(given: Named<H>, kind: new (...a: never[]) => H): Map<string, H> {
  if (given === undefined) return new Map();
  return new Map(given instanceof kind ? [[given.info().model, given]] : Object.entries(given as Record<string, H>));
}

function served<H>(handles: Map<string, H>, model: string, what: string): H {
  if (handles.size === 0) throw new NotFound(`this service serves no ${what}`);
  const found = handles.get(model);
  if (found !== undefined) return found;
  const valid = [...handles.keys()].join(", ");
  throw new NotFound(`the model '${model.slice(0, 80)}' is not served here; valid for ${what}: ${valid}`);
}

const now = (): number => Math.floor(Date.now() / 1000);

async function read(route: OpenAiRouteName, { request, body }: Exchange): Promise<NativeOpenAiRequest> {
  const contentType = request.headers.get("content-type") ?? undefined;
  return unwrap(await native().OpenAiRequest.read(route, Buffer.from(body), contentType));
}

/**
 * Server-sent events of native code. What begins within `keepAliveMs` has a status of its own if it fails; later failures are
 * events, on which OpenAI's clients raise.
 */
async function streamed(asked: NativeOpenAiRequest, chat: Chat["native"], id: string, exchange: Exchange): Promise<Response> {
  const { request, signal, requestId, told, keepAliveMs } = exchange;
  const call = new RunningCall({ signal: request.signal }, true);
  // The time limit and the caller's leaving both count until the first piece.
  const cancel = (): void => call.native?.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  const opening = call.step(asked.events(chat, id, now(), requestId, call.native)) as Promise<NativeOpenAiEvents>;
  const settled = opening.then(
    () => true,
    () => true,
  );
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), keepAliveMs)));
  const hasBegun = await Promise.race([settled, silence]).finally(() => clearTimeout(timer));
  signal.removeEventListener("abort", cancel);
  if (hasBegun) await opening;
  const encoder = new TextEncoder();
  const stop = (): void => {
    call.native?.cancel();
    opening.then((events) => events.close()).catch(() => undefined);
    call.finish();
  };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        let piece: { text: string; kind?: string };
        try {
          piece = await call.step((await opening).next());
        } catch (error) {
          piece = await failed(error, requestId);
        }
        const { text, kind } = piece;
        if (text !== "") controller.enqueue(encoder.encode(text));
        // The status is sent already; OpenAI's clients raise on an event with `error`.
        if (kind) told["kind"] = kind;
        if (text === "" || kind) {
          stop();
          controller.close();
        }
      },
      cancel: stop,
    },
    { highWaterMark: 0 },
  );
  return keptAlive(body, keepAliveMs);
}

/** The event of a failure that came after the status. */
async function failed(error: unknown, requestId: string): Promise<{ text: string; kind: string }> {
  const { response, kind } = responseOf(error, requestId);
  const status = error instanceof AyniError ? statusOf(error) : 500;
  const fields = (await response.json()) as Record<string, unknown>;
  return { text: `data: ${JSON.stringify({ ...fields, status })}\n\n`, kind };
}

/** OpenAI's routes on ayni's handles, under `/v1`; `/tokenize` and `/info` beside it. */
export function openaiRoutes(handles: OpenAiHandles): Router {
  const chats = named(handles.chat, Chat);
  const embedders = named(handles.embedder, Embedder);
  const generators = named(handles.images, ImageGenerator);
  const names = [...new Set([...chats.keys(), ...embedders.keys(), ...generators.keys()])];
  let isLoaded = false;
  const part: Part = {
    name: "openai",
    title: () => "openai",
    load: async (call) => {
      const isLocal = (handle: Chat | Embedder | ImageGenerator): boolean => handle.info().backend === "local";
      for (const handle of [...chats.values(), ...embedders.values(), ...generators.values()]) {
        if (isLocal(handle)) await handle.ready(call);
      }
      for (const embedder of embedders.values()) if (isLocal(embedder)) await embedder.embed("warm-up");
      isLoaded = true;
    },
    isPaid: () => [...chats.values(), ...embedders.values(), ...generators.values()].some((one) => one.info().host !== null),
    close: async () => undefined,
    health: async () => ({ models: names }),
    problem: () => (isLoaded ? undefined : "the models are not loaded"),
    forms: () => formsOf([...chats.keys()], [...embedders.keys()], [...generators.keys()]),
  };
  type Answering = Chat["native"] | Embedder["native"] | ImageGenerator["native"];
  const answered = (path: string, name: OpenAiRouteName, prefix: string, find: (model: string) => Answering): Route => ({
    method: "POST",
    path,
    takesImages: name === "chat" || name === "responses" || name === "edits",
    handle: async (exchange) => {
      const asked = await read(name, exchange);
      const handle = find(asked.model() ?? "");
      const id = `${prefix}${randomUUID().replaceAll("-", "")}`;
      if (asked.streams()) return streamed(asked, handle as Chat["native"], id, exchange);
      return jsonText(await run({ signal: exchange.signal }, (call) => asked.answer(handle, id, now(), call)));
    },
  });
  const chat = (model: string): Answering => served(chats, model, "chat").native;
  const images = (model: string): Answering => {
    const first = generators.keys().next().value ?? "";
    return served(generators, model || first, "images").native;
  };
  const texts = (model: string): Answering => {
    const all = new Map<string, Chat | Embedder>([...chats, ...embedders]);
    return served(all, model, "texts").native;
  };
  return {
    part,
    routes: [
      answered("/v1/chat/completions", "chat", "chatcmpl-", chat),
      answered("/v1/completions", "completions", "cmpl-", chat),
      answered("/v1/responses", "responses", "resp_", chat),
      answered("/v1/embeddings", "embeddings", "", (model) => served(embedders, model, "embeddings").native),
      answered("/v1/images/generations", "images", "", images),
      answered("/v1/images/edits", "edits", "", images),
      answered("/tokenize", "tokens", "", texts),
      { method: "GET", path: "/info", handle: async () => Response.json(about(chats, embedders, generators)) },
      ...listed(names),
    ],
  };
}

function formsOf(chats: string[], embedders: string[], generators: string[]): Form[] {
  const form = (title: string, path: string, models: string[], value: string, shows: Form["shows"], body: object): Form[] => {
    const model = { name: "model", label: "Model", kind: "choice", choices: models } as const;
    const prompt = { name: "prompt", label: "Text", kind: "text", value } as const;
    return models.length === 0 ? [] : [{ title, path, inputs: [model, prompt], shows, body: { model: "$model", ...body } }];
  };
  const messages = [{ role: "user", content: "$prompt" }];
  return [
    ...form("Chat", "/v1/chat/completions", chats, "hola", "text", { messages }),
    ...form("Vector of a text", "/v1/embeddings", embedders, "hola", "vector", { input: "$prompt" }),
    ...form("Make an image", "/v1/images/generations", generators, "a red fox in the snow", "images", { prompt: "$prompt" }),
  ];
}

/** What is known about every model, without asking anybody. */
function about(
  chats: Map<string, Chat>,
  embedders: Map<string, Embedder>,
  generators: Map<string, ImageGenerator>,
): Record<string, unknown> {
  const of = (id: string, kind: string, handle: Chat | Embedder | ImageGenerator): Record<string, unknown> => {
    const { backend, model, device, precision } = handle.info();
    return { id, kind, backend, model, device, precision };
  };
  return {
    version,
    models: [
      ...Array.from(chats, ([id, chat]) => ({ ...of(id, "chat", chat), window: chat.window() })),
      ...Array.from(embedders, ([id, embedder]) => ({
        ...of(id, "embeddings", embedder),
        window: embedder.window(),
        dimensions: embedder.space().dimensions,
      })),
      ...Array.from(generators, ([id, generator]) => of(id, "images", generator)),
    ],
  };
}

/** The list of models, and each of them. */
function listed(names: string[]): Route[] {
  const created = now();
  return [
    {
      method: "GET",
      path: "/v1/models",
      handle: async () => jsonText(unwrap(native().openaiModels(names, created))),
    },
    {
      method: "GET",
      path: "/v1/models/*",
      handle: async ({ params }) => {
        const model = params["rest"] ?? "";
        if (names.includes(model)) return jsonText(unwrap(native().openaiModels(names, created, model)));
        throw new NotFound(`the model '${model.slice(0, 80)}' is not served here; valid: ${names.join(", ")}`);
      },
    },
  ];
}
