// The triage page in a browser, against the real backend and a mock router.

import assert from "node:assert/strict";
import { join } from "node:path";
import test, { after, before, beforeEach } from "node:test";

import { accessibility, launch, open, scriptBytes } from "../../testing/browser.mjs";
import { REASONING, TEXT } from "../../testing/models.mjs";
import { STARTING } from "../../testing/clip.mjs";
import { SPACE, startTriage } from "../../testing/triage.mjs";

let system;
let browser;
before(async () => {
  [system, browser] = await Promise.all([startTriage(), launch(["--host-resolver-rules=MAP *.hf.space 127.0.0.1"])]);
});
beforeEach(() => Object.assign(system.models.state, { delayMs: 0, status: 200, pieceMs: 5, cutAfter: undefined }));
after(async () => {
  await browser?.close();
  await system?.stop();
});

const answer = (page) => page.getByRole("region", { name: "Respuesta" });
async function ask(page, question = "¿Qué medicamentos tomo?", mode) {
  await page.getByLabel("Número de ficha").fill("P000123");
  if (mode) await page.locator("select").selectOption(mode);
  await page.getByLabel("Pregunta", { exact: true }).fill(question);
  await page.getByRole("button", { name: "Preguntar" }).click();
}

test("an answer streams, its reasoning is folded away, and the page says who answered how fast", async () => {
  system.models.state.pieceMs = 80;
  const { page, close, log } = await open(browser);
  await page.goto(system.page);
  await page.getByText("Esto no es consejo médico").waitFor();
  await ask(page);
  await answer(page).getByText("Toma aspirina").waitFor();
  assert.notEqual(await page.locator(".answer").textContent(), TEXT);
  await page.getByRole("button", { name: "Preguntar" }).waitFor();
  assert.equal(await page.locator(".answer").textContent(), TEXT);
  assert.equal(await page.getByText(REASONING).isVisible(), false);
  await page.getByText("Razonamiento", { exact: true }).click();
  assert.equal(await page.getByText(REASONING).isVisible(), true);
  const measures = await page.locator(".measures").textContent();
  assert.match(measures, /hf-qwen2\.5.*Qwen\/Qwen2\.5-7B-Instruct.*(\d+ ms|\d,\d s).*\d,\d tokens\/s.*stop/);
  assert.ok(log.includes(`[API] Using API base: ${system.api}`));
  assert.ok(system.lines().some((line) => line.includes("DEFAULT_LLM_MODE is 'huggingface', which means hf-qwen2.5")));
  assert.ok(!system.lines().some((line) => /medicamentos|P000123|hf_mock/.test(line)));
  await close();
});

test("every mode is listed with what it lacks, and none of those can be chosen", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  const modes = page.getByRole("region", { name: "Modelos disponibles" });
  await modes.getByRole("listitem").nth(5).waitFor();
  const { llm_modes: known } = await (await fetch(system.api, { headers: { accept: "application/json" } })).json();
  assert.equal(await modes.getByRole("listitem").count(), known.length);
  const options = await page.locator("select").locator("option").evaluateAll((all) => all.map(({ value, disabled, textContent }) => [value, disabled, textContent]));
  for (const { mode, problem } of known) {
    const [, disabled, text] = options.find(([value]) => value === mode);
    assert.equal(disabled, problem !== null, mode);
    if (problem) assert.ok(text.includes(problem));
  }
  assert.ok(known.some(({ problem }) => problem !== null));
  await close();
});

test("the mock mode answers only when it is chosen", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await page.locator("option[value=mock]").waitFor({ state: "attached" });
  await ask(page, "hola", "mock");
  await page.locator(".measures").waitFor();
  assert.match(await page.locator(".measures").textContent(), /mock/);
  await close();
});

const FAILURES = [
  [401, "El proveedor no acepta el token"],
  [404, "El proveedor no ofrece este modelo"],
  [429, "Demasiadas preguntas"],
  [503, "El proveedor no está disponible"],
];
for (const [status, sentence] of FAILURES) {
  test(`a router that answers ${status} fails as what it is, never as a mock answer`, async () => {
    system.models.state.status = status;
    const { page, close } = await open(browser, { expected: [/Failed to load resource/] });
    await page.goto(system.page);
    await ask(page);
    await answer(page).getByText(sentence).waitFor();
    assert.equal(await page.locator(".answer").count(), 0);
    await close();
  });
}

test("a stream that is cut says so and keeps what had arrived", async () => {
  Object.assign(system.models.state, { cutAfter: 8, pieceMs: 20 });
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await ask(page);
  await answer(page).getByRole("status").filter({ hasText: /cort|disponible|responder/ }).waitFor();
  assert.ok(TEXT.startsWith((await page.locator(".answer").textContent()).trim()));
  await close();
});

test("stop stops, and a reload in the middle leaves a page that works", async () => {
  system.models.state.pieceMs = 2000;
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await ask(page);
  await page.getByRole("button", { name: "Detener" }).click();
  await page.getByText("Detenida").waitFor();
  await page.reload();
  system.models.state.pieceMs = 5;
  await ask(page);
  await page.locator(".measures").waitFor();
  await close();
});

test("a backend that is killed is said to be down, and the page goes on once it is back", async () => {
  await system.stopBackend("SIGKILL");
  const { page, close } = await open(browser, { expected: [/Failed to load resource|net::ERR/] });
  await page.goto(system.page);
  await page.getByText("El backend no responde").waitFor();
  await system.restartBackend();
  await page.getByRole("region", { name: "Modelos disponibles" }).getByRole("listitem").first().waitFor();
  assert.equal(await page.getByText("El backend no responde").count(), 0);
  await close();
});

