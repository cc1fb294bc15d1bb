// A cloud image engine that is not ayni's: it knows the contract's three routes and nothing else. It draws landscapes.

import { createHash } from "node:crypto";
import { createServer } from "node:http";

import { landscape } from "./landscapes.mjs";

const PIXELS = 384 * 384;

const atNight = ([red, green, blue]) => [red * 0.28, green * 0.32, blue * 0.5].map(Math.round);

/** A landscape in the shape that was asked for; of another prompt another one. */
function drawn({ prompt, ratio, isNight }) {
  const [wide, high] = ratio.split(":").map(Number);
  const width = Math.round(Math.sqrt((PIXELS * wide) / high));
  const seed = createHash("sha256").update(prompt).digest().readUInt16BE();
  return landscape(seed, width, Math.round(PIXELS / width), isNight ? atNight : undefined);
}

/**
 * What it does can be changed while it runs: `status`, `retryAfter`, `delayMs`, `origins` (null: everybody), `asleep` (how many
 * answers are those of a Space that starts), `cutAfter` (how many bytes of an answer come).
 */
export async function startEngine(behaviour = {}) {
  const state = { status: 200, delayMs: 0, origins: null, asleep: 0, ...behaviour };
  const seen = [];
  const made = new Map();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    const { origin } = request.headers;
    if (state.origins === null || state.origins.includes(origin)) {
      response.setHeader("access-control-allow-origin", origin ?? "*");
      response.setHeader("access-control-allow-headers", "*");
      response.setHeader("access-control-expose-headers", "retry-after");
    }
    if (request.method === "OPTIONS") return response.writeHead(204).end();
    seen.push({ path: request.url, body: body && JSON.parse(body), at: Date.now() });
    if (state.asleep > 0) {
      state.asleep -= 1;
      return response.writeHead(503, { "content-type": "text/html" }).end("<h1>Your Space is starting</h1>");
    }
    if (request.url === "/health") return json(response, { status: "healthy", device: "cuda", model: "mock landscapes", scheduler: "by hand", optimisations: ["none"] });
    if (!["/generate", "/refine"].includes(request.url)) return json(response, { detail: "Not Found" }, 404);
    await new Promise((resolve) => setTimeout(resolve, state.delayMs));
    if (response.destroyed) return;
    if (state.status !== 200) {
      if (state.retryAfter) response.setHeader("retry-after", String(state.retryAfter));
      return json(response, { detail: `the mock answers ${state.status}` }, state.status);
    }
    const wish = JSON.parse(body);
    const images = request.url === "/generate" ? [remember({ prompt: wish.prompt, ratio: wish.aspectRatio ?? "1:1" })] : wish.images.map((image) => remember({ ratio: "1:1", prompt: wish.refinePrompt, ...made.get(image), isNight: true }));
    const text = JSON.stringify({ images });
    if (state.cutAfter === undefined) return json(response, { images });
    response.writeHead(200, { "content-type": "application/json", "content-length": text.length });
    response.write(text.slice(0, state.cutAfter), () => response.destroy());
  });
  function remember(spec) {
    const image = drawn(spec).toString("base64");
    made.set(image, spec);
    return image;
  }
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    state,
    seen,
    url: `http://127.0.0.1:${server.address().port}`,
    stop: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  };
}

function json(response, body, status = 200) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
