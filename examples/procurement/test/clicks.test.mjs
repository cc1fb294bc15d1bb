// Fields and buttons that no other file presses, the keyboard alone, and narrow screens.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { downloaded, launch, open, showsRows } from "../../testing/browser.mjs";
import { dayBefore, startProcurement } from "../../testing/procurement.mjs";

let system;
let browser;
before(async () => {
  [system, browser] = await Promise.all([startProcurement(), launch()]);
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

/** A working day of the past, whatever day it is. */
const DAY = dayBefore([2, 3, 4, 5].find((back) => ![0, 6].includes(new Date(Date.now() - back * 86_400_000).getUTCDay())));
const get = async (path) => (await fetch(system.api + path)).json();
const grid = (page) => page.getByRole("grid");
const rowCount = async (page) => Number(await grid(page).getAttribute("aria-rowcount")) - 1;
const address = (page, name) => new URL(page.url()).searchParams.get(name);

/** Presses Tab until what has the focus fits. */
async function tabTo(page, fits, most = 60) {
  for (let press = 0; press < most; press++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(fits)) return;
  }
  assert.fail("nothing that fits gets the focus");
}

test("the monitor's fields filter, days are chosen, and what matches nothing offers the way out", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/?from=${DAY}&to=${DAY}`);
  await grid(page).waitFor();
  const all = await rowCount(page);
  const { rows } = await get(`/api/purchase-orders?from=${DAY}&to=${DAY}`);
  assert.equal(all, rows.length);
  const { state } = rows[0];
  await page.getByLabel("Estado").selectOption(state);
  await showsRows(page, rows.filter((row) => row.state === state).length);
  await page.getByLabel("Estado").selectOption("");
  await page.getByLabel("Región").locator("option").nth(1).waitFor({ state: "attached" });
  await page.getByLabel("Región").selectOption({ index: 1 });
  await page.waitForFunction((many) => Number(document.querySelector("[role=grid]").getAttribute("aria-rowcount")) - 1 < many, all);
  await page.getByRole("searchbox").fill("esto no existe");
  await page.getByRole("heading", { name: "Nada coincide con los filtros" }).waitFor();
  await page.getByRole("button", { name: "Quitar filtros" }).click();
  await showsRows(page, all);
  assert.equal(address(page, "from"), DAY);
  await page.getByLabel("Desde").fill(dayBefore(9));
  const more = (await get(`/api/purchase-orders?from=${dayBefore(9)}&to=${DAY}`)).rows.length;
  await showsRows(page, more);
  await page.getByLabel("Hasta").fill(dayBefore(9));
  await page.waitForFunction((many) => Number(document.querySelector("[role=grid]")?.getAttribute("aria-rowcount") ?? 0) - 1 < many, more);
  await close();
});

test("refresh asks again, reading all stops when it is told to, and a reload in the middle loses nothing", async () => {
  const details = "v1/ordenesdecompra.json?codigo";
  const { calls: before } = await system.world.control({ behaviour: { latency_ms: 60 } });
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/?from=${dayBefore(16)}&to=${dayBefore(12)}`);
  await grid(page).waitFor();
  const again = page.waitForResponse(/\/api\/purchase-orders\?/);
  await page.getByRole("button", { name: "Actualizar", exact: true }).click();
  await again;
  const many = await rowCount(page);
  await page.getByRole("button", { name: /Leer todos/ }).click();
  await page.getByRole("button", { name: "Detener" }).click();
  await page.getByRole("button", { name: /Leer todos/ }).waitFor();
  await page.getByRole("button", { name: /Leer todos/ }).click();
  await page.reload();
  await system.world.control({ behaviour: { latency_ms: 0 } });
  await grid(page).waitFor();
  await page.getByRole("button", { name: /Leer todos/ }).click();
  await page.getByText(`${many} / ${many}`).waitFor({ timeout: 180_000 });
  const { calls } = await system.world.control();
  // Those that were being read when reading was stopped and when the page was left may have been asked for twice.
  const asked = calls[details] - (before[details] ?? 0);
  assert.ok(asked <= many + 2, `${asked} requests for ${many} orders`);
  await close();
});

