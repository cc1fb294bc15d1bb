// The part for browsers: the address of the API, the client against our services, server-sent events.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import test, { before } from "node:test";

import { AyniError, createClient, errorOfEvent, getApiBase, readServerSentEvents, subscribe } from "ayni/browser";
import * as ai6 from "ai-6";
import * as ai7 from "ai-7";
import * as ayni from "ayni";
import * as next from "ayni/next";

import { everything } from "./services.mjs";

const at = (hostname, protocol = "https") => ({ hostname, origin: `${protocol}://${hostname}` });
const space = ["andesops-ai", "andesai-backend"];

test("the API's address follows the Space's name, else the variable, else this machine, else the page", () => {
  const lines = [];
  const base = (options) => getApiBase({ space, log: (line) => lines.push(line), ...options });
  assert.equal(base({ location: at("owner-andesops-ai.hf.space"), url: "https://other" }), "https://owner-andesai-backend.hf.space");
  assert.equal(base({ location: at("owner-andesops-ai.hf.space.evil.example"), url: "https://api.example/" }), "https://api.example");
  assert.equal(base({ location: at("app.example"), url: " " }), "https://app.example");
  assert.equal(base({ location: at("localhost", "http"), local: "http://localhost:8000" }), "http://localhost:8000");
  assert.equal(base({ local: "http://localhost:8000" }), "http://localhost:8000");
  assert.equal(lines[0], "[API] Using API base: https://owner-andesai-backend.hf.space");
});

let service;
let client;
before(async () => {
  service = await everything();
  const send = (url, init) => service.handle(new Request(url, init));
  client = createClient({ base: "http://localhost/", apiKey: "sesame", fetch: send });
});

test("the client calls every route, and its failures have the kind that the service answered", async () => {
  assert.equal((await client.health()).status, "healthy");
  assert.equal((await client.embedText("hola")).embedding.length, 16);
  const { images } = await client.generate({ prompt: "a fox" });
  assert.equal((await client.embedImage(images[0], "image/png")).dimensions, 16);
  assert.equal((await client.refine({ refinePrompt: "at night", images })).images.length, 1);
  assert.equal((await client.triage({ patient_mrn: "P1", query: "x" })).model, "mock");
  assert.ok((await client.list("tenders", { text: "ambulancia", on: undefined })).rows.length > 0);
  await assert.rejects(client.embedText(""), (error) => {
    assert.ok(error instanceof AyniError && error.requestId);
    return error.code === "invalid_request" && error.status === 422;
  });
  const limited = { model: "limited", messages: [{ role: "user", content: "x" }] };
  await assert.rejects(client.post("/v1/chat/completions", limited), { code: "rate_limited", retryable: true, retryAfterMs: 1000 });
  const events = [];
  for await (const { data } of await client.stream("/v1/chat/completions", { ...limited, model: "echo", stream: true })) events.push(data);
  assert.equal(events.at(-1), "[DONE]");
});

test("a service that is away, and a page instead of JSON, are errors of their own", async () => {
  const broken = (answer) => createClient({ base: "http://localhost", fetch: answer });
  await assert.rejects(broken(() => Promise.reject(new TypeError("fetch failed"))).health(), { code: "unavailable", retryable: true });
  await assert.rejects(broken(async () => new Response("<html>")).health(), { code: "response_invalid" });
  await assert.rejects(broken(async () => new Response("<html>Starting", { status: 503 })).health(), { code: "unavailable" });
});

test("a GET is tried again where waiting helps, as often as asked and not more", async () => {
  const refused = (status, headers = {}) => () => new Response(JSON.stringify({ error: { kind: status === 404 ? "not_found" : "unavailable", message: "no", retryable: status === 503 } }), { status, headers });
  const client = (...answers) => createClient({ base: "http://x", fetch: async () => (answers.length > 1 ? answers.shift() : answers[0])() });
  const wait = { "retry-after": "0" };
  const good = () => Response.json({ status: "ok" });
  assert.deepEqual(await client(refused(503, wait), refused(503, wait), good).health({ attempts: 3 }), { status: "ok" });
  await assert.rejects(client(refused(503, wait), refused(503, wait), good).health({ attempts: 2 }), { code: "unavailable" });
  await assert.rejects(client(refused(503, wait), good).health(), { code: "unavailable" });
  await assert.rejects(client(refused(404), good).health({ attempts: 3 }), { code: "not_found" });
  const stop = new AbortController();
  const waiting = client(refused(503)).health({ attempts: 3, signal: stop.signal });
  setTimeout(() => stop.abort(), 20);
  await assert.rejects(waiting, { name: "AbortError" });
});

test("events are read whatever the pieces", async () => {
  const text = "\uFEFFid: 1\ndata: a\ndata: é🙂\n\n: comment\r\nevent: x\rdata:b\r\r\nretry: 5\ndata\n\ndata: unfinished";
  const bytes = new TextEncoder().encode(text);
  for (let size = 1; size <= bytes.length; size++) {
    const body = new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.subarray(at, at + size));
        controller.close();
      },
    });
    const found = [];
    for await (const { event, data, id } of readServerSentEvents(body)) found.push([event, data, id]);
    assert.deepEqual(found, [["message", "a\né🙂", "1"], ["x", "b", "1"], ["message", "", "1"]], `pieces of ${size}`);
  }
});

