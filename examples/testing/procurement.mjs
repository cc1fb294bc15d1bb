// The procurement dashboard as a whole: ChileCompra as `ayni-mock` plays it, a mock model, the backend, the pages.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { startModels } from "./models.mjs";
import { answers, firstLine, freePort, mock, start, startApp, startFrontend } from "./processes.mjs";

/** The day so many days ago. */
export const dayBefore = (days) => new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10);

/** Waits until the monitor shows its orders, and has read the details that it reads without being asked. */
export async function detailsRead(page) {
  await page.getByRole("grid").waitFor();
  await page.waitForFunction(() => /(Detalles leídos|Details read)\n[1-9]/.test(document.querySelector(".tile:last-child").innerText));
}

export async function startWorld(world = {}) {
  const running = start(mock(), ["chilecompra", "--world", JSON.stringify({ seed: 5, ...world })]);
  const { base_url: url, control_url: control } = await firstLine(running);
  return {
    url,
    /** What the world has seen; with a change, changes it. */
    async control(change) {
      const response = await fetch(control, change ? { method: "POST", body: JSON.stringify(change) } : {});
      if (!response.ok) throw new Error(await response.text());
      return response.json();
    },
    async stop() {
      running.child.stdin.end();
      await running.ended;
    },
  };
}

export async function startBackend(world, models, { port, env = {}, config: more = {}, store, origins }) {
  const config = {
    backend: "mercado_publico", base_url: `${world.url}/servicios/v1`, quick_url: `${world.url}/v2`, ocds_url: `${world.url}/APISOCDS/OCDS`,
    store, min_gap_seconds: 0.01, personal_data: false, ...more,
  };
  const running = startApp("procurement/backend", port, {
    PROCUREMENT_CONFIG: JSON.stringify(config), MERCADO_PUBLICO_TICKET: "00000000-0000-0000-0000-000000000000",
    // As in its Dockerfile.
    MAX_CONCURRENCY: "256", GROQ_API_KEY: "demo-key-0000", GROQ_MODEL: "mock-model", GROQ_BASE_URL: models.url, ALLOW_ORIGINS: origins.join(","), ...env,
  });
  await answers(`http://127.0.0.1:${port}/ready`, running);
  return running;
}

/** The name of the pages' Space; the tests map it to this machine. */
export const SPACE = "owner-andesops-ai.hf.space";

/** All of it. `restartBackend` gives the backend other variables, on the same port. */
export async function startProcurement({ world: spec, model, env, config } = {}) {
  const [page, api] = [await freePort(), await freePort()];
  const folder = mkdtempSync(join(tmpdir(), "ayni-procurement-"));
  const stops = [async () => rmSync(folder, { recursive: true, force: true })];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one();
  };
  try {
    const world = await startWorld(spec);
    stops.push(() => world.stop());
    const models = await startModels(model);
    stops.push(() => models.stop());
    const origins = ["127.0.0.1", "localhost", SPACE].map((host) => `http://${host}:${page}`);
    const options = { port: api, config, store: `sqlite:${join(folder, "records.db")}`, origins };
    const system = { world, models, page: `http://127.0.0.1:${page}`, api: `http://127.0.0.1:${api}`, pagePort: page, stop };
    let backend = await startBackend(world, models, { ...options, env });
    stops.push(() => backend.stop());
    system.stopBackend = (signal) => backend.stop(signal);
    system.backendLines = () => backend.lines;
    system.restartBackend = async (more) => {
      await backend.stop();
      backend = await startBackend(world, models, { ...options, env: { ...env, ...more } });
    };
    const pages = await startFrontend("procurement/frontend", { port: page, api: system.api });
    stops.push(() => pages.stop());
    return system;
  } catch (error) {
    await stop();
    throw error;
  }
}
