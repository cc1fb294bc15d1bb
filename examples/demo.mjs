// Starts a system on free ports against mocks and prints its addresses: node demo.mjs procurement [--once]
// With --once it checks that every page answers, and ends.

import { startProcurement } from "./testing/procurement.mjs";

const SYSTEMS = {
  procurement: {
    start: () => startProcurement(),
    pages: ["/", "/tenders", "/analysis"],
    click: ["Monitor: choose a group in the sums, sort by total, open an order", "Búsqueda: search «ambulancia», save the search, open a tender", "Análisis: press «Analizar con IA» on a tender"],
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
  console.log(`page     ${running.page}\nbackend  ${running.api}/docs\nagainst an invented ChileCompra (${running.world.url}) and a mock model (${running.models.url})`);
  for (const line of system.click) console.log(`  ${line}`);
  if (!rest.includes("--once")) {
    console.log("Ctrl+C ends it.");
    await new Promise((resolve) => process.once("SIGINT", resolve).once("SIGTERM", resolve));
  }
} finally {
  await running.stop();
}
