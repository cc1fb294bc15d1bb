// Serves dist/ and tells the page where the engines are, as the environment says when it starts: one build for every place.

import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const dist = join(dirname(fileURLToPath(import.meta.url)), "dist");
const { env } = process;
const TYPES = {
  ".css": "text/css", ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2",
};

function studio() {
  const settings = {
    cloud: env.CLOUD_ENGINE_URL || env.VITE_CLOUD_ENGINE_URL || undefined,
    local: env.LOCAL_ENGINE_URL || env.VITE_LOCAL_ENGINE_URL || undefined,
    randomWeights: env.RANDOM_WEIGHTS === "1" || undefined,
  };
  const text = JSON.stringify(settings).replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
  return `<meta name="studio" content="${text}" />`;
}

/** The files of the build by their paths, read once: there are a handful of them. */
function filesOf(folder) {
  const files = new Map();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    let body = readFileSync(path);
    if (entry.name === "index.html") body = Buffer.from(body.toString().replace(/<meta name="studio"[^>]*>/, studio));
    const type = TYPES[extname(path)] ?? "application/octet-stream";
    // Their names change with their content.
    const cache = path.includes(`${dist}/assets/`) ? "public, max-age=31536000, immutable" : "no-cache";
    files.set(`/${relative(folder, path)}`, { body, packed: /text|svg/.test(type) ? gzipSync(body) : undefined, type, cache });
  }
  return files.set("/", files.get("/index.html"));
}

const files = filesOf(dist);

const server = createServer((request, response) => {
  const path = new URL(request.url ?? "/", "http://page").pathname;
  if (path === "/health") return response.writeHead(200, { "content-type": "application/json" }).end('{"status":"healthy"}');
  const found = files.get(path);
  if (!found || !["GET", "HEAD"].includes(request.method)) return response.writeHead(found ? 405 : 404).end();
  const packed = /\bgzip\b/.test(request.headers["accept-encoding"] ?? "") ? found.packed : undefined;
  const headers = {
    "content-type": found.type, "cache-control": found.cache, "x-content-type-options": "nosniff", vary: "accept-encoding",
    ...(packed && { "content-encoding": "gzip" }), "content-length": (packed ?? found.body).length,
  };
  response.writeHead(200, headers).end(request.method === "HEAD" ? undefined : (packed ?? found.body));
});

server.listen(Number(env.PORT || 3000), env.HOSTNAME || "127.0.0.1");
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => server.close().closeAllConnections());
