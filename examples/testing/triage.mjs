// The triage chat as a whole: a mock router, the backend, the page.

import { startModels } from "./models.mjs";
import { answers, freePort, startApp, startFrontend } from "./processes.mjs";

/** The name of the page's Space; the tests map it to this machine. */
export const SPACE = "owner-carepath.hf.space";

/** All of it. `restartBackend` gives the backend other variables, on the same port. */
export async function startTriage({ model, env } = {}) {
  const [page, api] = [await freePort(), await freePort()];
  const stops = [];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one();
  };
  try {
    const models = await startModels(model);
    stops.push(() => models.stop());
    const origins = ["127.0.0.1", SPACE].map((host) => `http://${host}:${page}`).join(",");
    const launch = async (more) => {
      const settings = { DEFAULT_LLM_MODE: "huggingface", HF_API_TOKEN: "hf_mock", HF_ROUTER_URL: models.url, ALLOW_ORIGINS: origins, ...env, ...more };
      const running = startApp("triage-chat", api, settings);
      await answers(`http://127.0.0.1:${api}/ready`, running);
      return running;
    };
    let backend = await launch();
    stops.push(() => backend.stop());
    const system = { models, page: `http://127.0.0.1:${page}`, api: `http://127.0.0.1:${api}`, pagePort: page, stop, lines: () => backend.lines };
    system.stopBackend = (signal) => backend.stop(signal);
    system.restartBackend = async (more) => {
      await backend.stop();
      backend = await launch(more);
    };
    const pages = await startFrontend("triage-chat/frontend", { port: page, api: system.api });
    stops.push(() => pages.stop());
    return system;
  } catch (error) {
    await stop();
    throw error;
  }
}
