// Garbage at every entry: a typed error, no crash.

import assert from "node:assert/strict";
import test from "node:test";
import { inspect } from "node:util";

import * as ayni from "ayni";

const scripted = { backend: "scripted" };
const cyclic = { backend: "scripted" };
cyclic.self = cyclic;
const deep = JSON.parse(`${"[".repeat(5000)}${"]".repeat(5000)}`);
const detached = new Uint8Array(8);
structuredClone(detached.buffer, { transfer: [detached.buffer] });
const thrower = { get backend() { throw new RangeError("getter"); }, get [Symbol.iterator]() { throw new RangeError("getter"); }, get text() { throw 5; } };
const proxy = new Proxy({}, { get: () => { throw new TypeError("proxy"); }, has: () => true, ownKeys: () => { throw new TypeError("proxy"); } });
const revoked = Proxy.revocable({}, {});
revoked.revoke();

const GARBAGE = [
  null, 0, -1, Number.NaN, Infinity, 10n, true, Symbol("x"), () => {}, new Date(Number.NaN), /x/, [], [null], [[]], {}, { a: 1 },
  cyclic, deep, detached, thrower, proxy, revoked.proxy, new Array(4_294_967_295), new Map(), Promise.resolve(), "\ud800", new Error("x"),
  new Float32Array(3), new SharedArrayBuffer(8), new Proxy([], { get: (target, name) => (name === "length" ? 1e9 : target[name]) }),
];

async function typed(what, call) {
  let found;
  try {
    found = await call();
    if (typeof found?.next === "function" && found[Symbol.asyncIterator]) await found.next();
  } catch (error) {
    assert.ok(error instanceof ayni.AyniError, `${what}: ${inspect(error, { depth: 0 })}`);
    assert.ok(["invalid_request", "config_invalid", "unsupported", "not_found", "cancelled", "model_load", "timeout", "content_rejected"].includes(error.code), `${what}: ${error.code}: ${error.message}`);
    assert.ok(error.message.length > 0 && error.message.length < 2000);
  }
}

const handles = {
  embedder: await ayni.openEmbedder(scripted),
  chat: await ayni.openChat(scripted),
  images: await ayni.openImages(scripted),
  procurement: await ayni.openProcurement(scripted),
};
const { embedder, chat, images, procurement } = handles;
const schema = { "~standard": { vendor: "x", version: 1, validate: (value) => ({ value }), jsonSchema: { input: () => ({}) } } };