test("a broken subscription goes on after the last id, until the server says that it is over", { timeout: 10_000 }, async (t) => {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.headers["last-event-id"]);
    if (asked.length === 2) return response.writeHead(503).end();
    if (asked.length === 4) return response.writeHead(204).end();
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(`retry: 5\nid: ${asked.length}\ndata: ${asked.length}\n\n`, () => setTimeout(() => response.destroy(), 10));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${server.address().port}`;
  const [found, breaks] = [[], []];
  const onBreak = (error) => breaks.push(error?.status ?? error?.name);
  for await (const { data } of subscribe(url, { waitMs: 5, onBreak })) found.push(data);
  assert.deepEqual([found, asked], [["1", "3"], [undefined, "1", "1", "3"]]);
  assert.deepEqual(breaks, ["TypeError", 503, "TypeError"]);
});

for (const [major, ai] of [[6, ai6], [7, ai7]]) {
  test(`useChat's transport of ai ${major} reads the chat route`, async () => {
    const routes = next.chatRoutes({ backend: "scripted", replies: [{ text: "uno dos tres", reasoning: "hm" }] }, { system: "be short" });
    const chat = next.service(routes, { log: "none" });
    const send = (url, init) => chat.handle(new Request(new URL(url, "http://localhost"), init));
    const transport = new ai.DefaultChatTransport({ api: "/chat", fetch: send });
    const messages = [{ id: "1", role: "user", parts: [{ type: "text", text: "count" }] }];
    const stream = await transport.sendMessages({ chatId: "1", messages, trigger: "submit-message" });
    let last;
    for await (const message of ai.readUIMessageStream({ stream })) last = message;
    const parts = Object.fromEntries(last.parts.map((part) => [part.type, part.text]));
    assert.equal(parts.text, "uno dos tres");
    assert.equal(parts.reasoning, "hm");
    assert.equal(last.metadata.route.backend, "scripted");
    assert.ok(last.metadata.usage.output_tokens > 0);
  });
}

test("awake waits while the service starts, tells for how long, and ends with what waiting does not mend", async () => {
  const answers = [
    () => { throw new TypeError("fetch failed"); },
    () => new Response("<h1>Building</h1>", { status: 503, headers: { "content-type": "text/html" } }),
    () => Response.json({ ready: true, problems: {} }),
  ];
  const asked = [];
  const send = async (url) => (asked.push(String(url)), answers.shift()());
  const sleepy = createClient({ base: "http://localhost", fetch: send });
  const waited = [];
  await sleepy.awake({ onWait: (milliseconds) => waited.push(milliseconds) });
  assert.deepEqual(asked, Array(3).fill("http://localhost/ready"));
  assert.equal(waited.length, 2);
  assert.ok(waited[1] >= 900, `${waited}`);

  const locked = createClient({ base: "http://localhost", fetch: async () => new Response("", { status: 401 }) });
  await assert.rejects(locked.awake(), { code: "unauthenticated" });

  const stop = new AbortController();
  const never = createClient({ base: "http://localhost", fetch: async () => new Response("", { status: 503 }) });
  const waiting = never.awake({ signal: stop.signal, onWait: () => stop.abort() });
  await assert.rejects(waiting, { name: "AbortError" });
});

test("a route of one's own streams its events; its failure has the form of all failures; leaving stops it", { timeout: 10_000 }, async () => {
  let isLeft = false;
  const failing = async function* () {
    yield { event: "step", data: { done: 1 } };
    throw new ayni.RateLimited("slow down", { retryable: true, retryAfterMs: 2000, backend: "clip_service" });
  };
  const endless = async function* (signal) {
    yield { event: "step", data: "a\nb" };
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    isLeft = true;
  };
  const part = { name: "own", title: () => "own", load: async () => {}, close: async () => {}, health: async () => ({}), problem: () => undefined };
  const routes = [["/failing", failing], ["/endless", endless]].map(([path, source]) => ({ method: "POST", path, handle: async (exchange) => next.eventStream(exchange, source) }));
  const records = [];
  const own = next.service({ part, routes }, { log: (record) => records.push(record) });
  const asking = createClient({ base: "http://localhost", fetch: (url, init) => own.handle(new Request(url, init)) });
  const events = [];
  for await (const event of await asking.stream("/failing", {})) events.push(event);
  assert.deepEqual([events[0].event, events[0].data, events[1].event], ["step", '{"done":1}', "error"]);
  const { code, message, retryable, retryAfterMs, backend } = errorOfEvent(events[1].data);
  assert.deepEqual({ code, message, retryable, retryAfterMs, backend }, { code: "rate_limited", message: "slow down", retryable: true, retryAfterMs: 2000, backend: "clip_service" });
  assert.ok(records.some(({ route, failed }) => route === "/failing" && failed === "rate_limited"));
  for await (const { data } of await asking.stream("/endless", {})) {
    assert.equal(JSON.parse(data), "a\nb");
    break;
  }
  while (!isLeft) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(errorOfEvent("no JSON").code, "unexpected");
});
