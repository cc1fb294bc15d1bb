/** OpenAI's routes: chat completions, embeddings, images, models. */

import { randomUUID } from "node:crypto";

import { RunningCall, run } from "../calls.js";
import { Chat } from "../chat.js";
import { Embedder } from "../embedder.js";
import { NotFound, Unsupported } from "../generated/errors.js";
import { ImageGenerator } from "../images.js";
import { type NativeOpenAiEvents, type NativeOpenAiRequest, native, unwrap } from "../native.js";
import { keptAlive } from "./events.js";
import type { Exchange, Part, Router } from "./router.js";
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
  if (handles.size === 0) throw new Unsupported(`this service serves no ${what}`);
  const found = handles.get(model);
  if (found !== undefined) return found;
  const valid = [...handles.keys()].join(", ");
  throw new NotFound(`the model '${model.slice(0, 80)}' is not served here; valid for ${what}: ${valid}`);
}

const now = (): number => Math.floor(Date.now() / 1000);

async function read(route: "chat" | "embeddings" | "images", { request, body }: Exchange): Promise<NativeOpenAiRequest> {
  const contentType = request.headers.get("content-type") ?? undefined;
  return unwrap(await native().OpenAiRequest.read(route, Buffer.from(body), contentType));
}

/** Server-sent events of native code. The first piece is there already: a failure before it sets the status. */
function streamed(events: NativeOpenAiEvents, call: RunningCall, told: Record<string, unknown>): Response {
  const encoder = new TextEncoder();
  const stop = (): void => {
    call.native?.cancel();
    events.close();
    call.finish();
  };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { text, kind } = await call.step(events.next());
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
  return keptAlive(body);
}

/** OpenAI's routes on ayni's handles, under `/v1`. */
export function openaiRoutes(handles: OpenAiHandles): Router {
  const chats = named(handles.chat, Chat);
  const embedders = named(handles.embedder, Embedder);
  const generators = named(handles.images, ImageGenerator);
  const names = [...new Set([...chats.keys(), ...embedders.keys(), ...generators.keys()])];
  const created = now();
  let isLoaded = false;
  const part: Part = {
    name: "openai",
    title: () => "openai",
    load: async () => {
      for (const embedder of embedders.values()) {
        if (embedder.info().backend === "local") await embedder.embed("warm-up");
      }
      isLoaded = true;
    },
    close: async () => undefined,
    health: async () => ({ models: names }),
    problem: () => (isLoaded ? undefined : "the models are not loaded"),
  };
  return {
    part,
    routes: [
      {
        method: "POST",
        path: "/v1/chat/completions",
        handle: async (exchange) => {
          const asked = await read("chat", exchange);
          const chat = served(chats, asked.model() ?? "", "chat").native;
          const [id, signal] = [`chatcmpl-${randomUUID().replaceAll("-", "")}`, exchange.signal];
          if (!asked.streams()) {
            return jsonText(await run({ signal }, (call) => asked.answer(chat, id, now(), call)));
          }
          const call = new RunningCall({ signal: exchange.request.signal }, true);
          // The time limit and the caller's leaving both count until the first piece.
          const stop = (): void => call.native?.cancel();
          signal.addEventListener("abort", stop, { once: true });
          try {
            const events = await call.step(asked.events(chat, id, now(), exchange.requestId, call.native));
            return streamed(events, call, exchange.told);
          } finally {
            signal.removeEventListener("abort", stop);
          }
        },
      },
      {
        method: "POST",
        path: "/v1/embeddings",
        handle: async (exchange) => {
          const asked = await read("embeddings", exchange);
          const embedder = served(embedders, asked.model() ?? "", "embeddings").native;
          return jsonText(await run({ signal: exchange.signal }, (call) => asked.answer(embedder, "", now(), call)));
        },
      },
      {
        method: "POST",
        path: "/v1/images/generations",
        handle: async (exchange) => {
          const asked = await read("images", exchange);
          const first = generators.keys().next().value ?? "";
          const images = served(generators, asked.model() ?? first, "images").native;
          return jsonText(await run({ signal: exchange.signal }, (call) => asked.answer(images, "", now(), call)));
        },
      },
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
    ],
  };
}