test("what is shared is the address of the view, with the day where it has none", async () => {
  const { page, context, close } = await open(browser);
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  for (const [path, name] of [["/", "from"], ["/tenders?kind=quick", "kind"], [`/analysis?asks=risks`, "asks"]]) {
    await page.goto(system.page + path);
    await page.getByRole("button", { name: "Compartir" }).click();
    await page.getByText("Enlace copiado").waitFor();
    const copied = new URL(await page.evaluate(() => navigator.clipboard.readText()));
    assert.ok(copied.searchParams.get(name), copied.href);
    assert.equal(copied.pathname, new URL(system.page + path).pathname);
  }
  await close();
});

test("the list of opportunities is exported as CSV and as a calendar, and sorted by its headers", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/tenders?q=aseo`);
  await grid(page).waitFor();
  const many = await rowCount(page);
  const as = (form) => downloaded(page, async () => {
    await page.getByRole("button", { name: "Exportar" }).click();
    await page.getByRole("menuitem", { name: form }).click();
  });
  assert.equal((await as("CSV")).bytes.toString().trim().split("\r\n").length, many + 1);
  const calendar = (await as("Calendario")).bytes.toString();
  assert.equal(calendar.match(/BEGIN:VEVENT/g).length, many);
  const header = page.getByRole("columnheader", { name: "Nombre" });
  await header.getByRole("button").click();
  await page.waitForFunction(() => document.querySelector("[role=columnheader]").ariaSort === "ascending");
  const names = await grid(page).getByRole("link").allTextContents();
  assert.deepEqual(names, [...names].sort(new Intl.Collator("es", { numeric: true, sensitivity: "base" }).compare));
  await close();
});

test("an analysis is exported as PDF and as a workbook; without a question nothing can be asked", async () => {
  const { page, close } = await open(browser);
  const [{ code }] = (await get("/api/tenders")).rows;
  await page.goto(`${system.page}/analysis?code=${code}&asks=summary`);
  const run = page.getByRole("button", { name: "Analizar", exact: true });
  await page.getByLabel("Resumen").uncheck();
  assert.ok(await run.isDisabled());
  await page.getByLabel("Riesgos").check();
  assert.equal(address(page, "asks"), "risks");
  await run.click();
  await page.getByRole("region", { name: "Riesgos" }).getByText(/con respaldo/).waitFor();
  const as = (form) => downloaded(page, async () => {
    await page.getByRole("button", { name: "Exportar" }).click();
    await page.getByRole("menuitem", { name: form }).click();
  });
  assert.ok((await as("PDF")).bytes.subarray(0, 5).equals(Buffer.from("%PDF-")));
  assert.ok((await as("Excel")).bytes.subarray(0, 2).equals(Buffer.from("PK")));
  await close();
});

test("a tender leads to one like it, and back leads back", async () => {
  const { page, close } = await open(browser);
  const { rows } = await get("/api/tenders");
  const words = (name) => new Set(name.toLowerCase().match(/[a-záéíóúñ]{6,}/g) ?? []);
  const row = rows.find((one) => rows.some((other) => other !== one && [...words(one.name)].some((word) => words(other.name).has(word))));
  await page.goto(`${system.page}/tenders/${row.code}`);
  const own = await page.getByRole("heading", { level: 1 }).textContent();
  const link = page.getByRole("region", { name: "Licitaciones parecidas" }).getByRole("link").first();
  const name = (await link.textContent()).trim();
  await link.click();
  await page.waitForFunction((code) => !location.pathname.endsWith(code), row.code);
  await page.getByRole("heading", { level: 1, name }).waitFor();
  await page.getByRole("button", { name: "Volver" }).click();
  await page.getByRole("heading", { level: 1, name: own }).waitFor();
  await close();
});

test("without a pointer: search, open a tender, have it analysed, follow a claim to its field", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/tenders?kind=tender`);
  await grid(page).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("aseo");
  await page.waitForURL(/q=aseo/);
  await page.waitForResponse(/\/api\/tenders\?.*aseo/);
  await grid(page).waitFor();
  await tabTo(page, () => document.activeElement.getAttribute("role") === "grid");
  await page.keyboard.press("ArrowDown");
  const name = await page.locator(".grid-row[data-active] a").textContent();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name }).waitFor();
  await tabTo(page, () => document.activeElement.textContent === "Analizar con IA");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Análisis con IA" }).waitFor();
  await tabTo(page, () => document.activeElement.textContent === "Analizar");
  await page.keyboard.press("Enter");
  await page.getByRole("region", { name: "Resumen" }).getByText(/con respaldo/).waitFor();
  await tabTo(page, () => document.activeElement.closest(".cites") !== null);
  const field = await page.evaluate(() => document.activeElement.textContent.trim());
  await page.keyboard.press("Enter");
  await page.waitForFunction((text) => document.querySelector(".fields [data-lit] dt")?.textContent === text, field);
  await close();
});

