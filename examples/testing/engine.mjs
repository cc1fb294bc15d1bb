// A cloud image engine that is not ayni's: it knows the contract's three routes and nothing else. It paints landscapes by hand.

import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { crc32, deflateSync } from "node:zlib";

const PIXELS = 384 * 384;

function chunk(kind, data) {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(data.length);
  head.write(kind, 4);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(Buffer.concat([head.subarray(4), data])));
  return Buffer.concat([head, data, sum]);
}

/** A PNG of a function that gives the colour of a place. `texts` are its text chunks. */
export function png(width, height, colour, texts = {}) {
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0, at = 0; y < height; y++) {
    at += 1;
    for (let x = 0; x < width; x++) for (const part of colour(x / width, y / height)) rows[at++] = Math.max(0, Math.min(255, part));
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2], 8);
  const told = Object.entries(texts).map(([key, text]) => chunk("tEXt", Buffer.from(`${key}\0${text}`, "latin1")));
  return Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), chunk("IHDR", header), ...told, chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

const blend = (from, to, share) => from.map((part, at) => part + (to[at] - part) * share);

/** Hills by the sea, in the colours of a prompt. */
function landscape({ prompt, ratio, isNight }) {
  const [wide, high] = ratio.split(":").map(Number);
  const width = Math.round(Math.sqrt((PIXELS * wide) / high) / 8) * 8;
  const height = Math.round(PIXELS / width / 8) * 8;
  const hash = createHash("sha256").update(prompt).digest();
  const warm = hash[0] / 255;
  const day = { high: [64 + 60 * warm, 120, 190 - 40 * warm], low: [250, 205 + 20 * warm, 150 + 40 * warm], sea: [36, 92, 128], near: [34, 62, 54] };
  const night = { high: [10, 14, 40], low: [58, 52, 104], sea: [14, 30, 62], near: [8, 16, 22] };
  const { high: top, low, sea, near } = isNight ? night : day;
  const sun = { x: 0.25 + hash[1] / 512, y: 0.3, size: 0.055 };
  const hill = (x, seed, base, size) => base - size * (Math.sin(x * (3 + (seed % 5)) + seed) + 0.5 * Math.sin(x * (9 + (seed % 7)) + seed * 2));
  return png(width, height, (x, y) => {
    const glow = Math.hypot((x - sun.x) * (width / height), y - sun.y);
    if (y > hill(x, hash[3], 0.9, 0.05)) return blend(near, top, (y - 0.8) * 0.4);
    if (y > 0.72) return blend(sea, low, 0.25 + 0.2 * Math.sin(y * 190 + Math.sin(x * 11)) * (1 - Math.min(1, Math.abs(x - sun.x) * 3)));
    if (y > hill(x, hash[2], 0.66, 0.06)) return blend(top, near, 0.55 + 0.3 * y);
    const sky = blend(top, low, Math.min(1, y * 1.5));
    return glow < sun.size ? [255, isNight ? 248 : 236, isNight ? 226 : 190] : blend([255, 240, 210], sky, Math.min(1, 0.55 + glow));
  });
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
    const image = landscape(spec).toString("base64");
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
