// What a call from Node.js costs beside the work itself: `make bench BENCH=overhead`, on an idle machine.
//
//   node benches/overhead.mjs [--models FOLDER] [--markdown FILE]
//
// The backend `scripted` does next to nothing, so that a whole call is an upper bound of what the binding adds. The two models
// of `make models` show what the event loop notices of real work.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { homedir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import * as ayni from "ayni";

import { Figures, median } from "./figures.mjs";

const { values: options } = parseArgs({ options: { models: { type: "string" }, markdown: { type: "string" } } });
const CALLS = 3000;
const ROWS = 1000;
const WIDTH = 384;
const root = fileURLToPath(new URL("..", import.meta.url));
const figures = new Figures();

/** The median time of a call, in microseconds; work that gives a promise is awaited. */
async function us(work, calls = CALLS) {
  const times = [];
  for (let index = 0; index < calls; index++) {
    const begin = performance.now();
    const found = work();
    if (found instanceof Promise) await found;
    times.push((performance.now() - begin) * 1000);
  }
  return median(times);
}

/** The longest time in which the event loop did nothing else while work ran, in milliseconds: the median of several runs. */
async function stall(work, runs = 5) {
  await work();
  const found = [];
  for (let index = 0; index < runs; index++) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await work();
    delay.disable();
    // A timer of a millisecond is not a stall.
    found.push(Math.max(0, delay.max / 1e6 - 1));
  }
  return median(found);
}

async function calls() {
  const embedder = await ayni.openEmbedder({ backend: "scripted", dimensions: 16 });
  const chat = await ayni.openChat({ backend: "scripted" });
  const one = new Float32Array(WIDTH).fill(0.5);
  figures.figure("sync_call", await us(() => ayni.similarity(one, one)), "µs", 10, "a synchronous call: the cosine of two vectors of 384 numbers");
  figures.figure("awaited_embed", await us(() => embedder.embed("text")), "µs", 60, "an awaited embedding of one text");
  figures.figure("awaited_chat", await us(() => chat.chat("hola")), "µs", 60, "an awaited chat");
  const load = `const t = performance.now(); require("ayni"); console.log(performance.now() - t)`;
  const loads = Array.from({ length: 7 }, () => Number(execFileSync(process.execPath, ["-e", load], { encoding: "utf8", cwd: root })));
  figures.figure("require", median(loads), "ms", 50, "`require('ayni')`");
}

/** Answers out of the cache differ in nothing but the width of their vectors, so their difference is the crossing of numbers. */
async function floats() {
  const texts = Array.from({ length: ROWS }, (_, index) => `text ${index}`);
  const open = (dimensions) => ayni.openEmbedder({ backend: "scripted", dimensions, policy: { cache: {} } });
  const [wide, narrow] = [await open(WIDTH), await open(1)];
  const found = await wide.embed(texts);
  await narrow.embed(texts);
  if (!(await wide.embed(texts)).route.cached || !(await narrow.embed(texts)).route.cached) throw new Error("nothing is cached");
  const times = { wide: [], narrow: [], allocation: [] };
  for (let turn = 0; turn < 60; turn++) {
    times.wide.push(await us(() => wide.embed(texts), 5));
    times.narrow.push(await us(() => narrow.embed(texts), 5));
    times.allocation.push(await us(() => Float32Array.from(found.flat), 5));
  }
  const crossing = median(times.wide) - median(times.narrow) - median(times.allocation);
  figures.figure("floats_1000x384", Math.max(0, crossing), "µs", 200, "1,000 × 384 numbers cross, beyond the allocation of as many");
  figures.figure("floats_allocation", median(times.allocation), "µs", undefined, "for comparison: the allocation, a copied `Float32Array`");
  figures.figure("floats_views", await us(() => Array.from({ length: ROWS }, (_, row) => found.flat.subarray(row * WIDTH, (row + 1) * WIDTH)), 300), "µs", undefined, "their 1,000 views");
  figures.figure("floats_arrays", (await us(() => found.toArrays(), 100)) / 1000, "ms", 5, "the same as `number[][]`");
}

async function counted(stream) {
  let events = 0;
  for await (const _ of stream) events++;
  return events;
}

/** A service that streams a chat of many events as fast as it can. */
async function streaming(pieces) {
  const piece = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "word " } }] })}\n\n`;
  const end = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`;
  const body = piece.repeat(pieces) + end;
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(200, { "content-type": "text/event-stream" }).end(body));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, base_url: `http://127.0.0.1:${server.address().port}/v1` };
}

async function streams() {
  const PIECES = 20_000;
  // Its source is a list of words in memory.
  const replies = Array.from({ length: 9 }, () => ({ text: "word ".repeat(PIECES) }));
  const scripted = await ayni.openChat({ backend: "scripted", replies });
  const times = [];
  let events = 0;
  for (let turn = 0; turn < replies.length; turn++) {
    const begin = performance.now();
    events = await counted(scripted.stream("x"));
    times.push(((performance.now() - begin) * 1000) / events);
  }
  if (events < PIECES) throw new Error(`the stream had only ${events} events`);
  figures.figure("stream_event", median(times), "µs", 3, "an event of a stream, whose source is a list in memory");
  const { server, base_url } = await streaming(PIECES);
  const hosted = await ayni.openChat({ backend: "openai", vendor: "custom", base_url, model: "m" });
  const all = (await us(() => counted(hosted.stream("x")), 5)) / PIECES;
  const fetched = (await us(async () => (await fetch(`${base_url}/chat/completions`, { method: "POST", body: "{}" })).text(), 5)) / PIECES;
  figures.figure("stream_event_http", all, "µs", undefined, "an event of a stream over HTTP, read and parsed");
  figures.figure("stream_event_fetch", fetched, "µs", undefined, "for comparison: its bytes by `fetch`, unread");
  server.close();
}

async function stalls() {
  const cache = process.env.AYNI_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "ayni");
  const folder = options.models ?? join(cache, "models");
  const [minilm, smollm] = ["all-minilm-l6-v2", "smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"].map((name) => join(folder, name));
  for (const model of [minilm, smollm]) if (!existsSync(model)) throw new Error(`there is no model in ${model}: run \`make models\``);
  const texts = Array.from({ length: 32 }, (_, index) => `sentence ${index} says ${"something more ".repeat(8)}`);
  figures.figure("stall_idle", await stall(() => new Promise((resolve) => setTimeout(resolve, 200))), "ms", undefined, "for comparison: the longest stall while nothing is done");
  const embedder = await ayni.openEmbedder({ backend: "local", model: minilm });
  figures.figure("stall_embed", await stall(() => embedder.embed(texts)), "ms", 5, "the longest stall of the event loop while MiniLM embeds 32 texts");
  await embedder.close();
  const chat = await ayni.openChat({ backend: "local", model: smollm });
  const ask = () => chat.chat("Why is the sky blue?", { max_tokens: 48 });
  figures.figure("stall_chat", await stall(ask), "ms", 5, "the longest stall during a chat with SmolLM2");
  figures.figure("stall_stream", await stall(() => counted(chat.stream("Why is the sky blue?", { max_tokens: 48 }))), "ms", 5, "the same, streamed");
  await chat.close();
}

await calls();
await floats();
await streams();
await stalls();
figures.finish({
  file: options.markdown,
  title: "What the binding adds",
  command: "scripts/bench-node --markdown docs/reference/node-performance.md",
  about: "Medians. A whole call of the backend `scripted`, which does next to nothing, stands for what the binding adds.",
});
