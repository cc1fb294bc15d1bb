// The image studio as a whole: a local engine whose model has random weights, a cloud engine that is not ayni's, the page.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { startEngine } from "./engine.mjs";
import { answers, freePort, mock, startApp, startStatic } from "./processes.mjs";

/** The name of the page's Space; the tests map it to this machine. */
export const SPACE = "owner-aura-reflect.hf.space";

/** Pixels that one number of the model's own image stands for. */
const SCALE = 8;

/** A model of random weights that draws squares of so many pixels: the more, the longer a step takes. */
function tinyModel(folder, side) {
  execFileSync(mock(), ["tiny-images", folder]);
  const path = join(folder, "sd/unet/config.json");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), sample_size: side / SCALE }));
  return join(folder, "sd");
}

/** All of it. `restartBackend` gives the local engine other variables, on the same port. */
export async function startStudio({ side = 256, cloud: behaviour, env, hasCloud = true } = {}) {
  const [page, api] = [await freePort(), await freePort()];
  const folder = mkdtempSync(join(tmpdir(), "ayni-studio-"));
  const stops = [async () => rmSync(folder, { recursive: true, force: true })];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one();
  };
  try {
    const model = tinyModel(folder, side);
    const origins = ["127.0.0.1", "localhost", SPACE].map((host) => `http://${host}:${page}`);
    const cloud = await startEngine({ origins, ...behaviour });
    stops.push(() => cloud.stop());
    const launch = async (more) => {
      const settings = { IMAGE_ENGINE_MODE: "local", SD_MODEL_ID: model, SD_DEVICE: "cpu", ALLOW_ORIGINS: origins.join(" , "), ...env, ...more };
      const running = startApp("image-studio/engine", api, settings);
      await answers(`http://127.0.0.1:${api}/ready`, running);
      return running;
    };
    let engine = await launch();
    stops.push(() => engine.stop());
    const system = { cloud, page: `http://127.0.0.1:${page}`, api: `http://127.0.0.1:${api}`, pagePort: page, stop, lines: () => engine.lines };
    system.stopBackend = (signal) => engine.stop(signal);
    system.restartBackend = async (more) => {
      await engine.stop();
      engine = await launch(more);
    };
    const told = { LOCAL_ENGINE_URL: system.api, RANDOM_WEIGHTS: "1", ...(hasCloud && { VITE_CLOUD_ENGINE_URL: cloud.url }) };
    const pages = await startStatic("image-studio/frontend", page, told);
    stops.push(() => pages.stop());
    return system;
  } catch (error) {
    await stop();
    throw error;
  }
}
