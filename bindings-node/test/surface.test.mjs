// Every capability as a user calls it.

import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { describe } from "node:test";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";

import * as ayni from "ayni";
import { z } from "zod";

const scripted = { backend: "scripted" };
const slow = { backend: "scripted", latency_seconds: 30 };

describe("embeddings", () => {
  test("vectors are views on one array, and arrays of numbers", async () => {
    const embedder = await ayni.openEmbedder(scripted);
    const found = await embedder.embed(["hola", "hello"], { role: "document" });
    assert.deepEqual([found.count, found.width, found.flat.length], [2, 16, 32]);
    assert.equal(found.vectors[1].buffer, found.flat.buffer);
    assert.deepEqual(found.toArrays()[1], Array.from(found.vectors[1]));
    assert.deepEqual(found.space, embedder.space());
    found.flat[0] = 5;
    assert.notEqual((await embedder.embed(["hola"])).flat[0], 5);
  });

  test("encodings come in their own arrays", async () => {
    const embedder = await ayni.openEmbedder(scripted);
    const of = (encoding) => embedder.embed(["hola", "hello"], { encoding });
    const [half, whole, bits] = [await of("f16"), await of("int8"), await of("ubinary")];
    assert.ok(half.flat instanceof Uint16Array && half.width === 16);
    assert.ok(whole.flat instanceof Int8Array && whole.scales.length === 2);
    assert.ok(bits.flat instanceof Uint8Array && bits.width === 2);
    await assert.rejects(of("f64"), { code: "invalid_request" });
  });

  test("images are bytes, Blobs, paths and URLs", async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "ayni-images-"));
    t.after(() => rm(folder, { recursive: true }));
    const { images } = await (await ayni.openImages(scripted)).generate("x", { size: [8, 8] });
    const path = join(folder, "a.png");
    await writeFile(path, images[0].data);
    const embedder = await ayni.openEmbedder(scripted);
    const bytes = new Uint8Array(images[0].data);
    const same = [images[0].data, bytes, bytes.buffer, new Blob([bytes]), { path }, pathToFileURL(path)];
    const found = await embedder.embed(same);
    for (const vector of found.vectors) assert.deepEqual(vector, found.vectors[0]);
    await assert.rejects(embedder.embed({ path: join(folder, "b.png") }), { code: "invalid_request" });
  });

  test("streams keep the order, hold little, and throw what their inputs throw after the vectors before it", async () => {
    const embedder = await ayni.openEmbedder(scripted);
    let count = 0;
    for await (const part of embedder.embedStream((function* () { for (let n = 0; n < 3000; n++) yield `line ${n}`; })())) count += part.count;
    assert.equal(count, 3000);
    const failing = async function* () {
      yield "a";
      throw new RangeError("mine");
    };
    let seen = 0;
    await assert.rejects(async () => {
      for await (const part of embedder.embedStream(failing())) seen += part.count;
    }, RangeError);
    assert.equal(seen, 1);
    let taken = 0;
    for await (const _ of embedder.embedStream((function* () { for (;;) { taken++; yield "x"; } })())) break;
    assert.ok(taken < 5000);
  });

  test("similarity and topK compare arrays, views and responses", async () => {
    assert.equal(ayni.similarity([3, 4], new Float32Array([6, 8])), 1);
    const best = ayni.topK([[1, 0], [0, 1], [0.6, 0.8]], [0, 2], 2).map((found) => found.index);
    assert.deepEqual(best, [1, 2]);
    const embedder = await ayni.openEmbedder(scripted);
    const found = await embedder.embed(["hola", "hello", "adiós"]);
    assert.deepEqual(ayni.topK(found, await embedder.embed("hello"), 1), [{ index: 1, score: 1 }]);
    assert.throws(() => ayni.topK([[1, 0], [1]], [1, 0]), { code: "invalid_request" });
    assert.throws(() => ayni.similarity([1], [1, 2]), { code: "invalid_request" });
  });

  test("what models in this process compute with, and which ones are known", async () => {
    const { device, instruction_set, threads, precision } = await ayni.hardware({});
    assert.ok(device === "cpu" && instruction_set && threads > 0 && ["f32", "bf16"].includes(precision));
    assert.equal(ayni.knownModels().find(({ id }) => id.endsWith("/all-MiniLM-L6-v2")).dimensions, 384);
    assert.ok(ayni.embeddingArchitectures().includes("bert"));
    await assert.rejects((await ayni.openEmbedder(scripted)).verify(), { code: "unsupported" });
  });

  test("sample models come with the package and need no network", async (t) => {
    const [clip, text, chat] = ayni.sampleModels();
    assert.deepEqual([clip, text, chat].map(({ reference }) => reference), ["tiny:clip", "tiny:text", "tiny:chat"]);
    assert.ok(clip.bytes > 1e6 && text.bytes > 1e6 && chat.bytes === null && chat.fetched_from.includes("SmolLM2-135M"));
    const folder = await mkdtemp(join(tmpdir(), "ayni-samples-"));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const env = { AYNI_CACHE: folder, HF_HOME: folder, HF_HUB_OFFLINE: "1" };
    const embedder = await ayni.openEmbedder("tiny:text", { env });
    const found = await embedder.embed(["a red apple", "the moon at night"]);
    assert.equal(ayni.topK(found, await embedder.embed("una manzana roja"), 1)[0].index, 0);
    assert.ok(!(await readdir(folder)).includes("samples"), "used where the package has them, not unpacked");
    await assert.rejects(ayni.openEmbedder("org/name", { env }), ({ code, message }) => code === "offline" && message.includes("tiny:text"));
  });

  test("two functions embed by what the environment names", async (t) => {
    const vector = [0.6, 0.8, ...Array(510).fill(0)];
    const seen = [];
    const server = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk) => (body += chunk)).on("end", () => {
        seen.push([request.url, body && Object.keys(JSON.parse(body)), request.headers.authorization]);
        if (request.url === "/health") return response.setHeader("content-type", "application/json").end('{"status":"healthy","model_name":"a/clip"}');
        if (seen.length === 1) return response.writeHead(503, { "content-type": "text/html" }).end("<html>Building</html>");
        response.setHeader("content-type", "application/json").end(JSON.stringify({ embedding: vector, dimensions: 512 }));
      });
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    Object.assign(process.env, { EMBEDDING_PROVIDER: "huggingface", CLIP_SERVICE_URL: `http://127.0.0.1:${server.address().port}` });
    const waited = [];
    const text = await ayni.embedText("a dog", { onProgress: (event) => waited.push(event.type), timeoutMs: 20_000 });
    assert.ok(Array.isArray(text) && Math.abs(text[0] - 0.6) < 1e-6);
    assert.ok(waited.includes("waiting") || waited.includes("retrying"), `${waited}`);
    const { images } = await (await ayni.openImages(scripted)).generate("x", { size: [8, 8] });
    assert.equal((await ayni.embedImage(`data:image/png;base64,${images[0].data.toString("base64")}`, "image/png")).length, 512);
    process.env.HF_API_TOKEN = "hf_mine";
    t.after(() => delete process.env.HF_API_TOKEN);
    assert.equal((await ayni.clipHealth()).model_name, "a/clip");
    assert.deepEqual(seen.at(-1), ["/health", "", "Bearer hf_mine"], "this machine gets the token, as with `fromEnv`");
    await assert.rejects(ayni.clipHealth({ url: "nowhere" }), { code: "invalid_request" });
    seen.length = 0;
    const stop = ayni.keepAlive({ everyMs: 5 });
    while (!seen.some(([url]) => url === "/health")) await new Promise((resolve) => setTimeout(resolve, 5));
    stop();
  });
});

