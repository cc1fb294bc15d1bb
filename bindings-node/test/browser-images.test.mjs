// Image engines for pages: modes, progress, what is wrong with an engine, receipts.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import test from "node:test";
import { deflateSync } from "node:zlib";

import { createClient } from "ayni/browser";
import { base64Of, bytesOf, imageEngines, mediaTypeOf, readReceipt, sha256Of } from "ayni/browser/images";

const made = { images: ["aGk="], model: "m", seed: 1, steps: 1, scheduler: null, served_by: null, ignored: [] };
const events = (...parts) => new Response(parts.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join(""), { headers: { "content-type": "text/event-stream; charset=utf-8" } });
const failed = (status, kind, more = {}) => Response.json({ error: { kind, message: `it is ${kind}`, ...more } }, { status });
const step = { type: "image_step", done: 1, of: 4, preview: "aGk=" };

/** An engine whose answers are functions by path; what has none is 404. */
function engine(answers) {
  const asked = [];
  const fetch = async (url, init) => {
    const path = new URL(url).pathname;
    asked.push({ path, body: init.body && JSON.parse(init.body), accept: init.headers?.accept, mode: init.mode });
    init.signal?.throwIfAborted();
    return answers[path]?.(init) ?? failed(404, "not_found");
  };
  return { asked, fetch, client: createClient({ base: "http://engine.test", fetch }) };
}

test("an engine's steps are told as they come, and the last event is the answer", async () => {
  const local = engine({ "/generate": () => events(["progress", step], ["done", made]) });
  const told = [];
  const answer = await imageEngines({ local: local.client }).generate("local", { prompt: "a fox" }, { onProgress: (one) => told.push(one) });
  assert.deepEqual([answer, told], [{ ...made, engine: "local" }, [step]]);
  assert.match(local.asked[0].accept, /^text\/event-stream, application\/json$/);
});

test("an engine that knows no events answers in JSON", async () => {
  const cloud = engine({ "/refine": () => Response.json({ images: ["aGk="] }) });
  const answer = await imageEngines({ cloud: cloud.client }).refine("cloud", { refinePrompt: "x", images: ["aGk="], config: { strength: 0.4 } });
  assert.deepEqual([answer, cloud.asked[0].body.config], [{ images: ["aGk="], engine: "cloud" }, { strength: 0.4 }]);
});

for (const [what, answer, kind] of [
  ["fails before it begins", () => failed(507, "out_of_memory"), "out_of_memory"],
  ["fails in the middle", () => events(["progress", step], ["error", { error: { kind: "out_of_memory", message: "no room" } }]), "out_of_memory"],
  ["breaks off", () => events(["progress", step]), "interrupted"],
  ["is away", () => Promise.reject(new TypeError("fetch failed")), "unavailable"],
]) {
  test(`in the mode auto the cloud engine serves where the local one ${what}; it says so`, async () => {
    const local = engine({ "/generate": answer });
    const cloud = engine({ "/generate": () => Response.json(made) });
    const engines = imageEngines({ local: local.client, cloud: cloud.client });
    const told = [];
    const found = await engines.generate("auto", { prompt: "x" }, { onProgress: (one) => told.push(one.type) });
    assert.deepEqual([found.engine, found.passedOver.code, told.at(-1)], ["cloud", kind, "falling_back"]);
    // Forced, nobody stands in.
    await assert.rejects(engines.generate("local", { prompt: "x" }), { code: kind });
    assert.equal(cloud.asked.length, 1);
  });
}

test("an event of failure says as much as a status would", async () => {
  const error = { kind: "rate_limited", message: "later", retryable: true, retry_after: 2, request_id: "r1" };
  const local = engine({ "/generate": () => events(["progress", step], ["error", { error }]) });
  const expected = { code: "rate_limited", message: "later", retryable: true, retryAfterMs: 2000, requestId: "r1" };
  await assert.rejects(imageEngines({ local: local.client }).generate("local", { prompt: "x" }), expected);
});

test("what is wrong with the request itself, or with a key, goes to no other engine", async () => {
  const cloud = engine({ "/generate": () => Response.json(made) });
  for (const [status, kind] of [[422, "invalid_request"], [401, "unauthenticated"]]) {
    const local = engine({ "/generate": () => failed(status, kind) });
    await assert.rejects(imageEngines({ local: local.client, cloud: cloud.client }).generate("auto", { prompt: "" }), { code: kind });
  }
  assert.equal(cloud.asked.length, 0);
  await assert.rejects(imageEngines({}).generate("cloud", { prompt: "x" }), { code: "config_invalid" });
});

test("a Space that sleeps is waited for, and asked again once it is awake", async () => {
  let naps = 2;
  const asleep = () => (naps-- > 0 ? new Response("<h1>Starting</h1>", { status: 503 }) : undefined);
  const cloud = engine({ "/generate": () => asleep() ?? Response.json(made), "/health": () => asleep() ?? Response.json({ status: "healthy" }) });
  const told = [];
  const answer = await imageEngines({ cloud: cloud.client }).generate("cloud", { prompt: "x" }, { onProgress: ({ type }) => told.push(type) });
  assert.deepEqual([answer.engine, told[0], cloud.asked.filter(({ path }) => path === "/generate").length], ["cloud", "waiting", 2]);
  // Not for ever.
  naps = Number.POSITIVE_INFINITY;
  await assert.rejects(imageEngines({ cloud: cloud.client, wakeMs: 50 }).generate("cloud", { prompt: "x" }), { code: "unavailable", status: 503 });
});