const ENTRIES = {
  "openEmbedder(·)": (x) => ayni.openEmbedder(x),
  "openEmbedder(, ·)": (x) => ayni.openEmbedder(scripted, x),
  "openEmbedder(, { env })": (x) => ayni.openEmbedder(scripted, { env: x }),
  "openChat(·)": (x) => ayni.openChat(x),
  "openImages(·)": (x) => ayni.openImages(x),
  "openProcurement(·)": (x) => ayni.openProcurement(x),
  "fromEnv(·)": (x) => ayni.Chat.fromEnv(x ?? {}),
  "modes(·)": async (x) => (await ayni.ChatModes.fromEnv({ DEFAULT_LLM_MODE: "mock" })).open(x ?? "x"),
  "embed(·)": (x) => embedder.embed(x),
  "embed([·])": (x) => embedder.embed(["a", x]),
  "embed(, ·)": (x) => embedder.embed("a", x),
  "embed(, { role })": (x) => embedder.embed("a", { role: x }),
  "embed(, { encoding })": (x) => embedder.embed("a", { encoding: x }),
  "embed(, { signal })": (x) => embedder.embed("a", { signal: x }),
  "embed(, { timeoutMs })": (x) => embedder.embed("a", { timeoutMs: x }),
  "embed(, { timeouts })": (x) => embedder.embed("a", { timeouts: x }),
  "embed(, { onProgress })": (x) => embedder.embed("a", { onProgress: typeof x === "function" ? undefined : x }),
  "embed({ path })": (x) => embedder.embed({ path: x }),
  "embedStream(·)": (x) => embedder.embedStream(x),
  "embedStream(, ·)": (x) => embedder.embedStream(["a"], x),
  "countTokens(·)": (x) => embedder.countTokens(x),
  "countTokens(, ·)": (x) => embedder.countTokens("a", { role: x }),
  "similarity(·)": (x) => ayni.similarity(x, [1]),
  "topK(·)": (x) => ayni.topK(x, [1]),
  "topK([·])": (x) => ayni.topK([x], [1]),
  "topK(, , ·)": (x) => ayni.topK([[1]], [1], x),
  "chat(·)": (x) => chat.chat(x),
  "chat([·])": (x) => chat.chat([x]),
  "chat([{ content }])": (x) => chat.chat([{ role: "user", content: x }]),
  "chat([{ content: [·] }])": (x) => chat.chat([{ role: "user", content: [x] }]),
  "chat([{ image }])": (x) => chat.chat([{ role: "user", content: [{ type: "image", image: x }] }]),
  "chat(, ·)": (x) => chat.chat("a", x),
  "chat(, { tools })": (x) => chat.chat("a", { tools: [x] }),
  "chat(, { extra })": (x) => chat.chat("a", { extra: x }),
  "stream(·)": (x) => chat.stream(x),
  "stream(, ·)": (x) => chat.stream("a", x),
  "parse(·)": (x) => chat.parse(x, "a"),
  "parse(, ·)": (x) => chat.parse(schema, x),
  "chat.countTokens(·)": (x) => chat.countTokens(x),
  "generate(·)": (x) => images.generate(x),
  "generate(, { size })": (x) => images.generate("a", { size: x }),
  "refine(, ·)": (x) => images.refine("a", x),
  "refine(, [·])": (x) => images.refine("a", [x]),
  "refine({ mask })": (x) => images.refine("a", [], { mask: x }),
  "replay(·)": (x) => images.replay(x),
  "replay(, ·)": (x) => images.replay(Buffer.from("x"), x),
  "generateEvents(, ·)": (x) => images.generateEvents("a", x),
  "tenders(·)": (x) => procurement.tenders(x),
  "tenders({ on })": (x) => procurement.tenders({ on: x }),
  "tender(·)": (x) => procurement.tender(x),
  "plan(·)": (x) => procurement.plan(x),
  "sync(·)": (x) => procurement.sync(x, x),
  "similar(·)": (x) => procurement.similar(x),
  "withEmbedder(·)": (x) => procurement.withEmbedder(x),
  "importMonth(·)": (x) => procurement.importMonth(x, x),
  "eachTender(·)": (x) => procurement.eachTender(x),
  "analyse(·)": (x) => ayni.analyse(x, "a", chat),
  "analyse(, , ·)": (x) => ayni.analyse(procurement, "9002-7-LR26", x),
  "analyse(, , , ·)": (x) => ayni.analyse(procurement, x, chat, x),
  "tenderFile(·)": (x) => ayni.tenderFile(x, "a", "pdf"),
  "tenderFile(, ·)": (x) => ayni.tenderFile(procurement, x, x),
  "exportRecords(·)": (x) => ayni.exportRecords(x, "tender", "csv"),
  "exportRecords(, ·)": (x) => ayni.exportRecords(procurement, x, x, x),
  "models(·)": (x) => ayni.models(x, { timeoutMs: 50 }),
  "health(·)": (x) => ayni.health(x, { timeoutMs: 50 }),
  "embedText(·)": (x) => ayni.embedText(typeof x === "string" ? 5 : x),
  "embedImage(·)": (x) => ayni.embedImage(typeof x === "string" ? 5 : x),
};

for (const [name, entry] of Object.entries(ENTRIES)) {
  test(name, { timeout: 30_000 }, async () => {
    for (const [index, garbage] of GARBAGE.entries()) await typed(`${name}, garbage ${index}`, () => entry(garbage));
  });
}

test("whatever was thrown at the handles, they go on", async () => {
  assert.equal((await embedder.embed(["a"])).count, 1);
  assert.equal((await chat.chat("a")).finish, "stop");
});
