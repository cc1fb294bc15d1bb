// What the image studio shows when something is wrong, by the real cause. The local engine draws large pictures here, so that there
// is a middle of its work.

import assert from "node:assert/strict";
import test, { after, before, beforeEach } from "node:test";

import { launch, open } from "../../testing/browser.mjs";
import { SPACE, startStudio } from "../../testing/studio.mjs";
import { choose, idle, make, picture } from "./steps.mjs";

let system;
let browser;
before(async () => {
  [system, browser] = await Promise.all([startStudio({ side: 512 }), launch(["--host-resolver-rules=MAP *.hf.space 127.0.0.1"])]);
});
beforeEach(() => Object.assign(system.cloud.state, { status: 200, delayMs: 0, asleep: 0, retryAfter: undefined, cutAfter: undefined }));
after(async () => {
  await browser?.close();
  await system?.stop();
});

const refused = { expected: [/Failed to load resource|net::ERR|CORS/] };
const engine = (page, name) => page.locator(`[data-engine=${name}]`);
const alert = (page) => page.getByRole("alert");
const step = (page) => page.getByText(/^Paso \d+ de \d+$/);

test("a work is cancelled in the middle: the engine stops, and takes the next one", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await choose(page, "Local");
  await make(page, "algo grande");
  await step(page).waitFor();
  await picture(page).getByRole("button", { name: "Cancelar" }).click();
  await idle(page);
  assert.equal(await page.getByRole("region", { name: "Galería" }).getByRole("listitem").count(), 0);
  const isLeft = (line) => line.includes('"/generate"') && line.includes("499");
  for (let wait = 0; wait < 100 && !system.lines().some(isLeft); wait++) await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(system.lines().some(isLeft), system.lines().slice(-5).join("\n"));
  await make(page, "otra cosa");
  await step(page).waitFor();
  // The button of the form cancels too, and a reload in the middle leaves a page that works.
  await page.getByRole("button", { name: "Cancelar" }).first().click();
  await make(page, "una más");
  await step(page).waitFor();
  await page.reload();
  await choose(page, "Nube");
  await make(page, "y ésta");
  await idle(page);
  await picture(page).getByText("y ésta", { exact: true }).waitFor();
  await close();
});

test("an engine that is killed in the middle is said to be gone; once it is back the page goes on, and nothing kept is lost", async () => {
  const { page, close } = await open(browser, refused);
  await page.goto(system.page);
  await choose(page, "Nube");
  await make(page, "guardada");
  await idle(page);
  await choose(page, "Local");
  await make(page, "interrumpida");
  await step(page).waitFor();
  await system.stopBackend("SIGKILL");
  await alert(page).getByText("El motor se fue en medio del trabajo").waitFor();
  await engine(page, "local").getByText("apagado").waitFor();
  await system.restartBackend();
  await engine(page, "local").getByText("listo").waitFor();
  await alert(page).getByRole("button", { name: "Reintentar" }).click();
  await step(page).waitFor();
  await picture(page).getByText("interrumpida", { exact: true }).waitFor({ timeout: 120_000 });
  await page.reload();
  await page.getByRole("region", { name: "Galería" }).getByRole("button", { name: /guardada/ }).waitFor();
  await close();
});

test("in the mode Auto the cloud takes over from a local engine that is killed in the middle", async () => {
  const { page, close } = await open(browser, refused);
  await page.goto(system.page);
  await choose(page, "Auto");
  await make(page, "a medias");
  await step(page).waitFor();
  await system.stopBackend("SIGKILL");
  await picture(page).getByText("motor de la nube").waitFor();
  await page.getByText("Sirvió la nube, porque el motor local falló").waitFor();
  await system.restartBackend();
  await close();
});

test("a local engine that is off is said to be, with how to start it; it is seen once it is there", async () => {
  await system.stopBackend();
  const { page, close } = await open(browser, refused);
  await page.goto(system.page);
  await engine(page, "local").getByText("apagado").waitFor();
  await engine(page, "local").getByText(`ALLOW_ORIGINS=${system.page} ayni serve image --port ${new URL(system.api).port}`).waitFor();
  await choose(page, "Local");
  await make(page, "nadie");
  await alert(page).getByText("Nadie responde en esa dirección").waitFor();
  await alert(page).getByRole("button", { name: "Usar la nube" }).click();
  await picture(page).getByText("motor de la nube").waitFor();
  await system.restartBackend();
  await engine(page, "local").getByText("listo").waitFor();
  await close();
});

