// The page in a browser, with the real service behind a gate.

import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { after, before, beforeEach } from "node:test";

import { launch, open } from "../../testing/browser.mjs";
import { indexed, startClipSearch } from "../../testing/clip.mjs";
import { drawLandscapes, landscape } from "../../testing/landscapes.mjs";

let system;
let browser;
before(async () => {
  // Small bodies, so that what is too large need not be large.
  [system, browser] = await Promise.all([startClipSearch({ env: { MAX_BODY_BYTES: String(2 << 20) } }), launch()]);
  await indexed(system, 12);
});
beforeEach(() => system.gate.reset());
after(async () => {
  await browser?.close();
  await system?.stop();
});

const region = (page, name) => page.getByRole("region", { name });
const cards = (page) => page.locator(".image-grid button");
const namesOf = (page) => cards(page).evaluateAll((all) => all.map(({ dataset }) => dataset.name));
const file = (name, bytes, mimeType = "image/png") => ({ name, mimeType, buffer: bytes });
/** Opens the page and waits until it runs: its first answer has the images before. */
async function visit(page) {
  await page.goto(system.page);
  await page.getByTestId("indexed").waitFor();
}
async function searchText(page, text) {
  await page.getByRole("searchbox", { name: "Qué se busca" }).fill(text);
  await page.getByRole("button", { name: "Buscar", exact: true }).click();
  await region(page, "Resultados").locator(".score").first().waitFor();
}

/** Drops a file as a person does: it is over the page first, then over the place. */
async function drop(page, zone, { name, mimeType, buffer }) {
  const data = await page.evaluateHandle(({ name, mimeType, base64 }) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], name, { type: mimeType }));
    return transfer;
  }, { name, mimeType, base64: buffer.toString("base64") });
  await page.dispatchEvent("body", "dragover", { dataTransfer: data });
  await page.locator(".drop-zone", { hasText: zone }).dispatchEvent("drop", { dataTransfer: data });
}

test("a text finds images with their similarity, and the address holds the search", async () => {
  const { page, close } = await open(browser);
  await visit(page);
  await region(page, "Todas las imágenes").locator("button").nth(11).waitFor();
  await page.getByText("12 de 12 indexadas").waitFor();
  await searchText(page, "w5 w6 w7");
  const scores = (await page.locator(".score .number").allTextContents()).map((text) => Number(text.replace(",", ".")));
  assert.equal(scores.length, 12);
  assert.deepEqual(scores, [...scores].sort((a, b) => b - a));
  assert.ok(page.url().includes("q=w5"));
  const names = await namesOf(page);
  await page.reload();
  await page.locator(".score").first().waitFor();
  assert.deepEqual(await namesOf(page), names);
  await close();
});

test("an image from outside, one of the folder, and back and forward through them", async () => {
  const { page, close } = await open(browser);
  await visit(page);
  const wanted = system.names[3];
  await page.locator("input[data-choose]").setInputFiles(join(system.folder, wanted));
  await page.locator(".score").first().waitFor();
  assert.equal((await namesOf(page))[0], wanted);
  assert.equal(await page.locator(".score .number").first().textContent(), "1,000");
  await page.getByText(`Parecidas a ${wanted}`).waitFor();
  await cards(page).nth(1).click();
  const dialog = page.getByRole("dialog");
  const second = await dialog.locator("strong").textContent();
  await dialog.getByRole("button", { name: "Buscar parecidas" }).click();
  await page.getByText(`Parecidas a ${second}`).waitFor();
  await page.waitForFunction((name) => document.querySelectorAll(".score").length === 11 && ![...document.querySelectorAll(".image-grid button")].some((card) => card.dataset.name === name), second);
  await page.goBack();
  await dialog.waitFor();
  await page.goBack();
  await dialog.waitFor({ state: "hidden" });
  await page.getByText(`Parecidas a ${wanted}`).waitFor();
  await page.waitForFunction((name) => document.querySelector(".image-grid button")?.dataset.name === name, wanted);
  await page.goForward();
  await page.goForward();
  await page.getByText(`Parecidas a ${second}`).waitFor();
  await page.getByRole("button", { name: "Quitar la búsqueda" }).click();
  await region(page, "Todas las imágenes").locator("button").nth(11).waitFor();
  await close();
});