test("a backend that is killed in the middle of an answer: what had arrived stays and is said to be cut, and the next question is answered", async () => {
  system.models.state.pieceMs = 300;
  const { page, close } = await open(browser, { expected: [/Failed to load resource|net::ERR/] });
  await page.goto(system.page);
  await ask(page);
  await answer(page).getByText("Toma aspirina").waitFor();
  await system.stopBackend("SIGKILL");
  await answer(page).getByText("La respuesta se cortó").waitFor();
  const kept = await page.locator(".answer").textContent();
  assert.ok(kept.startsWith("Toma aspirina") && kept.length < TEXT.length && TEXT.startsWith(kept.trim()), kept);
  await page.getByRole("button", { name: "Preguntar" }).click();
  await answer(page).getByText("El backend no responde").waitFor();
  await system.restartBackend();
  system.models.state.pieceMs = 5;
  await page.getByRole("button", { name: "Preguntar" }).click();
  await page.locator(".measures").waitFor();
  assert.equal(await page.locator(".answer").textContent(), TEXT);
  await close();
});

test("a Space that is still starting answers in HTML, and the page waits for it", async () => {
  const { page, close } = await open(browser, { expected: [/Failed to load resource/] });
  let asleep = true;
  const html = { status: STARTING.status, headers: { ...STARTING.headers, "access-control-allow-origin": "*" }, body: STARTING.body };
  await page.route(`${system.api}/**`, (route) => (asleep ? route.fulfill(html) : route.continue()));
  await page.goto(system.page);
  await page.getByText("Está despertando o iniciándose").waitFor();
  asleep = false;
  await page.getByRole("region", { name: "Modelos disponibles" }).getByRole("listitem").first().waitFor();
  await close();
});

test("a slow model: the page says that it thinks until the first words", async () => {
  system.models.state.delayMs = 1500;
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await ask(page);
  await answer(page).getByRole("status", { name: "Pensando" }).waitFor();
  await page.locator(".measures").waitFor();
  assert.equal(await page.locator(".answer").textContent(), TEXT);
  await close();
});

test("with a key, the page asks for it and works with the right one only", async () => {
  await system.restartBackend({ API_KEY: "sesame" });
  const { page, close } = await open(browser, { expected: [/Failed to load resource/] });
  await page.goto(system.page);
  for (const key of ["wrong", "sesame"]) {
    await page.getByText("Se necesita una clave").waitFor();
    await page.getByLabel("Clave").fill(key);
    const answered = page.waitForResponse((response) => response.url() === `${system.api}/` && response.request().method() === "GET");
    await page.getByRole("button", { name: "Usar" }).click();
    assert.equal((await answered).status(), key === "sesame" ? 200 : 401);
  }
  await page.reload();
  await ask(page);
  await page.locator(".measures").waitFor();
  assert.equal(await page.evaluate(() => localStorage.length + document.cookie.includes("sesame")), 0);
  await close();
  await system.restartBackend();
});

test("two tabs ask at once and each gets its own answer; going away and back leaves a page that works", async () => {
  system.models.state.pieceMs = 60;
  const first = await open(browser);
  await first.page.goto(system.page);
  const second = await first.context.newPage();
  await second.goto(system.page);
  await ask(first.page, "¿Una?");
  await ask(second, "¿Otra?", "mock");
  for (const [tab, route] of [[first.page, /hf-qwen2\.5/], [second, /mock/]]) {
    await tab.locator(".measures").waitFor();
    assert.match(await tab.locator(".measures").textContent(), route);
  }
  await second.goto("about:blank");
  await second.goBack();
  await ask(second);
  await second.locator(".measures").waitFor();
  await first.close();
});

test("on a Space the page finds the backend's Space by its own name", async () => {
  const { page, context, close, log } = await open(browser);
  // What Hugging Face's proxy does: HTTPS outside, HTTP inside.
  await context.route("https://owner-carepath-backend.hf.space/**", async (route) => {
    const url = new URL(route.request().url());
    await route.fulfill({ response: await route.fetch({ url: system.api + url.pathname + url.search }) });
  });
  await page.goto(`http://${SPACE}:${system.pagePort}/`);
  await ask(page);
  await page.locator(".measures").waitFor();
  assert.ok(log.includes("[API] Using API base: https://owner-carepath-backend.hf.space"), log.join("\n"));
  await close();
});

test("the main path needs no pointer", async () => {
  const { page, close } = await open(browser);
  await page.goto(system.page);
  await page.getByLabel("Número de ficha").focus();
  await page.keyboard.type("P1");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.type("¿Y ahora?");
  await page.keyboard.press("Enter");
  await page.locator(".measures").waitFor();
  await close();
});

for (const [size, theme, language] of [["wide", "light", "es"], ["wide", "dark", "en"], ["narrow", "light", "es"]]) {
  test(`nothing serious by axe, nothing wider than the screen: ${size}, ${theme}, ${language}`, async () => {
    const { page, close } = await open(browser, { size, theme, language, url: system.page });
    await page.goto(system.page);
    await page.getByLabel(language === "es" ? "Número de ficha" : "Record number").fill("P1");
    await page.getByRole("textbox").last().fill("¿?");
    await page.keyboard.press("Enter");
    await page.locator(".measures").waitFor();
    assert.deepEqual(await accessibility(page), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth));
    if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `triage-${size}-${theme}.png`) });
    await close();
  });
}

test("the scripts of a first visit stay below their budget", async (t) => {
  const bytes = await scriptBytes(browser, system.page);
  t.diagnostic(`${bytes} bytes gzipped`);
  assert.ok(bytes > 50_000 && bytes <= 180_000);
});
