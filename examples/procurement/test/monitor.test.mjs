// Market Monitor in a browser, against the real backend.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test, { after, before } from "node:test";

import { downloaded, launch, open, showsRows } from "../../testing/browser.mjs";
import { dayBefore, detailsRead, startProcurement } from "../../testing/procurement.mjs";

let system;
let browser;
before(async () => {
  [system, browser] = await Promise.all([startProcurement(), launch()]);
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

// Three working days of the past, whatever day it is.
const back = [3, 4, 5, 6, 7].find((days) => new Date(`${dayBefore(days)}T12:00Z`).getUTCDay() === 3) ?? 8;
const [FROM, TO] = [dayBefore(back + 1), dayBefore(back)];
const at = (more = "") => `${system.page}/?from=${FROM}&to=${TO}${more}`;
const get = async (path) => (await fetch(system.api + path)).json();
const orders = async () => (await get(`/api/purchase-orders?from=${FROM}&to=${TO}`)).rows;
const grid = (page) => page.getByRole("grid", { name: "Órdenes" });

async function readAll(page, many) {
  await page.getByRole("button", { name: /Leer todos/ }).click();
  await page.getByText(`${many} / ${many}`).waitFor({ timeout: 180_000 });
}

test("the grid has every order of the days, and only the rows in sight exist", async () => {
  const { page, close, log } = await open(browser);
  await page.goto(at());
  const rows = await orders();
  assert.ok(rows.length > 50);
  await grid(page).waitFor();
  assert.equal(await grid(page).getAttribute("aria-rowcount"), String(rows.length + 1));
  assert.ok((await grid(page).getByRole("row").count()) < 45);
  const last = rows.map(({ name }) => name.trim()).at(-1);
  await grid(page).evaluate((element) => element.scrollTo(0, element.scrollHeight));
  await grid(page).locator(`[aria-rowindex="${rows.length + 1}"]`).waitFor();
  assert.ok(last);
  assert.ok(log.includes(`[API] Using API base: ${system.api}`));
  await close();
});

test("the sums are those of the orders' details, to the peso, and a group filters the grid", async () => {
  const { page, close } = await open(browser);
  await page.goto(at());
  const rows = await orders();
  await readAll(page, rows.length);
  const sums = new Map();
  for (const { code } of rows) {
    const { record } = await get(`/api/purchase-orders/${code}`);
    if (record.total?.currency !== "CLP") continue;
    const [buyer, cents] = [record.buyer.name.trim(), BigInt(Math.round(Number(record.total.amount) * 100))];
    sums.set(buyer, (sums.get(buyer) ?? 0n) + cents);
  }
  const [buyer, cents] = [...sums].sort((a, b) => Number(b[1] - a[1]))[0];
  const first = page.getByRole("region", { name: "Sumas: Comprador" }).getByRole("row").nth(1);
  const text = await first.textContent();
  const digits = Math.round(Number(cents) / 100).toString().replace(/\B(?=(\d{3})+$)/g, ".");
  assert.ok(text.startsWith(buyer) && text.includes(`$${digits}`), `${text} is not ${buyer} ${digits}`);
  for (const by of ["Región", "Día", "Producto"]) {
    await page.getByRole("group", { name: "Sumar por" }).getByRole("button", { name: by }).click();
    await page.getByRole("region", { name: `Sumas: ${by}` }).getByRole("row").nth(1).waitFor();
  }
  await page.getByRole("group", { name: "Sumar por" }).getByRole("button", { name: "Comprador" }).click();
  await page.getByRole("button", { name: buyer, exact: true }).click();
  const mine = Number(await grid(page).getAttribute("aria-rowcount")) - 1;
  assert.ok(mine > 0 && mine < rows.length);
  assert.equal(new URL(page.url()).searchParams.get("buyer"), buyer);
  await page.goBack();
  await showsRows(page, rows.length);
  await close();
});

test("while details are read the largest sums stand at the top, and afterwards in DOM order too", async () => {
  await system.world.control({ behaviour: { latency_ms: 60 } });
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/?from=${dayBefore(back + 8)}&to=${dayBefore(back + 7)}`);
  const table = page.getByRole("region", { name: "Sumas: Comprador" });
  /** Rows of the table as they are seen, from the top. */
  const seen = () =>
    table.getByRole("row").evaluateAll((rows) => {
      // Ends transitions, which reduced motion makes short but does not turn off.
      for (const one of document.getAnimations()) one.finish();
      return rows.slice(1).map((row, place) => ({ place, top: row.getBoundingClientRect().top, sum: Number(row.children[1].textContent.replace(/[$.]/g, "")), transform: row.style.transform }))
        .sort((a, b) => a.top - b.top);
    });
  let moved = 0;
  for (let look = 0; look < 60 && moved < 3; look++) {
    const rows = await seen();
    assert.deepEqual(rows.map(({ sum }) => sum), rows.map(({ sum }) => sum).sort((a, b) => b - a));
    const gaps = new Set(rows.slice(1).map(({ top }, index) => Math.round((top - rows[index].top) * 10) / 10));
    assert.ok(gaps.size <= 1, `rows lie ${[...gaps]} pixels apart`);
    if (rows.some(({ place }, index) => place !== index)) moved += 1;
    await page.waitForTimeout(50);
  }
  assert.ok(moved > 0, "no row overtook another");
  await system.world.control({ behaviour: { latency_ms: 0 } });
  await detailsRead(page);
  const rows = await seen();
  assert.deepEqual(rows.map(({ place }) => place), rows.map((_, index) => index));
  assert.ok(rows.every(({ transform }) => transform === ""));
  await close();
});

test("rows are made compact by the keyboard, on every page with a table, and stay so from the first byte on", async () => {
  const { page, close } = await open(browser);
  await page.goto(at());
  await grid(page).waitFor();
  const rowHeight = async () => (await page.locator(".grid-row").first().boundingBox()).height;
  const button = page.getByRole("button", { name: "Filas compactas" });
  assert.equal(await rowHeight(), 36);
  assert.equal(await button.getAttribute("aria-pressed"), "false");
  for (let press = 0; press < 20; press++) {
    await page.keyboard.press("Tab");
    if (await button.evaluate((element) => element === document.activeElement)) break;
  }
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector(".grid-row").getBoundingClientRect().height === 28);
  assert.equal(await button.getAttribute("aria-pressed"), "true");
  await page.reload();
  await grid(page).waitFor();
  assert.equal(await rowHeight(), 28);
  assert.match(await (await page.request.get(at())).text(), /<html[^>]* data-density="compact"/);
  await page.getByRole("button", { name: "English" }).click();
  const link = page.getByRole("grid").getByRole("link").first();
  await link.click();
  const lines = page.getByRole("region", { name: /^Lines/ }).first();
  await lines.locator("td").first().waitFor();
  const hasPadding = (padding) => page.waitForFunction((wanted) => getComputedStyle(document.querySelector("td")).paddingTop === wanted, padding);
  await hasPadding("3px");
  await lines.getByRole("button", { name: "Compact rows" }).click();
  await hasPadding("6px");
  await page.goto(`${system.page}/tenders`);
  await page.getByRole("grid").waitFor();
  assert.equal(await rowHeight(), 36);
  await page.getByRole("button", { name: "Compact rows" }).click();
  await page.waitForFunction(() => document.querySelector(".grid-row").getBoundingClientRect().height === 28);
  await close();
});

test("words filter and headers sort; the address restores both in another browser", async () => {
  const { page, close } = await open(browser);
  await page.goto(at());
  const rows = await orders();
  await readAll(page, rows.length);
  await page.getByRole("columnheader", { name: "Total" }).getByRole("button").click();
  await page.getByRole("columnheader", { name: "Total" }).getByRole("button").click();
  await page.getByRole("searchbox").fill("ADQUISICION");
  const names = await grid(page).getByRole("link").allTextContents();
  assert.ok(names.length > 0 && names.every((name) => /adquisici[oó]n/i.test(name)));
  const totals = await grid(page).getByRole("row").evaluateAll((found) => found.slice(1).map((row) => row.lastElementChild.textContent).filter((text) => text.startsWith("$")).map((text) => Number(text.replace(/[$.]/g, "").replace(",", "."))));
  assert.deepEqual(totals, [...totals].sort((a, b) => b - a));
  const count = await grid(page).getAttribute("aria-rowcount");
  const address = page.url();
  await close();

  const other = await open(browser);
  await other.page.goto(address);
  await other.page.waitForFunction((many) => document.querySelector("[role=grid]")?.getAttribute("aria-rowcount") === many, count);
  assert.equal(await other.page.getByRole("searchbox").inputValue(), "ADQUISICION");
  assert.equal(await other.page.getByRole("columnheader", { name: "Total" }).getAttribute("aria-sort"), "descending");
  await other.close();
});

test("the view is exported as CSV, as a workbook and as PDF", async () => {
  const { page, close } = await open(browser);
  await page.goto(at());
  await grid(page).waitFor();
  const many = (await orders()).length;
  const as = (form) => downloaded(page, async () => {
    await page.getByRole("button", { name: "Exportar" }).click();
    await page.getByRole("menuitem", { name: form }).click();
  });
  const csv = (await as("CSV")).bytes.toString("utf8");
  assert.ok(csv.startsWith("\uFEFFCódigo;Nombre;"));
  assert.equal(csv.trim().split("\r\n").length, many + 1);
  const book = await as("Excel (XLSX)");
  // Python's own reader of archives and of XML.
  const script = "import sys,io,zipfile,xml.etree.ElementTree as e\nz=zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()));assert z.testzip() is None\n[e.fromstring(z.read(n)) for n in z.namelist()]\nprint(len(list(e.fromstring(z.read('xl/worksheets/sheet1.xml')).iter('{http://schemas.openxmlformats.org/spreadsheetml/2006/main}row'))))";
  assert.equal(execFileSync("python3", ["-c", script], { input: book.bytes, encoding: "utf8" }).trim(), String(many + 1));
  const pdf = (await as("PDF")).bytes.toString("latin1");
  assert.ok(pdf.startsWith("%PDF-1.4") && pdf.trimEnd().endsWith("%%EOF"));
  const start = Number(/startxref\n(\d+)/.exec(pdf)[1]);
  assert.equal(pdf.slice(start, start + 4), "xref");
  await close();
});

test("an order opens, and back and forward go where they say", async () => {
  const { page, close } = await open(browser);
  await page.goto(at("&by=region"));
  const link = grid(page).getByRole("link").first();
  const name = await link.textContent();
  await link.click();
  await page.getByRole("heading", { level: 1, name }).waitFor();
  await page.getByRole("region", { name: /Líneas/ }).first().waitFor();
  await page.goBack();
  await grid(page).waitFor();
  assert.equal(new URL(page.url()).searchParams.get("by"), "region");
  await page.goForward();
  await page.getByRole("heading", { level: 1, name }).waitFor();
  await close();
});

test("the main path needs no pointer", async () => {
  const { page, close } = await open(browser);
  await page.goto(at());
  await grid(page).waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Ir al contenido");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.type), "search");
  for (let step = 0; step < 20; step += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.getAttribute("role") === "grid")) break;
  }
  await page.keyboard.press("End");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  const name = await page.locator(".grid-row[data-active] a").textContent();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name }).waitFor();
  await close();
});

test("language and theme hold after a reload, from the first byte on", async () => {
  const { page, close } = await open(browser);
  await page.goto(at());
  await page.getByRole("button", { name: "English" }).click();
  await page.getByRole("heading", { name: "Market monitor" }).waitFor();
  await page.getByRole("button", { name: "Dark theme" }).click();
  await page.reload();
  await page.getByRole("heading", { name: "Market monitor" }).waitFor();
  const html = await (await page.request.get(at())).text();
  assert.match(html, /<html[^>]* data-theme="dark" lang="en"|<html[^>]* lang="en"[^>]* data-theme="dark"/);
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor), "rgb(17, 19, 17)");
  await close();
});

test("it refreshes by itself once a minute, while asked to", async () => {
  const { page, close } = await open(browser);
  await page.clock.install();
  let asked = 0;
  page.on("request", (request) => (asked += /\/api\/purchase-orders\?/.test(request.url()) ? 1 : 0));
  await page.goto(at("&live=1"));
  await grid(page).waitFor();
  const before = asked;
  const again = page.waitForResponse(/\/api\/purchase-orders\?/);
  await page.clock.fastForward(61_000);
  await again;
  assert.equal(asked, before + 1);
  // A click waits for frames, which the clock holds.
  await page.getByLabel("Actualizar cada minuto").evaluate((box) => box.click());
  await page.clock.fastForward(181_000);
  assert.equal(asked, before + 1);
  await close();
});

test("the gauge shows what the backend has used of the day's quota", async () => {
  const { page, close } = await open(browser);
  await page.goto(at());
  const meter = page.getByRole("meter");
  await meter.waitFor();
  const { used, limit } = await get("/api/quota");
  assert.equal(await meter.getAttribute("aria-valuemax"), String(limit));
  assert.ok(Number(await meter.getAttribute("aria-valuenow")) > 0 && Number(await meter.getAttribute("aria-valuenow")) <= used);
  assert.equal((await system.world.control()).violations, 0);
  await close();
});
