// Starts a system on free ports against mocks and prints its addresses: node demo.mjs procurement [--once]
// With --once it checks that every page answers, and ends.

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
    click: ["search for a few words; open an image; press «Buscar parecidas»", "drop an image on the page; add one to the folder", "copy an image into the folder, and see it appear"],
    about: ({ folder, isRandom }) => `folder   ${folder}${isRandom ? "\nThe weights of its model are random: what is found means nothing. CLIP_MODEL names a real one." : ""}`,
  },
};

const [name, ...rest] = process.argv.slice(2);
const system = SYSTEMS[name];
if (!system) {
  console.error(`usage: node demo.mjs ${Object.keys(SYSTEMS).join("|")} [--once]`);
  process.exit(2);
}
const running = await system.start();
try {
  for (const path of system.pages) {
    const response = await fetch(running.page + path);
    if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  }
  console.log(`page     ${running.page}\nbackend  ${running.api}/docs\n${system.about(running)}`);
  for (const line of system.click) console.log(`  ${line}`);
  if (!rest.includes("--once")) {
    console.log("Ctrl+C ends it.");
    await new Promise((resolve) => process.once("SIGINT", resolve).once("SIGTERM", resolve));
  }
} finally {
  await running.stop();
}