describe("chat", () => {
  test("answers and streams, as events, as web streams, as text", async () => {
    const chat = await ayni.openChat({ ...scripted, replies: Array(4).fill({ text: "uno dos tres" }) });
    assert.equal((await chat.chat("count")).text, "uno dos tres");
    const types = [];
    for await (const event of chat.stream("count")) types.push(event.type);
    assert.deepEqual(types, ["started", "text", "text", "text", "finish"]);
    const read = async (stream) => {
      const found = [];
      for await (const one of stream) found.push(one);
      return found;
    };
    assert.deepEqual(await read(chat.stream("count").textStream()), ["uno ", "dos ", "tres"]);
    assert.equal((await read(chat.stream("count").toReadableStream())).length, 5);
    assert.equal(chat.window(), null);
  });

  test("an answer follows a schema of zod, or of anything with its JSON Schema beside it", async () => {
    const chat = await ayni.openChat({ ...scripted, replies: [{ text: '{"n": 2}' }, { text: '```json\n{"n": 2}\n```' }, { text: '{"n": "x"}' }, { text: "no" }] });
    const schema = z.object({ n: z.number() });
    assert.deepEqual(await chat.parse(schema, "x"), { n: 2 });
    assert.deepEqual(await chat.parse({ schema, jsonSchema: { type: "object" } }, "x"), { n: 2 });
    for (let index = 0; index < 2; index++) await assert.rejects(chat.parse(schema, "x"), { code: "response_invalid" });
    const foreign = { "~standard": { vendor: "other", version: 1, validate: () => ({}) } };
    await assert.rejects(chat.parse(foreign, "x"), (error) => error.code === "config_invalid" && error.message.includes("other"));
  });

  test("an answer is the next message, and images go along", async () => {
    const chat = await ayni.openChat(scripted);
    const { images } = await (await ayni.openImages(scripted)).generate("x", { size: [8, 8] });
    const message = { role: "user", content: [{ type: "text", text: "what?" }, { type: "image", image: images[0].data }] };
    const answer = await chat.chat([message]);
    assert.match(answer.text, /with 1 images/);
    assert.match((await chat.chat([message, ayni.toMessage(answer), "and?"])).text, /and\?/);
  });

  test("modes of an environment", async () => {
    const modes = await ayni.ChatModes.fromEnv({ DEFAULT_LLM_MODE: "mock" });
    assert.equal((await (await modes.open()).chat("hello")).text, "You asked: hello");
    assert.equal(await modes.open(), await modes.open());
    assert.ok(modes.describe().some(({ mode, problem }) => mode === "gguf" && problem.includes("GGUF_MODEL_PATH")));
    await modes.warmUp();
    await assert.rejects(modes.open("gpt-5"), { code: "invalid_request" });
  });
});

