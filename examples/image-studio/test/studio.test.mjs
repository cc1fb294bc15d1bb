// The image studio in a browser, against a real local engine with random weights and a cloud engine that knows the contract alone.

import assert from "node:assert/strict";
import { join } from "node:path";
import test, { after, before, beforeEach } from "node:test";

import { readReceipt } from "ayni/browser/images";

import { accessibility, downloaded, launch, open, scriptBytes } from "../../testing/browser.mjs";
import { png } from "../../testing/landscapes.mjs";
import { startStudio } from "../../testing/studio.mjs";
import { choose, drop, idle, make, picture } from "./steps.mjs";

let system;
let browser;
before(async () => {
  [system, browser] = await Promise.all([startStudio(), launch()]);
});
beforeEach(() => Object.assign(system.cloud.state, { status: 200, delayMs: 0, asleep: 0 }));
after(async () => {
  await browser?.close();
  await system?.stop();
});

test("Local draws with every step shown, and the picture says who made it and how", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await page.getByText("pesos al azar").waitFor();
  // What is shown for a moment is noted as it changes.
  await page.evaluate(() => {
    globalThis.seen = [];
    new MutationObserver(() => {
      const bar = document.querySelector("[role=progressbar]");
      const preview = document.querySelector("[aria-busy=true] .canvas img")?.src;
      if (bar) globalThis.seen.push([bar.getAttribute("aria-valuetext"), preview?.slice(0, 22)]);
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
  await choose(page, "Local");
  await choose(page, "16:9");
  await make(page, "un faro en la niebla");
  await idle(page);
  const seen = await page.evaluate(() => globalThis.seen);
  assert.ok(seen.some(([text, preview]) => /^Paso \d+ de \d+$/.test(text) && preview === "data:image/png;base64,"), JSON.stringify(seen.slice(0, 5)));
  await picture(page).getByText("motor local").waitFor();
  const facts = await picture(page).locator(".receipt").textContent();
  for (const part of ["sd", "25", "pndm", "7.5", "ayni "]) assert.ok(facts.includes(part), `${part} in ${facts}`);
  const [width, height] = await picture(page).locator("img").evaluate((image) => [image.naturalWidth, image.naturalHeight]);
  assert.ok(Math.abs(width / height - 16 / 9) < 0.25, `${width} × ${height}`);
  assert.equal(system.cloud.seen.filter(({ path }) => path === "/generate").length, 0);
  await close();
});

test("Cloud forces the cloud engine, with the full resolution, and its file without a receipt is said to be one", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await choose(page, "Nube");
  await choose(page, "Alta");
  await choose(page, "3:4");
  await make(page, "un bosque");
  await idle(page);
  await picture(page).getByText("motor de la nube").waitFor();
  await picture(page).getByText("El archivo no trae recibo").waitFor();
  assert.equal(await page.getByRole("button", { name: "Dibujar de nuevo" }).count(), 0);
  const { body } = system.cloud.seen.findLast(({ path }) => path === "/generate");
  assert.deepEqual(body, { prompt: "un bosque", aspectRatio: "3:4", temperature: 0.7, resolution: "high" });
  await close();
});

test("Auto says who served: the local engine, and the cloud when that one fails", async () => {
  const { page, close } = await open(browser, { expected: [/Failed to load resource|net::ERR/] });
  await page.goto(system.page);
  await make(page, "un río");
  await idle(page);
  await picture(page).getByText("motor local").waitFor();
  await system.stopBackend();
  try {
    await make(page, "un río de noche");
    await idle(page);
    await picture(page).getByText("motor de la nube").waitFor();
    await page.getByText("Sirvió la nube, porque el motor local falló").waitFor();
  } finally {
    await system.restartBackend();
  }
  await close();
});

test("a picture is changed as much as the slider says, and before and after are compared by pointer and by keys", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await choose(page, "Local");
  await make(page, "un puerto");
  await idle(page);
  await page.getByLabel("Qué cambiar").fill("de noche");
  const strength = page.getByRole("slider", { name: "Cuánto cambia" });
  await strength.focus();
  for (let press = 0; press < 4; press++) await page.keyboard.press("ArrowRight");
  await page.getByRole("button", { name: "Cambiar", exact: true }).click();
  await picture(page).getByText("Cambiada").waitFor();
  assert.match(await picture(page).locator(".receipt").textContent(), /Cuánto cambió0[.,]70/);
  const slider = page.getByRole("slider", { name: "Antes y después" });
  const share = () => page.locator(".compare .over").evaluate((image) => getComputedStyle(image).clipPath);
  assert.match(await share(), /50%/);
  await slider.focus();
  for (let press = 0; press < 10; press++) await page.keyboard.press("ArrowLeft");
  assert.equal(await slider.inputValue(), "40");
  await page.keyboard.press("End");
  assert.match(await share(), /inset\(0px(?: 0%)?(?: 0px)?|calc\(0%\)|0%/);
  const box = await slider.boundingBox();
  await page.mouse.move(box.x + box.width * 0.99, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.25, box.y + box.height / 2, { steps: 4 });
  await page.mouse.up();
  assert.ok(Math.abs(Number(await slider.inputValue()) - 25) <= 2, await slider.inputValue());
  await close();
});

test("the cloud engine changes pictures too", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await choose(page, "Nube");
  await make(page, "una playa");
  await idle(page);
  await page.getByLabel("Qué cambiar").fill("de noche");
  await page.getByRole("button", { name: "Cambiar", exact: true }).click();
  await picture(page).getByText("Cambiada").waitFor();
  const { body } = system.cloud.seen.findLast(({ path }) => path === "/refine");
  assert.deepEqual([body.refinePrompt, body.images.length, body.config], ["de noche", 1, { strength: 0.5 }]);
  await close();
});

test("the gallery survives a reload, is the same in every tab, and forgets what is deleted", async () => {
  const { page, context, close } = await open(browser);
  await page.goto(system.page);
  await page.getByText("Todavía no hay imágenes").waitFor();
  await choose(page, "Nube");
  for (const prompt of ["primera", "segunda"]) {
    await make(page, prompt);
    await idle(page);
    await picture(page).getByText(prompt, { exact: true }).waitFor();
  }
  const gallery = (where) => where.getByRole("region", { name: "Galería" });
  const other = await context.newPage();
  await other.goto(system.page);
  await gallery(other).getByRole("listitem").nth(1).waitFor();
  await page.reload();
  assert.equal(await page.getByLabel("Qué muestra la imagen").inputValue(), "segunda");
  await gallery(page).getByRole("button", { name: /primera/ }).click();
  await picture(page).getByText("primera", { exact: true }).waitFor();
  assert.ok(await picture(page).locator("img").evaluate((image) => image.decode().then(() => image.naturalWidth > 100)));
  await page.getByRole("button", { name: "Borrar" }).click();
  await gallery(other).getByRole("button", { name: /primera/ }).waitFor({ state: "detached" });
  await page.reload();
  await gallery(page).getByRole("button", { name: /segunda/ }).waitFor();
  assert.equal(await gallery(page).getByRole("listitem").count(), 1);
  await close();
});

test("what is downloaded holds its receipt; dropped on a page that never saw it, it is drawn again bit by bit", async () => {
  const first = await open(browser);
  await first.page.goto(system.page);
  await choose(first.page, "Local");
  await make(first.page, "un zorro ñandú");
  await idle(first.page);
  const file = await downloaded(first.page, () => first.page.getByRole("button", { name: "Descargar" }).click());
  await first.close();
  const receipt = readReceipt(file.bytes);
  assert.equal(receipt.prompt, "un zorro ñandú");
  assert.equal(file.name, `un-zorro-nandu-${receipt.seed}.png`);

  const { page, close } = await open(browser);
  await page.goto(system.page);
  await drop(page, file.name, file.bytes);
  await picture(page).getByText("Abierta").waitFor();
  assert.ok((await picture(page).locator(".receipt").textContent()).includes(String(receipt.seed)));
  await choose(page, "Local");
  await page.getByRole("button", { name: "Dibujar de nuevo" }).click();
  await page.getByText("Salió idéntica, bit a bit").waitFor();
  await page.getByRole("slider", { name: "Antes y después" }).waitFor();
  await close();
});

test("what was changed is drawn again with the picture that it was made from; without that one the engine names it", async () => {
  const first = await open(browser);
  const { page } = first;
  await page.goto(system.page);
  await choose(page, "Local");
  await make(page, "un velero");
  await idle(page);
  await page.getByLabel("Qué cambiar").fill("con niebla");
  await page.getByRole("button", { name: "Cambiar", exact: true }).click();
  await picture(page).getByText("Cambiada").waitFor();
  const file = await downloaded(page, () => page.getByRole("button", { name: "Descargar" }).click());
  await page.getByRole("button", { name: "Dibujar de nuevo" }).click();
  await page.getByText("Salió idéntica, bit a bit").waitFor();
  await first.close();

  const second = await open(browser, { expected: [/Failed to load resource/] });
  await second.page.goto(system.page);
  await drop(second.page, file.name, file.bytes);
  await choose(second.page, "Local");
  await second.page.getByRole("button", { name: "Dibujar de nuevo" }).click();
  await second.page.getByRole("alert").getByText(readReceipt(file.bytes).input_sha256).waitFor();
  await second.close();
});

test("foreign, cut and damaged files are said to be what they are", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  const plain = png(64, 48, (x, y) => [x * 4, y * 5, 120]);
  await drop(page, "foreign.png", plain);
  await page.getByText("Este PNG no trae recibo de ayni").waitFor();
  await picture(page).getByText("Abierta").waitFor();
  assert.equal(await page.getByRole("button", { name: "Dibujar de nuevo" }).count(), 0);
  const whole = png(64, 48, () => [1, 2, 3], { ayni: JSON.stringify({ prompt: "x", model: "sd", seed: 1 }) });
  const broken = Buffer.from(whole);
  broken.fill(0xff, whole.indexOf("IDAT") + 4, whole.indexOf("IDAT") + 14);
  for (const [name, bytes, sentence] of [
    ["cut.png", whole.subarray(0, whole.length - 30), "El PNG está cortado o dañado"],
    ["empty.png", Buffer.alloc(0), "No es un PNG"],
    ["photo.png", Buffer.from("GIF89a, really"), "No es un PNG"],
    ["broken.png", broken, "El PNG está cortado o dañado"],
    ["receipt.png", png(8, 8, () => [1, 2, 3], { ayni: "{" }), "El recibo del PNG está dañado"],
  ]) {
    await drop(page, name, bytes);
    await page.getByText(sentence).waitFor();
    assert.equal(await page.getByRole("region", { name: "Galería" }).getByRole("listitem").count(), 1, name);
    await drop(page, "foreign.png", plain);
    await page.getByText("Este PNG no trae recibo de ayni").waitFor();
  }
  // A file without a receipt can be changed.
  await choose(page, "Nube");
  await page.getByLabel("Qué cambiar").fill("de noche");
  await page.getByRole("button", { name: "Cambiar", exact: true }).click();
  await picture(page).getByText("Cambiada").waitFor();
  await close();
});

