// One library in a process of its own: `node worker.mjs SIDE CONFIG`, then lines on stdin, each answered by one on stdout.
//
//   prepare WORK → ready          loads and runs once
//   run WORK     → time MS CALLS  the time of a call, over so many
//   vector WORK  → vector JSON    the first vector
//   memory       → memory BYTES   resident
import { readFileSync, symlinkSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [side, text] = process.argv.slice(2);
const config = JSON.parse(text);
const works = JSON.parse(readFileSync(join(config.graphs, "inputs.json"), "utf8"));
const [library, precision] = side.split("_");

/** Calls shorter than this are repeated. */
const TURN_MS = 300;

/** What users have, JPEG files: decoding and scaling count on both sides. (sharp reads no BMP.) */
const image = () => join(config.graphs, "images/photograph.jpg");

async function ours() {
  const { openEmbedder } = createRequire(join(config.ayni, "package.json"))("ayni");
  const opened = {};
  const models = { minilm: config.minilm, clip: join(config.graphs, "clip") };
  return async (work) => {
    opened[work.model] ??= openEmbedder({ backend: "local", model: models[work.model], precision, device: "cpu" });
    const embedder = await opened[work.model];
    if (work.task === "text") return async () => (await embedder.embed(work.texts)).vectors[0];
    const images = work.images.map(() => ({ path: image() }));
    return async () => (await embedder.embed(images)).vectors[0];
  };
}

/** A folder as transformers.js wants it: the graphs of the suite `embed` under their names. */
function folder(model) {
  const made = join(config.scratch, model);
  const names = { "tokenizer.json": 0, "tokenizer_config.json": 0, "config.json": 0, "preprocessor_config.json": 0 };
  const from = model === "minilm" ? config.minilm : join(config.graphs, "clip");
  const graphs = model === "minilm" ? { model: "f32" } : { text_model: "text_f32", vision_model: "image_f32" };
  rmSync(made, { recursive: true, force: true });
  mkdirSync(join(made, "onnx"), { recursive: true });
  for (const name of Object.keys(names)) symlinkSync(join(from, name), join(made, name));
  for (const [name, graph] of Object.entries(graphs)) {
    for (const [ending, kind] of [["", graph], ["_quantized", graph.replace("f32", "int8")]]) {
      symlinkSync(join(config.graphs, model, `${kind}.onnx`), join(made, "onnx", `${name}${ending}.onnx`));
    }
  }
}

async function transformersJs() {
  const hub = await import(createRequire(join(config.peers, "package.json")).resolve("@huggingface/transformers"));
  hub.env.allowRemoteModels = false;
  hub.env.localModelPath = config.scratch;
  const options = { dtype: precision === "int8" ? "q8" : "fp32", session_options: { intraOpNumThreads: config.threads } };
  const opened = {};
  const once = (name, open) => (opened[name] ??= open());
  for (const model of ["minilm", "clip"]) folder(model);
  return async (work) => {
    if (work.model === "minilm") {
      const extract = await once("minilm", () => hub.pipeline("feature-extraction", "minilm", options));
      return async () => (await extract(work.texts, { pooling: "mean", normalize: true })).tolist()[0];
    }
    const unit = (vector) => { const length = Math.hypot(...vector); return vector.map((x) => x / length); };
    if (work.task === "text") {
      const tokenizer = await once("tokenizer", () => hub.AutoTokenizer.from_pretrained("clip"));
      const model = await once("text", () => hub.CLIPTextModelWithProjection.from_pretrained("clip", options));
      return async () => unit((await model(tokenizer(work.texts, { padding: true, truncation: true }))).vectors.tolist()[0]);
    }
    const processor = await once("processor", () => hub.AutoProcessor.from_pretrained("clip"));
    const model = await once("image", () => hub.CLIPVisionModelWithProjection.from_pretrained("clip", options));
    return async () => {
      const images = await Promise.all(work.images.map(() => hub.RawImage.read(image())));
      return unit((await model(await processor(images))).vectors.tolist()[0]);
    };
  };
}

const open = await (library === "ours" ? ours() : transformersJs());
const calls = {};
for await (const line of createInterface({ input: process.stdin })) {
  const [command, name] = line.split(" ");
  const work = works.find((work) => work.name === name);
  if (command === "prepare") {
    calls[name] = await open(work);
    await calls[name]();
    console.log("ready");
  } else if (command === "run") {
    const begin = performance.now();
    let count = 0;
    do { await calls[name](); count++; } while (performance.now() - begin < TURN_MS);
    console.log(`time ${(performance.now() - begin) / count} ${count}`);
  } else if (command === "vector") {
    console.log(`vector ${JSON.stringify(Array.from(await calls[name]()))}`);
  } else if (command === "memory") {
    console.log(`memory ${process.memoryUsage.rss()}`);
  }
}
