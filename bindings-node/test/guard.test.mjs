// What a service does around its routes: limits of time and number, callers who leave, streams that fail.

import assert from "node:assert/strict";
import { connect } from "node:net";
import test, { after, before } from "node:test";

import * as ayni from "ayni";
import * as next from "ayni/next";

import { serve } from "../dist/cjs/cli/http.js";
import { settle } from "../dist/cjs/service/settings.js";

const slow = { backend: "scripted", latency_seconds: 30 };
const failing = { backend: "scripted", replies: Array(9).fill({ text: "word ".repeat(500) }) };
const records = [];
let [service, server, url] = [];
before(async () => {
  const settings = { maxConcurrency: 2, requestMs: 3000, bodyMs: 300, drainMs: 100, log: (record) => records.push(record) };
  const chat = { slow: await ayni.openChat(slow), long: await ayni.openChat(failing) };
  service = next.service([next.clipRoutes(slow), next.openaiRoutes({ chat })], settings);
  await service.load();
  server = await serve(service, "127.0.0.1", 0);
  url = `http://127.0.0.1:${server.address().port}`;
});
after(async () => {
  server.closeAllConnections();
  server.close();
  await service.close();
});

const headers = { "content-type": "application/json" };
const post = (path, body, more) => fetch(url + path, { method: "POST", body: JSON.stringify(body), headers, ...more });
async function metric(name) {
  const line = (await (await fetch(`${url}/metrics`)).text()).split("\n").find((one) => one.startsWith(`${name} `));
  return Number(line?.split(" ").at(-1) ?? 0);
}
async function until(expected) {
  while ((await metric("ayni_http_requests_in_flight")) !== expected) await new Promise((resolve) => setTimeout(resolve, 10));
}

test("callers who leave stop the work, and more than the cap are 429", { timeout: 10_000 }, async () => {
  const controllers = [new AbortController(), new AbortController()];
  const callers = controllers.map(({ signal }) => post("/embed/text", { text: "hola" }, { signal }).catch((error) => error.name));
  await until(2);
  const refused = await post("/embed/text", { text: "hola" });
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get("retry-after")) >= 1);
  assert.equal((await fetch(`${url}/health`)).status, 200);
  for (const controller of controllers) controller.abort();
  assert.deepEqual(await Promise.all(callers), ["AbortError", "AbortError"]);
  await until(0);
  assert.equal(await metric('ayni_http_requests_total{route="/embed/text",method="POST",status="499"}'), 2);
});

test("a request that takes too long is 504, a stream before its first event too", { timeout: 15_000 }, async () => {
  const asked = { model: "slow", messages: [{ role: "user", content: "x" }] };
  const [whole, streamed] = await Promise.all([post("/v1/chat/completions", asked), post("/v1/chat/completions", { ...asked, stream: true })]);
  assert.deepEqual([whole.status, streamed.status], [504, 504]);
  assert.equal((await whole.json()).error.kind, "timeout");
  await until(0);
});

test("a stream that is left ends", { timeout: 10_000 }, async () => {
  const controller = new AbortController();
  const asked = { model: "long", stream: true, messages: [{ role: "user", content: "x" }] };
  const response = await post("/v1/chat/completions", asked, { signal: controller.signal });
  await response.body.getReader().read();
  controller.abort();
  await until(0);
});

test("a caller who never ends the body is 408", { timeout: 10_000 }, async () => {
  const socket = connect(server.address().port, "127.0.0.1");
  socket.write("POST /embed/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{");
  const answer = await new Promise((resolve) => socket.once("data", (data) => resolve(data.toString())));
  assert.match(answer, /^HTTP\/1\.1 408/);
  socket.destroy();
});

test("the log holds routes and kinds, and no payload", async () => {
  await post("/embed/text?secret=canary", { text: "" });
  const text = JSON.stringify(records);
  assert.ok(records.some(({ message }) => message === "loading the model"));
  const { route, status, kind, request_id } = records.at(-1);
  assert.deepEqual([route, status, kind], ["/embed/text", 422, "invalid_request"]);
  assert.ok(request_id && !text.includes("canary") && !text.includes("hola"));
});

test("a base path stands before every route, the root among them", async () => {
  const modes = await ayni.ChatModes.fromEnv({ DEFAULT_LLM_MODE: "mock" });
  const mounted = next.service(next.triageRoutes(modes), { basePath: "/api/triage/", log: "none" });
  const status = async (path) => (await mounted.GET(new Request(`http://localhost${path}`))).status;
  const paths = ["/api/triage", "/api/triage/", "/api/triage/health", "/api/triage/nothing"];
  assert.deepEqual(await Promise.all(paths.map(status)), [200, 200, 200, 404]);
});

test("settings that are wrong are refused at the start", () => {
  const routes = next.clipRoutes({ backend: "scripted" });
  assert.throws(() => next.service(routes, { allowOrigins: ["app.example"] }), { code: "config_invalid", message: /ALLOW_ORIGINS/ });
  assert.throws(() => next.service(routes, { maxBodyBytes: 0 }), { code: "config_invalid" });
  assert.throws(() => next.settingsFromEnv({ MAX_CONCURRENCY: "many" }), { code: "config_invalid" });
  assert.throws(() => next.service(routes, { apiKey: " " }), { code: "config_invalid" });
});