test("the file dialog opens a PNG as dropping it does", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: "Abrir PNG" }).click()]);
  await chooser.setFiles({ name: "mine.png", mimeType: "image/png", buffer: png(32, 32, () => [200, 80, 40]) });
  await picture(page).getByText("mine.png", { exact: true }).waitFor();
  await close();
});

test("the panel says what each engine says of itself", async () => {
  const { page, close, log } = await open(browser);
  await page.goto(system.page);
  const told = await (await fetch(`${system.api}/health`)).json();
  const local = page.locator("[data-engine=local]");
  await local.getByText("listo").waitFor();
  const text = await local.textContent();
  for (const part of [told.device, told.model, told.precision, told.scheduler, told.recipe.name, system.api]) assert.ok(text.includes(part), `${part} in ${text}`);
  await local.getByText("Qué lo hace más rápido").click();
  for (const one of told.optimisations) await local.getByText(one, { exact: true }).waitFor();
  await page.locator("[data-engine=cloud]").getByText("mock landscapes").waitFor();
  assert.ok(log.includes(`[API] Using API base: ${system.cloud.url}`), log.join("\n"));
  await close();
});

test("the main path needs no pointer", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await page.getByLabel("Qué muestra la imagen").focus();
  await page.keyboard.type("un cóndor");
  await page.keyboard.press("Enter");
  await idle(page);
  await picture(page).getByText("un cóndor", { exact: true }).waitFor();
  // To the field below the picture, as a reader goes.
  const focused = () => page.evaluate(() => document.activeElement?.closest("label")?.textContent ?? document.activeElement?.textContent ?? "");
  for (let press = 0; press < 30 && !(await focused()).startsWith("Qué cambiar"); press++) await page.keyboard.press("Tab");
  await page.keyboard.type("en la nieve");
  await page.keyboard.press("Enter");
  await picture(page).getByText("Cambiada").waitFor();
  await close();
});

