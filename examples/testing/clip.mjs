// The image search as a whole: the CLIP service over a small model of random weights, a gate before it that can sleep, refuse
// and be slow, the pages.

import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as requestOf } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { drawLandscapes } from "./landscapes.mjs";
import { answers, examples, freePort, startApp, startFrontend } from "./processes.mjs";

const GOLDEN = join(examples, "../core/tests/golden/clip/openai");

/** A CLIP of a few hundred kilobytes with seeded random weights: token n is the word `wn`, images are 32 × 32. */
export function seededClip(folder, isOther = false) {
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(GOLDEN, "config.json"), join(folder, "config.json"));
  const weights = readFileSync(join(GOLDEN, "model.safetensors"));
  // Another model: the last thousand numbers change their sign.
  if (isOther) for (let at = 1; at <= 1000; at++) weights[weights.length + 3 - 4 * at] ^= 0x80;
  writeFileSync(join(folder, "model.safetensors"), weights);
  const vocab = Object.fromEntries(Array.from({ length: 64 }, (_, id) => [`w${id}`, id]));
  const mean = [0.5, 0.5, 0.5];
  const files = {
    "tokenizer.json": {
      version: "1.0", added_tokens: [], pre_tokenizer: { type: "Whitespace" }, model: { type: "WordLevel", vocab, unk_token: "w0" },
    },
    "tokenizer_config.json": { pad_token: "w1" },
    "preprocessor_config.json": {
      image_processor_type: "CLIPImageProcessor", do_rescale: true, rescale_factor: 1 / 255, do_normalize: true, image_mean: mean, image_std: mean,
      do_convert_rgb: true, resample: 3, do_resize: true, size: { shortest_edge: 32 }, do_center_crop: true, crop_size: { height: 32, width: 32 },
    },
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(content));
  return folder;
}

/** What a Space shows while it starts. */
export const STARTING = { status: 503, headers: { "content-type": "text/html" }, body: "<!doctype html><title>Starting</title><h1>Your Space is starting</h1>" };

/** Hands requests on to a service. `state.answer` answers in its place, `state.delayMs` waits before; `seen` are the paths. */
export async function startGate(port) {
  const state = { delayMs: 0, answer: null };
  const seen = [];
  const server = createServer((incoming, outgoing) => {
    seen.push(incoming.url);
    const { answer } = state;
    if (answer) {
      incoming.resume();
      incoming.on("end", () => outgoing.writeHead(answer.status, answer.headers).end(answer.body));
      return;
    }
    setTimeout(() => {
      const { method, url: path, headers } = incoming;
      const upstream = requestOf({ host: "127.0.0.1", port, method, path, headers }, (response) => {
        outgoing.writeHead(response.statusCode, response.headers);
        response.pipe(outgoing);
      });
      // A service that is gone looks as it does without a gate: the connection ends.
      upstream.on("error", () => outgoing.destroy());
      outgoing.on("close", () => upstream.destroy());
      incoming.pipe(upstream);
    }, state.delayMs);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    state,
    seen,
    /** How many images have been embedded. */
    images: () => seen.filter((path) => path === "/embed/image").length,
    reset: () => Object.assign(state, { delayMs: 0, answer: null }),
    url: `http://127.0.0.1:${server.address().port}`,
    stop: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  };
}

/**
 * All of it. With `provider: "local"` the pages' server embeds itself, and neither service nor gate is there. `model` is a
 * folder or a reference; by default the model of random weights. `images` are landscapes that are drawn, `pictures` a folder whose PNGs
 * are copied.
 */
export async function startClipSearch({ provider = "huggingface", images = 12, pictures, model, env } = {}) {
  const [page, api] = [await freePort(), await freePort()];
  const work = mkdtempSync(join(tmpdir(), "ayni-clip-search-"));
  const folder = join(work, "images");
  mkdirSync(folder);
  const stops = [async () => rmSync(work, { recursive: true, force: true })];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one();
  };
  try {
    const weights = model ?? seededClip(join(work, "tiny-clip"));
    const system = { folder, indexFile: join(work, "vectors"), page: `http://127.0.0.1:${page}`, api: `http://127.0.0.1:${api}`, stop };
    system.names = drawLandscapes(folder, images);
    for (const name of pictures ? readdirSync(pictures) : []) {
      copyFileSync(join(pictures, name), join(folder, name));
      system.names.push(name);
    }
    system.otherModel = () => seededClip(join(work, "other-clip"), true);
    if (provider === "huggingface") {
      const launch = async (reference = weights) => {
        const running = startApp("clip-space", api, { EMBEDDING_MODEL: reference, API_KEY: "clip-key", HF_HUB_OFFLINE: "1" });
        await answers(`${system.api}/ready`, running);
        return running;
      };
      let service = await launch();
      stops.push(() => service.stop());
      system.gate = await startGate(api);
      stops.push(() => system.gate.stop());
      system.serviceLines = () => service.lines;
      system.stopService = (signal) => service.stop(signal);
      system.restartService = async (reference) => {
        await service.stop();
        service = await launch(reference);
      };
    }
    const own = provider === "local" ? {} : { CLIP_SERVICE_URL: system.gate.url, CLIP_API_KEY: "clip-key" };
    const settings = { EMBEDDING_PROVIDER: provider, EMBEDDING_MODEL: weights, IMAGES_DIR: folder, INDEX_FILE: system.indexFile, ...own, ...env };
    const open = () => startFrontend("clip-search/frontend", { port: page, env: settings });
    let pages = await open();
    stops.push(() => pages.stop());
    system.lines = () => pages.lines;
    system.stopPages = (signal) => pages.stop(signal);
    system.restartPages = async () => {
      await pages.stop();
      pages = await open();
    };
    return system;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The first state of the index that fits, as its stream tells it. */
export async function indexState(system, fits = () => true, seconds = 90) {
  const signal = AbortSignal.timeout(seconds * 1000);
  let last = "";
  try {
    const response = await fetch(`${system.page}/api/index`, { signal });
    let text = "";
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) {
        last = event;
        if (!event.startsWith("event: state")) continue;
        const state = JSON.parse(event.split("data: ")[1]);
        if (fits(state)) return state;
      }
    }
  } catch (error) {
    throw new Error(`no such state of the index; the last: ${last}\n${system.lines().slice(-10).join("\n")}`, { cause: error });
  }
  throw new Error(`the stream of the index ended; the last: ${last}`);
}

/** Waits until all images are indexed that can be. */
export const indexed = (system, count, seconds) =>
  indexState(system, (state) => !state.running && state.problem === null && state.indexed === count, seconds);