test("an image from outside that a reload has lost is asked for again", async () => {
  const { page, close } = await open(browser);
  await visit(page);
  await page.locator("input[data-choose]").setInputFiles(file("fuera.png", landscape(50)));
  await page.locator(".score").first().waitFor();
  await page.reload();
  await page.getByText("La imagen buscada ya no está en esta pestaña").waitFor();
  await close();
});

test("the viewer goes through the images by keys, and Esc gives the focus back", async () => {
  const { page, close } = await open(browser);
  await visit(page);
  await cards(page).nth(11).waitFor();
  const names = await namesOf(page);
  await cards(page).first().click();
  const title = page.getByRole("dialog").locator("strong");
  assert.equal(await title.textContent(), names[0]);
  await page.keyboard.press("ArrowRight");
  await page.waitForFunction((name) => document.querySelector("dialog strong")?.textContent === name, names[1]);
  await page.getByRole("dialog").getByRole("button", { name: "Siguiente" }).click();
  await page.waitForFunction((name) => document.querySelector("dialog strong")?.textContent === name, names[2]);
  await page.getByRole("dialog").getByRole("button", { name: "Anterior" }).click();
  await page.waitForFunction((name) => document.querySelector("dialog strong")?.textContent === name, names[1]);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await page.waitForFunction((name) => document.activeElement?.dataset.name === name, names[0]);
  await close();
});

test("the whole path without a pointer: search, move, open, find similar", async () => {
  const { page, close } = await open(browser);
  await visit(page);
  await page.keyboard.press("/");
  await page.keyboard.type("w8 w9");
  await page.keyboard.press("Enter");
  await page.locator(".score").first().waitFor();
  for (let tabs = 0; tabs < 12 && !(await page.evaluate(() => document.activeElement?.closest(".image-grid"))); tabs++) await page.keyboard.press("Tab");
  const names = await namesOf(page);
  const focused = () => page.evaluate(() => document.activeElement?.dataset.name);
  assert.equal(await focused(), names[0]);
  await page.keyboard.press("ArrowRight");
  assert.equal(await focused(), names[1]);
  const columns = await cards(page).evaluateAll((all) => all.filter((card) => card.getBoundingClientRect().top === all[0].getBoundingClientRect().top).length);
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(), names[1 + columns]);
  await page.keyboard.press("Home");
  assert.equal(await focused(), names[0]);
  await page.keyboard.press("End");
  assert.equal(await focused(), names.at(-1));
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  for (let tabs = 0; tabs < 6; tabs++) {
    if (await page.evaluate(() => document.activeElement?.textContent === "Buscar parecidas")) break;
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  await page.getByText(`Parecidas a ${names.at(-1)}`).waitFor();
  await close();
});

test("uploads are stored, indexed and seen in another tab; a drop adds too; what is no image is refused", async () => {
  const one = await open(browser, { expected: [/400 \(/] });
  const other = await one.context.newPage();
  await one.page.goto(system.page);
  await other.goto(system.page);
  await other.getByText("12 de 12 indexadas").waitFor();
  await one.page.bringToFront();
  await one.page.locator("input[data-add]").setInputFiles([file("nueva uno.png", landscape(61)), file("nueva dos.png", landscape(62))]);
  await one.page.getByText("Imágenes añadidas: 2").waitFor();
  await one.page.getByText("14 de 14 indexadas").waitFor();
  await other.bringToFront();
  await other.getByText("14 de 14 indexadas").waitFor();
  await other.locator('[data-name="nueva dos.png"]').waitFor();
  await one.page.bringToFront();
  await drop(one.page, "Añadir a la carpeta", file("soltada.png", landscape(63)));
  await one.page.locator('[data-name="soltada.png"]').waitFor();
  assert.deepEqual(readFileSync(join(system.folder, "soltada.png")), landscape(63));
  await one.page.locator("input[data-add]").setInputFiles(file("texto.png", Buffer.from("no soy una imagen")));
  await one.page.getByText(/texto\.png: Sirven JPEG/).waitFor();
  await one.page.getByRole("button", { name: "Descartar" }).click();
  await one.page.getByText(/texto\.png: Sirven JPEG/).waitFor({ state: "hidden" });
  for (const name of ["nueva uno.png", "nueva dos.png", "soltada.png"]) rmSync(join(system.folder, name));
  await one.page.getByText("12 de 12 indexadas").waitFor();
  await one.close();
});

test("an image that is dropped or pasted is searched with", async () => {
  const { page, close } = await open(browser);
  await visit(page);
  const wanted = system.names[7];
  const bytes = readFileSync(join(system.folder, wanted));
  await drop(page, "Buscar parecidas", file("soltada.png", bytes));
  await page.locator(".score").first().waitFor();
  assert.equal((await namesOf(page))[0], wanted);
  await visit(page);
  await page.evaluate((base64) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], "pegada.png", { type: "image/png" }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
  }, bytes.toString("base64"));
  await page.getByText("Parecidas a pegada.png").waitFor();
  await page.locator(".score").first().waitFor();
  await close();
});