for (const [size, theme, language] of [["wide", "light", "es"], ["wide", "dark", "en"], ["narrow", "light", "es"], ["narrow", "dark", "es"]]) {
  test(`nothing serious by axe, nothing wider than the screen: ${size}, ${theme}, ${language}`, async () => {
    const { page, close } = await open(browser, { size, theme, language, url: system.page });
    const words = language === "es" ? { cloud: "Nube", change: "Qué cambiar", apply: "Cambiar", changed: "Cambiada", night: "de noche", prompt: "cerros junto al mar al amanecer" } : { cloud: "Cloud", change: "What to change", apply: "Change", changed: "Changed", night: "at night", prompt: "hills by the sea at dawn" };
    await page.goto(system.page);
    assert.deepEqual(await accessibility(page), []);
    await choose(page, words.cloud);
    for (const [ratio, prompt] of [["4:3", `${words.prompt} 2`], ["16:9", words.prompt]]) {
      await choose(page, ratio);
      await make(page, prompt);
      await idle(page);
      await picture(page).getByText(prompt, { exact: true }).waitFor();
    }
    await page.getByLabel(words.change).fill(words.night);
    await page.getByRole("button", { name: words.apply, exact: true }).click();
    await picture(page).getByText(words.changed).waitFor();
    await page.locator("[data-engine=local] dd").first().waitFor();
    assert.deepEqual(await accessibility(page), []);
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);
    assert.ok(await fits());
    await page.evaluate(() => scrollTo(0, 0));
    if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `image-studio-${size}-${theme}.png`), fullPage: size === "narrow" });
    await page.setViewportSize({ width: 360, height: 740 });
    assert.ok(await fits());
    await close();
  });
}

test("the scripts of a first visit stay below their budget", async (t) => {
  const bytes = await scriptBytes(browser, system.page);
  t.diagnostic(`${bytes} bytes gzipped`);
  assert.ok(bytes > 40_000 && bytes <= 180_000);
});