test("images report their steps, in order and before the outcome", async () => {
  const generator = await ayni.openImages(scripted);
  const steps = [];
  const found = await generator.generate("a fox", { size: [64, 48], steps: 3, onProgress: (event) => steps.push(event.step) });
  assert.deepEqual([steps, found.size], [[1, 2, 3], [64, 48]]);
  const events = [];
  for await (const event of generator.refineEvents("at night", found.images[0].data, { steps: 2 })) events.push(event);
  assert.equal(events.at(-1).images.length, 1);
  const mine = new Error("mine");
  const throwing = () => { throw mine; };
  await assert.rejects(generator.generate("a fox", { steps: 3, onProgress: throwing }), mine);
});

describe("procurement", () => {
  test("lists, details, pages, plans, files and analyses", async () => {
    const procurement = await ayni.openProcurement(scripted);
    const codes = [];
    for await (const row of procurement.eachTender({ text: "ambulancia" })) codes.push(row.code);
    assert.deepEqual(codes, ["9002-7-LR26"]);
    const { record, json } = await procurement.tender("9002-7-LR26");
    assert.deepEqual(record.estimated_amount, { amount: "68900000", currency: "CLP" });
    assert.deepEqual(JSON.parse(json).record, record);
    assert.ok((await procurement.purchaseOrders()).rows.length > 0);
    assert.ok((await procurement.plan("tender", { on: "2026-02-02" })).record);
    assert.equal((await ayni.tenderFile(procurement, "9002-7-LR26", "pdf")).subarray(0, 4).toString(), "%PDF");
    let csv = "";
    for await (const piece of ayni.exportRecords(procurement, "tender", { form: "csv", separator: "comma" })) csv += piece;
    assert.match(csv, /9002-7-LR26/);
    const chat = await ayni.openChat({ ...scripted, replies: [{ text: '{"claims": ["La licitación es {1}."]}' }] });
    const analysis = await ayni.analyse(procurement, "9002-7-LR26", chat);
    assert.deepEqual(analysis.claims.map(({ text }) => text), ["La licitación es 9002-7-LR26."]);
    assert.equal((await analysis.pdf({ language: "en" })).subarray(0, 4).toString(), "%PDF");
    await assert.rejects(procurement.quota(), { code: "unsupported" });
    await assert.rejects(procurement.events(), { code: "unsupported" });
    const day = { codigo: "uf", serie: [{ fecha: "2026-11-20T03:00:00.000Z", valor: 39643.59 }] };
    const server = createServer((_, answer) => answer.setHeader("content-type", "application/json").end(JSON.stringify(day)));
    await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
    const rates_url = `http://127.0.0.1:${server.address().port}`;
    const own = await ayni.openProcurement({ backend: "mercado_publico", ticket: "t", store: "memory", lock: false, rates_url });
    const on = { date: "2026-11-20" };
    const { pesos, rate } = await own.convert({ amount: "12.5", currency: "CLF" }, on);
    assert.deepEqual([pesos, rate.pesos], [{ amount: "495544.875", currency: "CLP" }, "39643.59"]);
    assert.deepEqual(await own.rate("UF", on), rate);
    server.close();
    await assert.rejects(own.similar({ text: "x" }), { code: "unsupported" });
    const like = own.withEmbedder(await ayni.openEmbedder(scripted));
    assert.equal((await like.refreshSimilar()).seen, 0);
    assert.deepEqual(await like.similar({ text: "ambulancia" }, { k: 3, states: ["publicada"] }), []);
    await assert.rejects(like.similar({ text: "x" }, { states: ["abierta"] }), { code: "invalid_request" });
    assert.deepEqual(await own.events({ limit: 5 }), { events: [], position: 0 });
    assert.deepEqual([await own.months("tender"), await own.lines("tender"), await own.stored("tender", { text: "x" })], [[], [], []]);
    await assert.rejects(procurement.tenders({ on: "2026-02-02", from: "2026-02-01" }), { code: "invalid_request" });
  });
});

