// Starts systems on free ports against mocks and prints their addresses: node demo.mjs procurement|triage|… [--once] [--shots FOLDER]
// With --once it checks that each system does its work and every page answers, and ends; --shots has pictures of the pages written.
// `scripts/demo` builds what it needs.

import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { launch, open, rests } from "./testing/browser.mjs";
import { indexed, startClipSearch } from "./testing/clip.mjs";
import { examples } from "./testing/processes.mjs";
import { startProcurement } from "./testing/procurement.mjs";
import { startStudio } from "./testing/studio.mjs";
import { startTriage } from "./testing/triage.mjs";

const CACHE = process.env.AYNI_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "ayni");
// The real SmolLM2, where `make models` has put it.
const SMOLLM2 = [join(CACHE, "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf")].find(existsSync);
const DRAWINGS = join(examples, "../docs/guides/drawings");
const PATIENTS = join(examples, "triage-chat/patients.json");

/**
 * Each system: how it starts, its pages, what it is told apart by, what to click, and `works`, which has it do its work once over
 * HTTP and says in words what came of it.
 */
const SYSTEMS = {
  procurement: {
    start: () => startProcurement(),
    pages: ["/", "/tenders", "/analysis"],
    about: ({ world, models }) => `an invented ChileCompra (${world.url}), a mock model (${models.url})`,
    click: ["Monitor: choose a group in the sums, sort by total, open an order", "Búsqueda: search «ambulancia», save the search, open a tender", "Análisis: press «Analizar con IA» on a tender"],
    async works({ api }) {
      const { rows } = await json(`${api}/api/tenders`);
      const events = await sent(`${api}/api/tenders/${rows[0].code}/analyses`, { asks: ["summary"], language: "es" });
      const [claims, rejected] = ["claim", "rejected"].map((name) => events.filter(({ event }) => event === name).length);
      if (events.at(-1).event !== "done" || !claims) throw new Error(`an analysis ended with ${JSON.stringify(events.at(-1))}`);
      return `${rows.length} tenders; an analysis: ${claims} claims that hold, ${rejected} rejected`;
    },
  },
  triage: {
    start: () => startTriage({ model: { pieceMs: 60 }, env: { PATIENT_SUMMARIES: PATIENTS, ...(SMOLLM2 && { DEFAULT_LLM_MODE: "gguf", GGUF_MODEL_PATH: SMOLLM2 }) } }),
    pages: ["/"],
    about: ({ models }) => `${SMOLLM2 ? "the real SmolLM2-135M in this process (mode gguf)" : "no real model: `make models` fetches one"}; the mode hf-qwen2.5 asks a mock router (${models.url})`,
    click: ["record number P000123, «What medications am I taking?»", "choose the mode hf-qwen2.5, ask again; open «Razonamiento»", "choose the mode mock, and look at why the others are not available"],
    async works({ api }) {
      const events = await sent(`${api}/triage/stream`, { patient_mrn: "P000123", query: "What medications am I taking?" });
      const text = events.filter(({ event }) => event === "text").map(({ data }) => data.text).join("");
      const { event, data } = events.at(-1);
      if (event !== "done" || !text) throw new Error(`an answer ended with ${event}: ${JSON.stringify(data)}`);
      return `${data.llm_mode} answered in ${events.length} events: ${text.trim().replace(/\s+/g, " ").slice(0, 120)}`;
    },
  },
  "image-studio": {
    start: () => startStudio({ side: 384, cloud: { delayMs: 1500 } }),
    pages: ["/"],
    about: ({ cloud }) => `a small model of random weights, which draws noise, as the local engine; a mock as the cloud (${cloud.url})`,
    click: [
      "write what to see, choose Local, and watch the steps; cancel one in the middle",
      "choose Nube, then «Cambiar esta imagen», and move the slider",
      "download a local image, drop it on the page, and press «Dibujar de nuevo»",
    ],
    async works({ api }) {
      const { images } = await json(`${api}/generate`, { prompt: "una llama", aspectRatio: "1:1" });
      if (!images[0].startsWith(PNG)) throw new Error("the engine gave something else than a PNG");
      return `the local engine drew a PNG of ${Math.round((images[0].length * 3) / 4 / 1024)} kB`;
    },
  },
  "clip-search": {
    start: () => startClipSearch({ images: 0, pictures: DRAWINGS, model: process.env.CLIP_MODEL || "tiny:clip" }),
    pages: ["/", "/api/images"],
    async settled(page) {
      await page.locator(".image-grid li:nth-child(12) img").waitFor();
      const inSight = () => [...document.querySelectorAll(".image-grid img")].filter((image) => image.getBoundingClientRect().top < innerHeight);
      await page.waitForFunction(`(${inSight})().every((image) => image.complete && image.naturalWidth > 0)`);
    },
    about: ({ folder }) => `${process.env.CLIP_MODEL || "the sample model tiny:clip, which knows drawings of things (CLIP_MODEL names another)"}; folder ${folder}`,
    click: ["search for «a boat on the sea», «un volcán»; open an image; press «Buscar parecidas»", "drop an image on the page; add one to the folder", "copy an image into the folder, and see it appear"],
    async works(system) {
      await indexed(system, system.names.length);
      const events = await sent(`${system.page}/api/search`, { text: "un velero" });
      const { matches } = events.at(-1).data;
      const isRight = matches?.length && (process.env.CLIP_MODEL || matches[0].name === "sailboat.png");
      if (!isRight) throw new Error(`a search for «un velero» ended with ${JSON.stringify(events.at(-1))}`);
      return `${system.names.length} images indexed; «un velero» finds ${matches[0].name} first`;
    },
  },
};