test("an engine that does not let the page in is told from one that is off, with the line that mends it", async () => {
  await system.restartBackend({ ALLOW_ORIGINS: "https://127.0.0.1:1" });
  system.cloud.state.origins = ["https://elsewhere.example"];
  const { page, close } = await open(browser, refused);
  try {
    await page.goto(system.page);
    for (const name of ["local", "cloud"]) {
      await engine(page, name).getByText("no deja entrar", { exact: true }).waitFor();
      await engine(page, name).getByText(`ALLOW_ORIGINS=${system.page}`, { exact: true }).waitFor();
    }
    await choose(page, "Nube");
    await make(page, "cerrado");
    await alert(page).getByText(`ALLOW_ORIGINS=${system.page}`, { exact: true }).waitFor();
    // What the page says is right: with that line it is let in.
    system.cloud.state.origins = [system.page];
    await engine(page, "cloud").getByText("listo").waitFor();
    await alert(page).getByRole("button", { name: "Reintentar" }).click();
    await picture(page).getByText("motor de la nube").waitFor();
  } finally {
    system.cloud.state.origins = null;
    await system.restartBackend();
  }
  await close();
});

test("an engine with a key asks for it, and works with the right one only", async () => {
  await system.restartBackend({ API_KEY: "sesame" });
  const { page, close } = await open(browser, refused);
  await page.goto(system.page);
  await choose(page, "Local");
  await make(page, "con clave");
  const field = () => alert(page).getByLabel("Clave del motor");
  await alert(page).getByText("El motor pide una clave").waitFor();
  await field().fill("wrong");
  const refusal = page.waitForResponse((response) => response.status() === 401);
  await alert(page).getByRole("button", { name: "Usar", exact: true }).click();
  await refusal;
  await alert(page).getByText("El motor pide una clave").waitFor();
  await field().fill("sesame");
  await alert(page).getByRole("button", { name: "Usar", exact: true }).click();
  await picture(page).getByText("con clave", { exact: true }).waitFor({ timeout: 120_000 });
  assert.equal(await page.evaluate(() => localStorage.length + document.cookie.includes("sesame")), 0);
  await close();
  await system.restartBackend();
});

test("an engine with too many requests counts down", async () => {
  Object.assign(system.cloud.state, { status: 429, retryAfter: 3 });
  const { page, close } = await open(browser, refused);
  await page.goto(system.page);
  await choose(page, "Nube");
  await make(page, "mucho");
  await alert(page).getByText("Demasiadas solicitudes").waitFor();
  await alert(page).getByRole("button", { name: /Reintentar \(en [123] s\)/ }).waitFor();
  await alert(page).getByRole("button", { name: "Reintentar", exact: true }).waitFor();
  system.cloud.state.status = 200;
  await alert(page).getByRole("button", { name: "Reintentar" }).click();
  await picture(page).getByText("mucho", { exact: true }).waitFor();
  await close();
});

test("a cloud engine that sleeps is waited for, and served by once it is awake", async () => {
  const { page, close } = await open(browser, refused);
  await page.goto(system.page);
  await engine(page, "cloud").getByText("listo").waitFor();
  system.cloud.state.asleep = 4;
  await choose(page, "Nube");
  await make(page, "dormilón");
  await page.getByText(/El motor está despertando: \d+ s/).waitFor();
  await picture(page).getByText("dormilón", { exact: true }).waitFor();
  system.cloud.state.asleep = 1;
  await page.reload();
  await engine(page, "cloud").getByText("dormido").waitFor();
  await engine(page, "cloud").getByText("listo").waitFor();
  await close();
});

test("a slow engine shows how long it takes and can be cancelled; an answer that is cut is no picture", async () => {
  system.cloud.state.delayMs = 3000;
  const { page, close } = await open(browser, refused);
  await page.goto(system.page);
  await choose(page, "Nube");
  await make(page, "lento");
  await page.getByText(/motor de la nube · [1-3],\d s/).waitFor();
  await picture(page).getByRole("button", { name: "Cancelar" }).click();
  await idle(page);
  Object.assign(system.cloud.state, { delayMs: 0, cutAfter: 500 });
  await make(page, "cortada");
  await alert(page).getByText("El motor se fue en medio del trabajo").waitFor();
  assert.equal(await page.getByRole("region", { name: "Galería" }).getByRole("listitem").count(), 0);
  await close();
});

test("on a Space the page finds the cloud engine by its own name; elsewhere it says that none is configured", async () => {
  const alone = await startStudio({ side: 64, hasCloud: false });
  const { page, context, close, log } = await open(browser);
  try {
    // What Hugging Face's proxy does: HTTPS outside, HTTP inside.
    await context.route("https://owner-aura-engine.hf.space/**", async (route) => {
      const url = new URL(route.request().url());
      await route.fulfill({ response: await route.fetch({ url: alone.api + url.pathname + url.search }) });
    });
    await page.goto(`http://${SPACE}:${alone.pagePort}/`);
    await engine(page, "cloud").getByText("listo").waitFor();
    await choose(page, "Nube");
    await make(page, "en el Space");
    await idle(page);
    await picture(page).getByText("en el Space", { exact: true }).waitFor();
    assert.ok(log.includes("[API] Using API base: https://owner-aura-engine.hf.space"), log.join("\n"));
    await close();
    const near = await open(browser);
    await near.page.goto(alone.page);
    await engine(near.page, "cloud").getByText("sin configurar").waitFor();
    await engine(near.page, "cloud").getByText("VITE_CLOUD_ENGINE_URL=").waitFor();
    await near.close();
  } finally {
    await alone.stop();
  }
});
