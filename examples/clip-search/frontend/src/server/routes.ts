/** The routes of the page under `/api`: the folder's images, the state of the index, search, uploads. */

import { InvalidRequest } from "ayni";
import { type Exchange, eventStream, type Router, type StreamedEvent } from "ayni/next";

import { typeOf } from "./folder.ts";
import type { Found, ImageIndex, Query } from "./index.ts";

const LONGEST_TEXT = 10_000;
const LONGEST_NAME = 1000;
const MOST_MATCHES = 100;
/** How much of the hash stands in an image's address. */
const VERSION_LENGTH = 16;

function bodyOf({ body, request }: Exchange): Record<string, unknown> {
  if (!/^application\/json\b/.test(request.headers.get("content-type") ?? "")) throw new InvalidRequest("the body is no application/json");
  let found: unknown;
  try {
    found = JSON.parse(new TextDecoder().decode(body));
  } catch {
    throw new InvalidRequest("the body is no JSON");
  }
  if (typeof found !== "object" || found === null || Array.isArray(found)) throw new InvalidRequest("the body is no JSON object");
  return found as Record<string, unknown>;
}

/** What is searched for: exactly one of `text`, `image` (base64) and `name` (of an image in the folder). */
function queryOf({ text, image, name }: Record<string, unknown>): Query {
  const given = [text, image, name].filter((one) => one !== undefined);
  if (given.length !== 1 || typeof given[0] !== "string") throw new InvalidRequest("one text is needed: `text`, `image` or `name`");
  if (typeof text === "string") {
    if (!text.trim() || text.length > LONGEST_TEXT) throw new InvalidRequest(`\`text\` has 1 to ${LONGEST_TEXT} characters`);
    return { text };
  }
  if (typeof name === "string") return { name };
  const bytes = Buffer.from(String(image), "base64");
  if (bytes.byteLength === 0) throw new InvalidRequest("`image` is no base64");
  return { image: bytes };
}

/** What is waited for, then what was found. */
async function* searching(index: ImageIndex, query: Query, most: number, signal: AbortSignal): AsyncGenerator<StreamedEvent> {
  const waits: StreamedEvent[] = [];
  let wake: () => void = () => undefined;
  let outcome: { found: Found } | { error: unknown } | undefined;
  const settled = (value: typeof outcome): void => {
    outcome = value;
    wake();
  };
  const onProgress = (event: { type: string; reason?: string; elapsed_ms?: number }): void => {
    if (event.type !== "waiting") return;
    waits.push({ event: "waiting", data: { reason: event.reason, elapsed_ms: event.elapsed_ms } });
    wake();
  };
  index.search(query, most, { signal, onProgress }).then((found) => settled({ found }), (error: unknown) => settled({ error }));
  for (;;) {
    yield* waits.splice(0);
    if (outcome) break;
    await new Promise<void>((resolve) => (wake = resolve));
  }
  if ("error" in outcome) throw outcome.error;
  yield { event: "found", data: outcome.found };
}

async function imageOf(index: ImageIndex, { params, query, request }: Exchange): Promise<Response> {
  const name = params["rest"] ?? "";
  const bytes = await index.folder.read(name);
  const hash = index.folder.images.get(name)?.hash ?? "";
  const headers = {
    etag: `"${hash}"`,
    // The page names the content, so its answer never changes.
    "cache-control": query.get("v") === hash.slice(0, VERSION_LENGTH) ? "private, max-age=31536000, immutable" : "private, no-cache",
    "content-type": typeOf(bytes) ?? "application/octet-stream",
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
  };
  if (request.headers.get("if-none-match") === headers.etag) return new Response(null, { status: 304, headers });
  return new Response(Uint8Array.from(bytes), { headers });
}

async function upload(index: ImageIndex, { body, query, request }: Exchange): Promise<Response> {
  // A form of another page cannot say so without asking first.
  if (!/^image\//.test(request.headers.get("content-type") ?? "")) throw new InvalidRequest("the body is no image: send its media type");
  const wished = query.get("name") ?? "";
  if (wished.length > LONGEST_NAME) throw new InvalidRequest(`\`name\` has at most ${LONGEST_NAME} characters`);
  return Response.json({ name: await index.add(wished, body) }, { status: 201 });
}

function list(index: ImageIndex): Response {
  const images = [...index.folder.images.values()].sort((a, b) => b.changed - a.changed || (a.name < b.name ? -1 : 1));
  return Response.json({ images });
}

/** The routes over an index that is started with the service. */
export function searchRoutes(index: ImageIndex): Router {
  let isStarted = false;
  return {
    part: {
      name: "index",
      title: () => "the index of the images",
      async load() {
        if (!isStarted) await index.start();
        isStarted = true;
      },
      close: async () => index.close(),
      async health() {
        const { model, images, indexed } = index.state();
        return { model_name: model, images, indexed };
      },
      problem: () => (isStarted ? undefined : "it is not started"),
    },
    routes: [
      { method: "GET", path: "/images", handle: async () => list(index) },
      { method: "GET", path: "/images/*", handle: (exchange) => imageOf(index, exchange) },
      { method: "POST", path: "/images", takesImages: true, handle: (exchange) => upload(index, exchange) },
      {
        method: "GET",
        path: "/index",
        handle: async (exchange) => eventStream(exchange, async function* (signal) {
          for await (const data of index.states(signal)) yield { event: "state", data };
        }),
      },
      {
        method: "POST",
        path: "/index",
        async handle() {
          index.lookNow();
          return Response.json({ looking: true }, { status: 202 });
        },
      },
      {
        method: "POST",
        path: "/search",
        takesImages: true,
        async handle(exchange) {
          const body = bodyOf(exchange);
          const [query, most] = [queryOf(body), Number(body["most"] ?? 24)];
          if (!Number.isInteger(most) || most < 1 || most > MOST_MATCHES) throw new InvalidRequest(`\`most\` is no whole number from 1 to ${MOST_MATCHES}`);
          return eventStream(exchange, (signal) => searching(index, query, most, signal));
        },
      },
    ],
  };
}