for (const path of ["/", "/tenders"]) {
  test(`on a phone the filters of ${path} are folded, and say how many are set`, async () => {
    const { page, close } = await open(browser, { size: "narrow" });
    await page.goto(system.page + (path === "/" ? `/?from=${DAY}&to=${DAY}` : path));
    await grid(page).waitFor();
    const button = page.getByRole("button", { name: /^Filtros/ });
    assert.equal(await page.getByLabel("Región").isVisible(), false);
    assert.equal(await button.textContent(), path === "/" ? "Filtros (2)" : "Filtros");
    await button.click();
    assert.equal(await button.getAttribute("aria-expanded"), "true");
    await page.getByLabel("Región").locator("option").nth(1).waitFor({ state: "attached" });
    await page.getByLabel("Región").selectOption({ index: 1 });
    await page.getByRole("button", { name: path === "/" ? "Filtros (3)" : "Filtros (1)" }).click();
    assert.equal(await page.getByLabel("Región").isVisible(), false);
    await close();
  });
}

test("a record that is missing leads to the search, where a truncated cell has its whole text as a tooltip", async () => {
  const { page, close } = await open(browser, { expected: [/404/] });
  await page.goto(`${system.page}/tenders/1-1-LE26`);
  await page.getByRole("heading", { name: "No existe" }).waitFor();
  await page.getByRole("link", { name: "Búsqueda de oportunidades" }).click();
  await grid(page).waitFor();
  const cells = grid(page).locator("[data-narrow=title]");
  const isTruncated = (cell) => cell.evaluate((element) => element.scrollWidth > element.clientWidth);
  const seen = new Set();
  for (let index = 0; index < (await cells.count()) && seen.size < 2; index++) {
    const cell = cells.nth(index);
    const wanted = (await isTruncated(cell)) ? await cell.textContent() : "";
    await cell.hover();
    assert.equal(await cell.getAttribute("title"), wanted);
    seen.add(wanted !== "");
  }
  assert.equal(seen.size, 2, "both kinds of cells");
  await close();
});

test("on a phone the actions of a page are one row of icons that keep their names", async () => {
  const { page, close } = await open(browser, { size: "narrow" });
  for (const [path, names] of [[`/?from=${DAY}&to=${DAY}`, ["Filas compactas", "Actualizar", "Compartir", "Exportar"]], ["/tenders", ["Guardar búsqueda", "Filas compactas", "Compartir", "Exportar"]]]) {
    await page.goto(system.page + path);
    const boxes = [];
    for (const name of names) boxes.push(await page.getByRole("button", { name, exact: true }).boundingBox());
    assert.deepEqual(boxes.map(({ y, width }) => [y, width]), boxes.map(() => [boxes[0].y, 40]));
    await page.getByRole("button", { name: "Exportar" }).click();
    const menu = await page.getByRole("menu").boundingBox();
    assert.ok(menu.x >= 0 && menu.x + menu.width <= 390, `the menu is at ${menu.x}, ${menu.width} wide`);
    await page.keyboard.press("Escape");
  }
  await close();
});