test("a caller who cancels gets its own reason, and no other engine is asked", async () => {
  const stop = new AbortController();
  const cloud = engine({ "/generate": () => Response.json(made) });
  const local = engine({
    "/generate": ({ signal }) =>
      new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode(`event: progress\ndata: ${JSON.stringify(step)}\n\n`));
            signal.addEventListener("abort", () => controller.error(signal.reason));
          },
        }),
        { headers: { "content-type": "text/event-stream" } },
      ),
  });
  const work = imageEngines({ local: local.client, cloud: cloud.client }).generate("auto", { prompt: "x" }, { signal: stop.signal, onProgress: () => stop.abort(new Error("enough")) });
  await assert.rejects(work, /enough/);
  assert.equal(cloud.asked.length, 0);
});

test("what is wrong with an engine is told apart", async (t) => {
  // Time-outs of signals alone don't keep Node.js running.
  const running = setInterval(() => undefined, 1000);
  t.after(() => clearInterval(running));
  const state = async (answers, send) => {
    const { client, fetch } = engine(answers);
    return (await imageEngines({ local: client, fetch: send ?? fetch, statusMs: 200 }).status("local")).state;
  };
  const healthy = () => Response.json({ status: "healthy", device: "cpu" });
  const named = engine({ "/health": () => Response.json({ status: "healthy", model: "sd" }) });
  assert.equal((await imageEngines({ local: named.client }).status("local")).state, "ready");
  assert.deepEqual(named.asked.map(({ path }) => path), ["/health"], "a browser would report a route that is missing");
  const refused = () => Promise.reject(new TypeError("Failed to fetch"));
  assert.equal(await state({ "/health": healthy }), "ready");
  assert.equal(await state({ "/health": healthy, "/ready": () => Response.json({ ready: false, problems: { images: "40 %" } }, { status: 503 }) }), "loading");
  assert.equal(await state({ "/health": () => new Response("<h1>Starting", { status: 503 }) }), "asleep");
  assert.equal(await state({ "/health": () => failed(500, "unexpected") }), "failing");
  assert.equal(await state({ "/health": refused }, refused), "unreachable");
  assert.equal(await state({ "/health": refused }, async () => new Response(null)), "origin_refused");
  assert.equal(await state({ "/health": ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))) }), "slow");
  assert.deepEqual(await imageEngines({}).status("cloud"), { state: "not_configured" });
  t.after(() => delete globalThis.location);
  globalThis.location = { protocol: "https:" };
  assert.equal(await state({ "/health": healthy }), "mixed_content");
});

test("the answer of a server that dies in the middle is interrupted", async () => {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(`event: progress\ndata: ${JSON.stringify(step)}\n\n`, () => response.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = createClient({ base: `http://127.0.0.1:${server.address().port}` });
  await assert.rejects(imageEngines({ local: client }).generate("local", { prompt: "x" }), { code: "interrupted", retryable: true });
  await new Promise((resolve) => server.close(resolve));
});

const chunk = (kind, data) => {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(data.length);
  head.write(kind, 4);
  // Nobody here checks the sum.
  return Buffer.concat([head, data, Buffer.alloc(4)]);
};
function png(...texts) {
  const header = Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", header), ...texts, chunk("IDAT", deflateSync(Buffer.from([0, 0]))), chunk("IEND", Buffer.alloc(0))]);
}
const receipt = { engine: "ayni 0", operation: "generate", model: "sd", prompt: "漢字 é", seed: 7 };
const key = Buffer.from("ayni\0");

test("a receipt is read from both kinds of text, and only from a whole PNG", () => {
  const latin = chunk("tEXt", Buffer.concat([key, Buffer.from(JSON.stringify({ ...receipt, prompt: "\u00e9" }), "latin1")]));
  const utf8 = chunk("iTXt", Buffer.concat([key, Buffer.from([0, 0, 0, 0]), Buffer.from(JSON.stringify(receipt))]));
  assert.equal(readReceipt(png(latin)).prompt, "é");
  assert.deepEqual(readReceipt(png(chunk("tEXt", Buffer.from("parameters\0x")), utf8)), receipt);
  assert.equal(readReceipt(png()), null);
  const whole = png(utf8);
  for (let length = 0; length < whole.length; length++) assert.throws(() => readReceipt(whole.subarray(0, length)), { code: "invalid_request" }, `${length}`);
  assert.throws(() => readReceipt(Buffer.from("GIF89a…")), /no PNG/);
  for (const text of ["{", "null", '"x"', '{"prompt": 3}']) assert.throws(() => readReceipt(png(chunk("tEXt", Buffer.concat([key, Buffer.from(text)])))), /damaged/);
  // Lengths that lead out of the file.
  const wild = Buffer.from(whole);
  wild.writeUInt32BE(0xffffffff, 8);
  assert.throws(() => readReceipt(wild), /cut off/);
});

test("base64 and hashes are those of Node.js", async () => {
  const bytes = readFileSync(new URL(import.meta.url));
  assert.equal(base64Of(bytes), bytes.toString("base64"));
  assert.deepEqual(Buffer.from(bytesOf(bytes.toString("base64"))), bytes);
  assert.throws(() => bytesOf("%"), { code: "response_invalid" });
  assert.deepEqual([png(), Buffer.from("ffd8ffe0", "hex"), Buffer.from("RIFF....WEBPVP8L")].map(mediaTypeOf), ["image/png", "image/jpeg", "image/webp"]);
  assert.equal(await sha256Of(new Uint8Array([104, 105])), "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4");
});