test("half-sent heads and too many connections do not keep others out", { timeout: 20_000 }, async () => {
  const settings = settle({ headerMs: 500, maxConnections: 20, log: "none" });
  const made = next.service(next.clipRoutes({ backend: "scripted" }), { log: "none" });
  await made.load();
  const own = await serve(made, "127.0.0.1", 0, settings);
  const { port } = own.address();
  const callers = Array.from({ length: 60 }, () => connect(port, "127.0.0.1"));
  const closed = callers.map((caller) => new Promise((resolve) => caller.once("close", resolve).on("error", () => undefined)));
  for (const caller of callers) caller.resume().write("GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal((await fetch(`http://127.0.0.1:${port}/health`)).status, 200);
  await Promise.all(closed);
  own.closeAllConnections();
  own.close();
});

test("a page of a foreign name is refused where nothing else keeps it out", { timeout: 10_000 }, async () => {
  const ask = (host) =>
    new Promise((resolve) => {
      const socket = connect(server.address().port, "127.0.0.1");
      socket.write(`GET /health HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      socket.once("data", (data) => resolve(Number(data.toString().slice(9, 12))));
    });
  assert.deepEqual(await Promise.all(["localhost:1", "127.0.0.1", "[::1]:80", "evil.example"].map(ask)), [200, 200, 200, 421]);
});

test("open routes read no body, and texts have a limit of their own", { timeout: 10_000 }, async () => {
  const made = next.service(next.clipRoutes({ backend: "scripted" }), { log: "none", apiKey: "sesame" });
  let pulled = 0;
  const body = new ReadableStream({ pull: (controller) => void (pulled++, controller.enqueue(new Uint8Array(65_536))) }, { highWaterMark: 0 });
  const health = await made.handle(new Request("http://localhost/health", { method: "POST", body, duplex: "half" }));
  assert.deepEqual([health.status, pulled], [405, 0]);
  const long = JSON.stringify({ text: "x".repeat(5 << 20) });
  const keyed = { ...headers, "x-api-key": "sesame" };
  const answer = await made.handle(new Request("http://localhost/embed/text", { method: "POST", body: long, headers: keyed }));
  assert.equal(answer.status, 413);
});

test("metrics have the counters of backends", { timeout: 10_000 }, async () => {
  const made = next.service(next.clipRoutes({ backend: "scripted" }), { log: "none" });
  const asked = new Request("http://localhost/embed/text", { method: "POST", body: '{"text": "hola"}', headers });
  await (await made.handle(asked)).text();
  const text = await (await made.handle(new Request("http://localhost/metrics"))).text();
  assert.match(text, /^ayni_http_requests_total/m);
  assert.match(text, /^ayni_requests_total\{backend="scripted"/m);
});

test("a stream has comments before its first token", { timeout: 10_000 }, async () => {
  const chat = { slow: await ayni.openChat({ ...slow, latency_seconds: 1 }) };
  const made = next.service(next.openaiRoutes({ chat }), { log: "none", keepAliveMs: 100 });
  const asked = JSON.stringify({ model: "slow", stream: true, messages: [{ role: "user", content: "x" }] });
  const answer = await made.handle(new Request("http://localhost/v1/chat/completions", { method: "POST", body: asked, headers }));
  const text = await answer.text();
  assert.equal(answer.status, 200);
  assert.ok(text.startsWith(": keep-alive\n\n") && text.endsWith("data: [DONE]\n\n"), text.slice(0, 200));
});

test("origins may have a star, and a blank key is an error", async () => {
  const made = next.service(next.clipRoutes({ backend: "scripted" }), { log: "none", allowOrigins: ["https://*.vercel.app"] });
  const allowed = async (origin) =>
    (await made.handle(new Request("http://localhost/health", { headers: { origin } }))).headers.get("access-control-allow-origin");
  assert.equal(await allowed("https://my-app.vercel.app"), "https://my-app.vercel.app");
  assert.deepEqual(await Promise.all(["https://a.b.vercel.app", "https://vercel.app", "https://x.vercel.app.evil.example"].map(allowed)), [null, null, null]);
  assert.throws(() => next.service(next.clipRoutes(slow), { allowOrigins: ["https://a.*.app"] }), { code: "config_invalid" });
  assert.throws(() => next.settingsFromEnv({ API_KEY: "  " }), { code: "config_invalid", message: /API_KEY is blank/ });
});

test("readers who do not read lose their places, hold little memory, and keep nobody out", { timeout: 60_000 }, async () => {
  // 40 MB of events for each of them, more than sockets hold.
  const chat = { long: await ayni.openChat({ backend: "scripted", replies: Array(6).fill({ text: "word ".repeat(200_000) }) }) };
  const made = next.service([next.openaiRoutes({ chat }), next.clipRoutes({ backend: "scripted" })], { log: "none", maxConcurrency: 7 });
  await made.load();
  const own = await serve(made, "127.0.0.1", 0, settle({ writeMs: 1000, log: "none" }));
  const { port } = own.address();
  const asked = JSON.stringify({ model: "long", stream: true, messages: [{ role: "user", content: "x" }] });
  const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${asked.length}\r\n\r\n`;
  const inFlight = async () =>
    Number(/^ayni_http_requests_in_flight (\d+)/m.exec(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text())[1]);
  const wait = (count) => new Promise((resolve) => {
    const look = async () => ((await inFlight()) === count ? resolve() : setTimeout(look, 20));
    look();
  });
  const before = process.memoryUsage.rss();
  const callers = Array.from({ length: 6 }, () => connect(port, "127.0.0.1").on("error", () => undefined));
  for (const caller of callers) caller.pause().write(head + asked);
  await wait(6);
  const answer = await fetch(`http://127.0.0.1:${port}/embed/text`, { method: "POST", body: '{"text": "hola"}', headers });
  assert.equal(answer.status, 200);
  await wait(0);
  const grown = process.memoryUsage.rss() - before;
  assert.ok(grown < 120 << 20, `${grown >> 20} MiB`);
  for (const caller of callers) caller.destroy();
  own.closeAllConnections();
  own.close();
  await made.close();
});