test("an image that is too large, or is none, is said to be so", async () => {
  const { page, close } = await open(browser);
  await visit(page);
  await page.locator("input[data-choose]").setInputFiles(file("enorme.png", Buffer.alloc(2 << 20)));
  await page.getByText("La imagen es demasiado grande").waitFor();
  await page.locator("input[data-add]").setInputFiles(file("enorme.png", Buffer.alloc(2 << 20)));
  await page.getByText(/enorme\.png: demasiado grande; el máximo es 1\.5 MB/).waitFor();
  await page.locator("input[data-choose]").setInputFiles(file("texto.png", Buffer.from("no soy una imagen")));
  await page.getByText("No se puede leer esta imagen").waitFor();
  const whole = landscape(64);
  await page.locator("input[data-choose]").setInputFiles(file("cortada.png", whole.subarray(0, whole.length / 2)));
  await page.getByText("Parecidas a cortada.png").waitFor();
  await page.getByText("No se puede leer esta imagen").waitFor();
  await close();
});

test("progress is shown while images are indexed; a reload in the middle goes on where it is", async () => {
  const { page, close } = await open(browser);
  await visit(page);
  await page.getByText("12 de 12 indexadas").waitFor();
  system.gate.state.delayMs = 400;
  const names = drawLandscapes(system.folder, 32, 70);
  await page.getByText("Indexando", { exact: true }).waitFor();
  await page.waitForFunction(() => Number(document.querySelector("[role=meter]")?.ariaValueNow) > 12);
  await page.reload();
  await page.getByText("Indexando", { exact: true }).waitFor();
  await searchText(page, "w3");
  await page.getByText(/Aún se indexa: se comparó con/).waitFor();
  system.gate.reset();
  await page.getByText("44 de 44 indexadas").waitFor();
  // The search is made again by itself once all can be found.
  await page.waitForFunction(() => document.querySelectorAll(".score").length === 24);
  await page.getByText(/Aún se indexa/).waitFor({ state: "hidden" });
  for (const name of names) rmSync(join(system.folder, name));
  await page.getByText("12 de 12 indexadas").waitFor();
  await close();
});

test("of many images sixty are shown, and more on a click; those that cannot be read are listed with why", async () => {
  // Images that are deleted while the page still loads them.
  const { page, close } = await open(browser, { expected: [/404/] });
  const names = drawLandscapes(system.folder, 55, 700);
  writeFileSync(join(system.folder, "texto.png"), "no soy una imagen");
  await visit(page);
  await page.getByText("67 de 68 indexadas").waitFor();
  assert.equal(await cards(page).count(), 60);
  await page.getByRole("button", { name: "Mostrar más" }).click();
  assert.equal(await cards(page).count(), 68);
  await page.getByText("Ilegibles: 1").click();
  await page.getByText("texto.png: no JPEG, PNG, WebP, GIF or BMP").waitFor();
  for (const name of [...names, "texto.png"]) rmSync(join(system.folder, name));
  await page.getByText("12 de 12 indexadas").waitFor();
  await close();
});

test("English is complete, and the choice stays", async () => {
  const { page, close } = await open(browser);
  await visit(page);
  await page.getByRole("button", { name: /English/ }).click();
  await page.getByRole("heading", { name: "Image search" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Image search" }).waitFor();
  await page.getByRole("button", { name: "Dark theme" }).click();
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  await close();
});
