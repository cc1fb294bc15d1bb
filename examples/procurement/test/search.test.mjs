// Tender Search in a browser: one list, deadlines, details, saved searches.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { downloaded, launch, open, showsRows } from "../../testing/browser.mjs";
import { dayBefore, startProcurement } from "../../testing/procurement.mjs";

let system;
let browser;
before(async () => {
  // Lists are read anew each time, so that what is new in the world is seen at once.
  // The world is a day behind, so that it can go on by one while the backend's clock stays; what the backend keeps ends
  // with its process.
  const world = { now: new Date(Date.now() - 86_400_000).toISOString() };
  [system, browser] = await Promise.all([startProcurement({ world, config: { store: "memory" } }), launch()]);
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

const results = (page) => page.getByRole("grid", { name: "resultados" });
const rowCount = async (page) => Number(await results(page).getAttribute("aria-rowcount")) - 1;
const get = async (path) => (await fetch(system.api + path)).json();

test("tenders and Compra Ágil are found by one search, and the kind narrows it", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/tenders?q=aseo`);
  await results(page).waitFor();
  const [tenders, quick] = await Promise.all([get("/api/tenders?text=aseo"), get("/api/quick-purchases?text=aseo&state=publicada")]);
  assert.ok(tenders.rows.length && quick.rows.length);
  assert.equal(await rowCount(page), tenders.rows.length + quick.rows.length);
  await page.getByRole("group", { name: "Tipo" }).getByRole("button", { name: "Compra Ágil" }).click();
  await showsRows(page, quick.rows.length);
  await page.goBack();
  await showsRows(page, tenders.rows.length + quick.rows.length);
  await close();
});

test("region, amount and closing date narrow the list", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/tenders?kind=quick`);
  await results(page).waitFor();
  const all = await rowCount(page);
  await page.getByLabel("Región").selectOption({ label: "Biobío" });
  const quick = await get("/api/quick-purchases?state=publicada&region=8");
  await showsRows(page, quick.rows.length);
  assert.ok(quick.rows.length < all && quick.rows.every(({ region }) => region === 8));
  await page.getByLabel("Región").selectOption({ label: "Todas" });
  await page.getByLabel("Monto desde").fill("5000000");
  const dear = await get("/api/quick-purchases?state=publicada&min_amount=5000000");
  await showsRows(page, dear.rows.length);
  await page.getByLabel("Monto desde").fill("");
  await showsRows(page, all);
  await page.getByLabel("Cierra en").selectOption("3");
  await page.waitForFunction((many) => Number(document.querySelector("[role=grid]")?.getAttribute("aria-rowcount")) < many, all + 1);
  assert.ok((await rowCount(page)) > 0);
  await close();
});

test("a category narrows the list to tenders whose lines have it", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/tenders?kind=tender&q=ambulancia`);
  await results(page).waitFor();
  const choice = page.getByLabel("Categoría").locator("option", { hasText: "Vehículos" });
  await choice.waitFor({ state: "attached" });
  await page.getByLabel("Categoría").selectOption("Vehículos");
  assert.ok((await rowCount(page)) > 0);
  assert.equal(new URL(page.url()).searchParams.get("category"), "Vehículos");
  await close();
});

test("a tender's page has its lines, dates, documents, similar tenders and files", async () => {
  const { page, close } = await open(browser);
  const { rows } = await get("/api/tenders");
  const { record } = await get(`/api/tenders/${rows[0].code}`);
  await page.goto(`${system.page}/tenders/${record.row.code}`);
  await page.getByRole("heading", { level: 1, name: record.row.name.trim() }).waitFor();
  const lines = page.getByRole("region", { name: `Líneas (${record.items.length})` });
  assert.equal(await lines.getByRole("row").count(), record.items.length + 1);
  for (const title of ["Datos", "Fechas", "Documentos", "Licitaciones parecidas"]) await page.getByRole("region", { name: title }).waitFor();
  const as = (form) => downloaded(page, async () => {
    await page.getByRole("button", { name: "Exportar" }).click();
    await page.getByRole("menuitem", { name: form }).click();
  });
  assert.ok((await as("PDF")).bytes.subarray(0, 4).equals(Buffer.from("%PDF")));
  assert.equal(JSON.parse((await as("OCDS")).bytes).records[0].compiledRelease.tender.id, record.row.code);
  const calendar = (await as("Calendario")).bytes.toString();
  const [, closes] = /DTSTART:(\d{8}T\d{6}Z)/.exec(calendar);
  assert.equal(closes, `${new Date(record.row.closes).toISOString().replace(/[-:]/g, "").slice(0, 15)}Z`);
  assert.ok(calendar.split("\r\n").every((line) => Buffer.byteLength(line) <= 75));
  await close();
});

test("an awarded tender shows who won which line at which price", async () => {
  const { page, close } = await open(browser);
  const days = [50, 49, 48, 47, 46, 45].map(dayBefore);
  let record;
  for (const day of days) {
    for (const { code, state } of (await get(`/api/tenders?on=${day}`)).rows) if (state === "adjudicada") record ??= (await get(`/api/tenders/${code}`)).record;
    if (record) break;
  }
  assert.ok(record, "the world has an awarded tender");
  await page.goto(`${system.page}/tenders/${record.row.code}`);
  await page.getByRole("region", { name: "Adjudicación", exact: true }).waitFor();
  const winner = record.items.find(({ award }) => award).award.supplier.name;
  await page.getByRole("cell", { name: winner }).first().waitFor();
  await close();
});

test("a quick purchase opens from the list and shows offers and documents", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/tenders?kind=quick`);
  await results(page).getByRole("link").first().click();
  for (const title of ["Ofertas", "Documentos", "Fechas"]) await page.getByRole("region", { name: title }).waitFor();
  assert.match(page.url(), /\/quick\//);
  await close();
});

test("a saved search tells at the next visit what is new", async () => {
  // The gauge asks while the backend starts again.
  const { page, close } = await open(browser, { expected: [/net::ERR_CONNECTION_REFUSED/] });
  await page.goto(`${system.page}/tenders?kind=quick`);
  await results(page).waitFor();
  const before = await rowCount(page);
  page.on("dialog", (dialog) => dialog.accept("Compra Ágil de hoy"));
  await page.getByRole("button", { name: "Guardar búsqueda" }).click();
  await page.getByRole("region", { name: "Búsquedas guardadas" }).waitFor();
  await system.world.control({ advance_seconds: 86_400 });
  await system.restartBackend();
  await page.goto(`${system.page}/tenders`);
  const saved = page.getByRole("region", { name: "Búsquedas guardadas" });
  const badge = saved.getByText(/\d+ nuevas/);
  await badge.waitFor();
  const fresh = Number(/\d+/.exec(await badge.textContent())[0]);
  assert.ok(fresh > 0);
  await saved.getByRole("button", { name: /^Compra Ágil de hoy/ }).click();
  await page.getByRole("button", { name: "OK" }).click();
  await page.reload();
  await results(page).waitFor();
  assert.equal(await saved.getByText(/nuevas/).count(), 0);
  assert.ok((await rowCount(page)) > 0 && before > 0);
  await saved.getByRole("button", { name: /Eliminar/ }).click();
  assert.equal(await saved.count(), 0);
  await close();
});

test("what matches nothing says so, and offers the way out", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/tenders?q=unicornio`);
  await page.getByRole("heading", { name: "Ninguna oportunidad coincide" }).waitFor();
  await page.getByRole("button", { name: "Quitar filtros" }).click();
  await results(page).waitFor();
  await close();
});
