// AI Analysis in a browser: claims with links to fields, dropped claims, cuts and reloads.

import assert from "node:assert/strict";
import test, { after, before, beforeEach } from "node:test";

import { downloaded, launch, open } from "../../testing/browser.mjs";
import { startProcurement } from "../../testing/procurement.mjs";

let system;
let browser;
let code;
before(async () => {
  [system, browser] = await Promise.all([startProcurement(), launch()]);
  code = (await (await fetch(`${system.api}/api/tenders`)).json()).rows[0].code;
});
beforeEach(() => Object.assign(system.models.state, { delayMs: 0, status: 200 }));
after(async () => {
  await browser?.close();
  await system?.stop();
});

const run = (page) => page.getByRole("button", { name: "Analizar", exact: true }).click();
const answer = (page, title) => page.getByRole("region", { name: title, exact: true });

test("claims come with links to their fields, and dropped ones with the reason", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/tenders/${code}`);
  await page.getByRole("link", { name: "Analizar con IA" }).click();
  await run(page);
  const summary = answer(page, "Resumen");
  await summary.getByText("2 afirmaciones con respaldo · 1 descartadas").waitFor();
  await answer(page, "Plazos").getByText(/con respaldo/).waitFor();
  const first = summary.getByRole("listitem").first();
  assert.match(await first.textContent(), new RegExp(`La licitación ${code} está Publicada y cierra el \\d\\d-\\d\\d-\\d{4}`));
  await first.getByRole("link", { name: "cierre" }).click();
  const lit = page.locator(".fields [data-lit]");
  assert.match(await lit.textContent(), /^cierre\d{4}-\d\d-\d\dT/);
  assert.equal(await lit.getAttribute("id"), new URL(page.url()).hash.slice(1));
  const dropped = summary.locator("[data-dropped]");
  assert.match(await dropped.textContent(), /Cierra el 3 de febrero de 1999\..*Descartada.*ningún dato citado dice/);
  await close();
});

test("the analysis is exported with what was dropped", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/analysis?code=${code}&asks=summary`);
  await run(page);
  await answer(page, "Resumen").getByText(/con respaldo/).waitFor();
  const csv = await downloaded(page, async () => {
    await page.getByRole("button", { name: "Exportar" }).click();
    await page.getByRole("menuitem", { name: "CSV" }).click();
  });
  assert.match(csv.bytes.toString(), /Resumen;La licitación .*;\/row\/code \/row\/state \/row\/closes;\r\n/);
  assert.match(csv.bytes.toString(), /Cierra el 3 de febrero de 1999\.;;"?Descartada/);
  await close();
});

test("each model says whether it may be asked, and the chosen one answers", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/analysis?code=${code}&asks=risks`);
  const model = page.getByLabel("Modelo");
  await model.locator("option", { hasText: "groq: mock-model" }).waitFor({ state: "attached" });
  const options = await model.locator("option").evaluateAll((all) => all.map(({ textContent, disabled }) => [textContent, disabled]));
  assert.deepEqual(options, [
    ["Automático", false], ["gemini: GEMINI_API_KEY is not set", true], ["groq: mock-model", false],
    ["featherless: FEATHERLESS_API_KEY is not set", true], ["local: LOCAL_CHAT_MODEL is not set", true],
  ]);
  await model.selectOption("groq");
  await run(page);
  await answer(page, "Riesgos").getByText("respondió mock-model").waitFor();
  assert.equal(new URL(page.url()).searchParams.get("model"), "groq");
  assert.match(system.models.seen.at(-1).path, /\/chat\/completions$/);
  await close();
});

test("a question of one's own is asked instead of the prepared ones", async () => {
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/analysis?code=${code}`);
  await page.getByLabel("O pregunte con sus palabras").fill("¿Quién compra?");
  await run(page);
  await answer(page, "Pregunta propia").getByText(/con respaldo/).waitFor();
  assert.match(system.models.seen.at(-1).body, /¿Quién compra\?/);
  await close();
});

test("a reload in the middle keeps what had arrived, and going on asks only for the rest", async () => {
  system.models.state.delayMs = 1500;
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/analysis?code=${code}&asks=summary,risks,deadlines`);
  await run(page);
  await answer(page, "Resumen").getByText(/con respaldo/).waitFor();
  await page.reload();
  await page.getByText("El análisis se interrumpió").waitFor();
  await answer(page, "Resumen").getByText(/con respaldo/).waitFor();
  const before = system.models.seen.length;
  system.models.state.delayMs = 0;
  await page.getByRole("button", { name: "Continuar" }).click();
  await answer(page, "Plazos").getByText(/con respaldo/).waitFor();
  assert.equal(await page.getByText("El análisis se interrumpió").count(), 0);
  assert.equal(system.models.seen.length - before, 2);
  await close();
});

test("a backend that is killed in the middle of a stream: what had arrived stays, and the page goes on once it is back", async () => {
  system.models.state.delayMs = 1500;
  const { page, close } = await open(browser, { expected: [/Failed to load resource|net::ERR/] });
  await page.goto(`${system.page}/analysis?code=${code}&asks=summary,risks`);
  await run(page);
  await answer(page, "Resumen").getByText(/con respaldo/).waitFor();
  await system.stopBackend("SIGKILL");
  await page.getByText(/El análisis se interrumpió|El backend/).first().waitFor();
  await answer(page, "Resumen").getByText(/con respaldo/).waitFor();
  system.models.state.delayMs = 0;
  await system.restartBackend();
  const goOn = page.getByRole("button", { name: "Continuar" });
  if (await goOn.count()) await goOn.click();
  await answer(page, "Riesgos").getByText(/con respaldo/).waitFor();
  await close();
});

test("a stop stops the model's work", async () => {
  system.models.state.delayMs = 20_000;
  const { page, close } = await open(browser);
  await page.goto(`${system.page}/analysis?code=${code}&asks=summary`);
  await run(page);
  await page.getByRole("button", { name: "Detener" }).click();
  await page.getByText("El análisis se interrumpió").waitFor();
  system.models.state.delayMs = 0;
  await close();
});

test("a model that refuses the key fails as what it is, and a code that is none too", async () => {
  system.models.state.status = 401;
  const { page, close } = await open(browser, { expected: [/404/] });
  await page.goto(`${system.page}/analysis?code=${code}&asks=summary`);
  await run(page);
  await page.getByText(/El análisis se interrumpió\. .*(GROQ_API_KEY|credential|key)/i).waitFor();
  await page.goto(`${system.page}/analysis?code=1-1-LE26`);
  await page.getByRole("heading", { name: "No existe" }).waitFor();
  await close();
});