describe("calls", () => {
  test("a signal stops the work, and its reason is the cause", { timeout: 5000 }, async () => {
    const [embedder, chat] = [await ayni.openEmbedder(slow), await ayni.openChat(slow)];
    const reason = new Error("mine");
    for (const call of [(signal) => embedder.embed("x", { signal }), (signal) => chat.stream("x", { signal }).next()]) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(reason), 20);
      await assert.rejects(call(controller.signal), (error) => error instanceof ayni.Cancelled && error.name === "AbortError" && error.cause === reason);
      await assert.rejects(call(controller.signal), { code: "cancelled" });
    }
    await assert.rejects(embedder.embed("x", { timeoutMs: 20 }), (error) => error instanceof ayni.Timeout && error.name === "Timeout");
  });

  test("leaving a loop stops the work", { timeout: 5000 }, async () => {
    const chat = await ayni.openChat({ ...scripted, replies: [{ text: "word ".repeat(1000) }] });
    for await (const event of chat.stream("x")) if (event.type === "text") break;
    const stream = (await ayni.openChat(slow)).stream("x");
    const waiting = stream.next();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await stream.return();
    await assert.rejects(waiting, { code: "cancelled" });
  });

  test("a closed handle says so, and a running call finishes", async () => {
    const embedder = await ayni.openEmbedder({ ...scripted, latency_seconds: 0.05 });
    const running = embedder.embed("x");
    await embedder[Symbol.asyncDispose]();
    assert.equal((await running).count, 1);
    await assert.rejects(embedder.embed("x"), { code: "invalid_request" });
  });

  test("an error says everything, and no secret", async () => {
    const chat = await ayni.openChat({ ...scripted, failures: Array(9).fill("rate_limited"), policy: { retry: { max_retries: 0 } }, fallback: [{ ...scripted, failures: ["offline"] }] });
    await assert.rejects(chat.chat("secret prompt"), (error) => {
      assert.ok(error instanceof ayni.AyniError && error instanceof Error);
      assert.ok(error.route.length === 2 && error.backend === "scripted" && error.operation === "chat");
      return !JSON.stringify(error).includes("secret") && !`${error.stack}`.includes("secret");
    });
    await assert.rejects(ayni.openChat({ backend: "openai", modle: "x" }), { code: "config_invalid", message: /modle/ });
    await assert.rejects(ayni.openChat({ backend: "openai", model: 5 }), { code: "config_invalid", message: /`model`/ });
  });

  test("a panic is an error, awaited or not", async () => {
    const { native, unwrap } = await import("../dist/cjs/native.js");
    assert.throws(() => unwrap(native().panicInside(true)), { code: "unexpected" });
    await assert.rejects(async () => unwrap(await native().panicInside(false)), { code: "unexpected" });
  });

  test("workers share the process's runtime, and may end in the middle of a call", async () => {
    const code = `const ayni = require("ayni"); const { parentPort } = require("node:worker_threads");
      ayni.openEmbedder({ backend: "scripted" }).then((one) => one.embed(["a"])).then((found) => parentPort.postMessage(found.count));
      ayni.openEmbedder({ backend: "scripted", latency_seconds: 30 }).then((one) => one.embed(["a"], { onProgress() {} }));`;
    const filename = new URL("worker.cjs", import.meta.url);
    for (let index = 0; index < 3; index++) {
      const worker = new Worker(`process.chdir; ${code.replace('require("ayni")', `require(${JSON.stringify(new URL("../dist/cjs/index.js", import.meta.url).pathname)})`)}`, { eval: true, filename });
      assert.equal(await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject)), 1);
      await worker.terminate();
    }
    assert.equal((await (await ayni.openEmbedder(scripted)).embed("a")).count, 1);
  });

  test("the event loop goes on, and memory stays flat over 10,000 calls of which half are aborted", { timeout: 60_000 }, async () => {
    const [embedder, hanging] = [await ayni.openEmbedder(scripted), await ayni.openEmbedder(slow)];
    const round = async (count) => {
      for (let index = 0; index < count / 100; index++) {
        const controller = new AbortController();
        const { signal } = controller;
        const calls = Array.from({ length: 50 }, () => hanging.embed("x", { signal, onProgress() {} }).catch((error) => error.code));
        const fine = await Promise.all(Array.from({ length: 50 }, () => embedder.embed("x")));
        assert.equal(fine.length, 50);
        controller.abort();
        assert.ok((await Promise.all(calls)).every((code) => code === "cancelled"));
      }
      globalThis.gc?.();
      return process.memoryUsage.rss();
    };
    const before = await round(5000);
    const after = await round(5000);
    assert.ok(after - before < 32 << 20, `${before} to ${after} bytes`);
  });
});
