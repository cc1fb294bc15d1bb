// The page in a browser while the service sleeps, refuses, is slow or gone.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import test, { after, before, beforeEach } from "node:test";

import { launch, open } from "../../testing/browser.mjs";
import { STARTING, indexed, startClipSearch } from "../../testing/clip.mjs";
import { drawLandscapes } from "../../testing/landscapes.mjs";

let system;
let browser;
before(async () => {
  [system, browser] = await Promise.all([startClipSearch(), launch()]);
  await indexed(system, 12);
});
beforeEach(() => system.gate.reset());
after(async () => {
  await browser?.close();
  await system?.stop();
});

const results = (page) => page.getByRole("region", { name: "Resultados" });
async function ask(page, text = "w5 w6") {
  await page.goto(system.page);
  // Once the page runs: its first answer has the images before.
  await page.getByTestId("indexed").waitFor();
  await page.getByRole("searchbox", { name: "Qué se busca" }).fill(text);
  await page.keyboard.press("Enter");
}
const isFound = (page) => results(page).locator(".score").first().waitFor({ timeout: 120_000 });

test("asleep: the page says that the Space wakes up and for how long, then shows what was found", async () => {
  system.gate.state.answer = STARTING;
  const { page, close } = await open(browser);
  await ask(page);
  await results(page).getByText("El servicio CLIP está despertando").waitFor();
  await page.waitForFunction(() => Number(document.querySelector(".state .number")?.textContent) >= 2);
  system.gate.reset();
  await isFound(page);
  await close();
});

for (const [status, sentence] of [[401, "El servicio CLIP no acepta la clave"], [403, "El servicio CLIP no acepta la clave"]]) {
  test(`${status}: says which variable to look at, and a click asks again`, async () => {
    const body = JSON.stringify({ detail: "Invalid API key" });
    system.gate.state.answer = { status, headers: { "content-type": "application/json" }, body };
    const { page, close } = await open(browser);
    await ask(page);
    await results(page).getByText(sentence).waitFor();
    assert.match(await results(page).textContent(), /CLIP_API_KEY/);
    assert.ok(!(await page.content()).includes("clip-key"));
    system.gate.reset();
    await results(page).getByRole("button", { name: "Reintentar" }).click();
    await isFound(page);
    await close();
  });
}

test("429: counts down what the service asked for, and a click asks again before", async () => {
  const headers = { "content-type": "application/json", "retry-after": "120" };
  system.gate.state.answer = { status: 429, headers, body: JSON.stringify({ detail: "slow down" }) };
  const { page, close } = await open(browser);
  await ask(page);
  await results(page).getByText("Demasiadas solicitudes").waitFor();
  await page.waitForFunction(() => Number(document.querySelector(".state .number")?.textContent) > 60);
  system.gate.reset();
  await results(page).getByRole("button", { name: "Reintentar" }).click();
  await isFound(page);
  await close();
});

test("asleep while it indexes: the page says so, and the image is indexed once the service is awake", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await page.getByText("12 de 12 indexadas").waitFor();
  system.gate.state.answer = STARTING;
  const [name] = drawLandscapes(system.folder, 1, 500);
  await page.locator(".notice", { hasText: "El servicio CLIP está despertando" }).waitFor();
  await page.getByText("12 de 13 indexadas").waitFor();
  system.gate.reset();
  await page.getByText("13 de 13 indexadas").waitFor();
  await page.locator(".notice", { hasText: "despertando" }).waitFor({ state: "hidden" });
  rmSync(join(system.folder, name));
  await page.getByText("12 de 12 indexadas").waitFor();
  await close();
});

test("refused while it indexes: nothing is asked again until somebody clicks", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  system.gate.state.answer = { status: 401, headers: { "content-type": "application/json" }, body: JSON.stringify({ detail: "Invalid API key" }) };
  const [name] = drawLandscapes(system.folder, 1, 501);
  const notice = page.locator(".notice", { hasText: "El servicio CLIP no acepta la clave" });
  await notice.waitFor();
  system.gate.reset();
  const asked = system.gate.seen.length;
  await page.waitForTimeout(7000);
  assert.equal(system.gate.seen.length, asked);
  await notice.getByRole("button", { name: "Reintentar" }).click();
  await page.getByText("13 de 13 indexadas").waitFor();
  await notice.waitFor({ state: "hidden" });
  rmSync(join(system.folder, name));
  await page.getByText("12 de 12 indexadas").waitFor();
  await close();
});

test("slow: the page waits, and another search takes its place", async () => {
  system.gate.state.delayMs = 8000;
  const { page, close } = await open(browser);
  await ask(page, "w5");
  await results(page).getByRole("status", { name: "Buscando" }).waitFor();
  system.gate.reset();
  await page.getByRole("searchbox").fill("w9");
  await page.keyboard.press("Enter");
  await isFound(page);
  assert.ok(page.url().includes("q=w9"));
  await close();
});

test("killed: the page says so, and goes on by itself once the service is back", async () => {
  await system.stopService("SIGKILL");
  const { page, close } = await open(browser);
  await ask(page);
  await results(page).getByText(/no responde|despertando|duerme/).first().waitFor({ timeout: 120_000 });
  await system.restartService();
  await isFound(page);
  await close();
});

test("the pages' own server is killed: the page says so, and goes on by itself once it is back", async () => {
  const { page, close } = await open(browser, { expected: [/Failed to load resource|net::ERR/] });
  await ask(page);
  await isFound(page);
  await system.stopPages("SIGKILL");
  await page.getByText("El servidor de esta página no responde").waitFor();
  await system.restartPages();
  await page.getByText("El servidor de esta página no responde").waitFor({ state: "hidden" });
  await page.getByRole("searchbox").fill("w1");
  await page.keyboard.press("Enter");
  await isFound(page);
  await close();
});

test("no settings: the page says which variable is missing", async () => {
  const wrong = await startClipSearch({ images: 0, env: { EMBEDDING_PROVIDER: "" } });
  const { page, close } = await open(browser, { expected: [/501 \(/] });
  try {
    await page.goto(wrong.page);
    await page.getByText(/EMBEDDING_PROVIDER is not set/).waitFor();
    await close();
  } finally {
    await wrong.stop();
  }
});
