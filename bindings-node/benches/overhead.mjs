// What a call from Node.js costs beside the work itself: `make bench-node`, on an idle machine.
//
// The backend `scripted` does next to nothing, so that a whole call is an upper bound of what the binding adds.

import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";

import * as ayni from "ayni";

const CALLS = 3000;
const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL("..", import.meta.url));

function median(times) {
  return times.sort((a, b) => a - b)[times.length >> 1];
}

/** The median time of one call, in microseconds. */
async function us(work, calls = CALLS) {
  const times = [];
  for (let index = 0; index < calls; index++) {
    const begin = performance.now();
    await work();
    times.push((performance.now() - begin) * 1000);
  }
  return median(times);
}

function usSync(work, calls = CALLS) {
  const times = [];
  for (let index = 0; index < calls; index++) {
    const begin = performance.now();
    work();
    times.push((performance.now() - begin) * 1000);
  }
  return median(times);
}

function report(what, value, bar, unit = "µs") {
  const target = bar === undefined ? "" : `   (target < ${bar} ${unit}: ${value < bar ? "met" : "MISSED"})`;
  console.log(`${what.padEnd(66)} ${value.toFixed(1).padStart(9)} ${unit}${target}`);
}

/** The longest time in which the event loop did nothing else while work ran, in milliseconds. */
async function stall(work) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  return Math.max(0, delay.max / 1e6 - 1);
}

/** A service that streams a chat of many events as fast as it can. */
async function streaming(events) {
  const piece = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "word " } }] })}\n\n`;
  const end = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`;
  const body = piece.repeat(events) + end;
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(200, { "content-type": "text/event-stream" }).end(body));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, base_url: `http://127.0.0.1:${server.address().port}/v1` };
}

const embedder = await ayni.openEmbedder({ backend: "scripted", dimensions: 16 });
const chat = await ayni.openChat({ backend: "scripted" });
const wide = await ayni.openEmbedder({ backend: "scripted", dimensions: 384 });
const texts = Array.from({ length: 1000 }, (_, index) => `text ${index}`);
const found = await wide.embed(texts);
const one = new Float32Array(384).fill(0.5);

report("a synchronous call: the cosine of two vectors of 384", usSync(() => ayni.similarity(one, one)), 10);
report("an awaited embedding of one text", await us(() => embedder.embed("text")), 60);
report("an awaited chat", await us(() => chat.chat("hola")), 60);
const row = (index) => found.flat.subarray(index * 384, (index + 1) * 384);
report("1,000 × 384 floats to views", usSync(() => Array.from({ length: 1000 }, (_, index) => row(index)), 300), 200);
report("1,000 × 384 floats to number[][]", usSync(() => found.toArrays(), 100) / 1000, 5, "ms");
const load = `const t = performance.now(); require("ayni"); console.log(performance.now() - t)`;
const loads = Array.from({ length: 5 }, () => Number(execFileSync(process.execPath, ["-e", load], { encoding: "utf8", cwd: root })));
report("require('ayni')", median(loads), 50, "ms");

const EVENTS = 20_000;
const { server, base_url } = await streaming(EVENTS);
const hosted = await ayni.openChat({ backend: "openai", vendor: "custom", base_url, model: "m" });
let events = 0;
const took = await us(async () => { for await (const _ of hosted.stream("x")) events++; }, 5);
report(`an event of a stream of ${EVENTS}, source included`, (took * 5) / events);
report("for comparison: the same bytes by fetch, an event", (await us(async () => { await (await fetch(`${base_url}/chat/completions`, { method: "POST", body: "{}" })).text(); }, 5)) / EVENTS);
report("longest stall of the event loop while 32 texts are embedded", await stall(() => wide.embed(texts.slice(0, 32))), 5, "ms");
report("longest stall of the event loop during a chat", await stall(() => chat.chat("hola")), 5, "ms");
server.close();