// How a PNG begins in base64.
const PNG = "iVBORw0KGgo";

async function answered(url, body) {
  const response = await fetch(url, body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${(await response.text()).slice(0, 300)}`);
  return response;
}

const json = async (url, body) => (await answered(url, body)).json();

/** The server-sent events of an answer. */
async function sent(url, body) {
  const text = await (await answered(url, body)).text();
  return [...text.matchAll(/^event: (.+)\ndata: (.+)$/gm)].map(([, event, data]) => ({ event, data: JSON.parse(data) }));
}

const { values: options, positionals: names } = parseArgs({
  allowPositionals: true,
  options: { once: { type: "boolean", default: false }, shots: { type: "string" } },
});
if (names.length === 0 || names.some((name) => !Object.hasOwn(SYSTEMS, name))) {
  console.error(`usage: node demo.mjs ${Object.keys(SYSTEMS).join("|")}… [--once] [--shots FOLDER]`);
  process.exit(2);
}

/** Starts a system; asks each of its pages for an answer. With --once it also does its work. */
async function start(name) {
  const system = SYSTEMS[name];
  const running = await system.start();
  started.push(running);
  for (const path of system.pages) await answered(running.page + path);
  console.log(`\n${name}\npage     ${running.page}\nbackend  ${running.api}/docs\nwith     ${system.about(running)}`);
  if (options.once) console.log(`works    ${await system.works(running)}`);
  else for (const line of system.click) console.log(`  ${line}`);
  return running;
}

/** A picture of each page, wide and narrow, in light and dark. */
async function shoot(browser, name, running, folder) {
  for (const path of SYSTEMS[name].pages.filter((path) => !path.startsWith("/api/"))) {
    for (const size of ["wide", "narrow"]) {
      for (const theme of ["light", "dark"]) {
        const { page, context } = await open(browser, { size, theme, url: running.page });
        await page.goto(running.page + path);
        await (SYSTEMS[name].settled ?? rests)(page);
        const file = `${[name, ...path.split("/").filter(Boolean), size, theme].join("-")}.png`;
        await page.screenshot({ path: join(folder, file) });
        await context.close();
        console.log(`  ${join(folder, file)}`);
      }
    }
  }
}

const started = [];
try {
  for (const name of names) {
    const running = await start(name);
    if (options.shots) {
      const browser = await launch();
      await shoot(browser, name, running, options.shots).finally(() => browser.close());
    }
  }
  if (!options.once) {
    console.log("\nCtrl+C ends it.");
    await new Promise((resolve) => process.once("SIGINT", resolve).once("SIGTERM", resolve));
  }
} finally {
  await Promise.all(started.map((running) => running.stop()));
}
