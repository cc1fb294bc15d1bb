// Starts systems on free ports against mocks and prints their addresses: node demo.mjs all|procurement|… [--once] [--shots FOLDER]
// With --once it checks that every page answers, and ends; --shots has pictures of the pages written.

import { join } from "node:path";
import { parseArgs } from "node:util";

import { launch, open, rests } from "./testing/browser.mjs";
import { clipModel, startClipSearch } from "./testing/clip.mjs";
import { startProcurement } from "./testing/procurement.mjs";
import { startStudio } from "./testing/studio.mjs";
import { startTriage } from "./testing/triage.mjs";

const SYSTEMS = {
  procurement: {
    start: () => startProcurement(),
    pages: ["/", "/tenders", "/analysis"],
    click: ["Monitor: choose a group in the sums, sort by total, open an order", "Búsqueda: search «ambulancia», save the search, open a tender", "Análisis: press «Analizar con IA» on a tender"],
    about: ({ world, models }) => `against an invented ChileCompra (${world.url}) and a mock model (${models.url})`,
  },
  triage: {
    start: () => startTriage({ model: { pieceMs: 60 } }),
    pages: ["/"],
    click: ["ask something; open «Razonamiento»", "choose the mode mock, and look at why the others are not available"],
    about: ({ models }) => `against a mock router (${models.url})`,
  },
  "image-studio": {
    start: () => startStudio({ side: 384, cloud: { delayMs: 1500 } }),
    pages: ["/"],
    click: [
      "write what to see, choose Local, and watch the steps; cancel one in the middle",
      "choose Nube, then «Cambiar esta imagen», and move the slider",
      "download a local image, drop it on the page, and press «Dibujar de nuevo»",
    ],
    about: ({ cloud }) => `the local engine's model has random weights and draws noise; the cloud engine is a mock (${cloud.url})`,
  },
  "clip-search": {
    start: async () => startClipSearch({ images: 24, model: await clipModel() }),
    pages: ["/", "/api/images"],
    settled: (page) => page.locator(".image-grid li:nth-child(12) img").waitFor(),
    click: ["search for a few words; open an image; press «Buscar parecidas»", "drop an image on the page; add one to the folder", "copy an image into the folder, and see it appear"],
    about: ({ folder, isRandom }) => `folder   ${folder}${isRandom ? "\nThe weights of its model are random: what is found means nothing. CLIP_MODEL names a real one." : ""}`,
  },
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { once: { type: "boolean", default: false }, shots: { type: "string" } },
});
const names = positionals[0] === "all" ? Object.keys(SYSTEMS) : positionals;
if (names.length === 0 || names.some((name) => !Object.hasOwn(SYSTEMS, name))) {
  console.error(`usage: node demo.mjs all|${Object.keys(SYSTEMS).join("|")}… [--once] [--shots FOLDER]`);
  process.exit(2);
}

/** Starts a system and asks each of its pages for an answer. */
async function start(name) {
  const system = SYSTEMS[name];
  const running = await system.start();
  started.push(running);
  for (const path of system.pages) {
    const response = await fetch(running.page + path);
    if (!response.ok) throw new Error(`${name}: ${path} answered ${response.status}`);
  }
  console.log(`\n${name}\npage     ${running.page}\nbackend  ${running.api}/docs\n${system.about(running)}`);
  for (const line of system.click) console.log(`  ${line}`);
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
