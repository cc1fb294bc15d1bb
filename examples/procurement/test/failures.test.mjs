// What the dashboard shows when something is wrong: every state by the real cause where that can be made here.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { launch, open } from "../../testing/browser.mjs";
import { dayBefore, SPACE, startProcurement } from "../../testing/procurement.mjs";

let system;
let browser;
before(async () => {
  [system, browser] = await Promise.all([startProcurement(), launch(["--host-resolver-rules=MAP *.hf.space 127.0.0.1"])]);
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

const refused = { expected: [/Failed to load resource|net::ERR|CORS/] };
const heading = (page, name) => page.getByRole("heading", { name });
const today = () => `${system.page}/`;
/** A day that nobody has asked for: its list is not stored. */
let used = 20;
const freshDay = () => dayBefore((used += 1));
const fresh = () => `${system.page}/?from=${freshDay()}`;

test("a backend that is down is said to be, and the page goes on by itself once it is back", async () => {
  await system.stopBackend();
  const { page, close } = await open(browser, refused);
  await page.goto(today());
  await heading(page, /El backend (no responde|está despertando)/).waitFor();
  await heading(page, "El backend está despertando").waitFor();
  await system.restartBackend();
  await page.getByRole("grid").or(heading(page, "No hay órdenes de compra en estos días")).waitFor({ timeout: 30_000 });
  await close();
});

test("a Space that is still starting answers in HTML, and the page waits for it", async () => {
  const { page, close } = await open(browser, refused);
  let asleep = true;
  const html = { status: 503, contentType: "text/html", body: "<h1>Your Space is building</h1>", headers: { "access-control-allow-origin": "*" } };
  await page.route(`${system.api}/**`, (route) => (asleep ? route.fulfill(html) : route.continue()));
  await page.goto(today());
  await heading(page, /El backend/).waitFor();
  asleep = false;
  await page.getByRole("grid").or(heading(page, "No hay órdenes de compra en estos días")).waitFor({ timeout: 30_000 });
  await close();
});

test("a slow source shows that it loads, and then its rows", async () => {
  await system.world.control({ behaviour: { latency_ms: 2500 } });
  const { page, close } = await open(browser);
  await page.goto(fresh());
  await page.getByRole("status", { name: "Cargando" }).waitFor();
  await system.world.control({ behaviour: { latency_ms: 0 } });
  await page.getByRole("grid").or(heading(page, "No hay órdenes de compra en estos días")).waitFor({ timeout: 30_000 });
  await close();
});

test("a ticket that is refused is named, and is no question of the page's own key", async () => {
  await system.world.control({ behaviour: { tickets: ["another"] } });
  const { page, close } = await open(browser, refused);
  await page.goto(fresh());
  await heading(page, "El ticket no es aceptado").waitFor();
  await page.getByText("MERCADO_PUBLICO_TICKET").waitFor();
  await system.world.control({ behaviour: { tickets: [] } });
  await page.getByRole("button", { name: "Reintentar" }).click();
  await page.getByRole("grid").or(heading(page, "No hay órdenes de compra en estos días")).waitFor();
  await close();
});

test("a limit of requests counts down and tries again", async () => {
  const { page, close } = await open(browser, refused);
  let refusals = 1;
  const body = JSON.stringify({ detail: "busy", error: { kind: "rate_limited", message: "busy", retryable: true } });
  const headers = { "access-control-allow-origin": "*", "access-control-expose-headers": "Retry-After", "retry-after": "2" };
  await page.route(`${system.api}/api/purchase-orders?**`, (route) => (refusals-- > 0 ? route.fulfill({ status: 429, contentType: "application/json", body, headers }) : route.continue()));
  await page.goto(fresh());
  await heading(page, "Demasiadas consultas").waitFor();
  await page.getByRole("grid").or(heading(page, "No hay órdenes de compra en estos días")).waitFor();
  await close();
});

test("a record that does not exist is said not to", async () => {
  const { page, close } = await open(browser, refused);
  await page.goto(`${system.page}/tenders/1-1-LE26`);
  await heading(page, "No existe").waitFor();
  await close();
});

test("with a key, the page asks for it and works with the right one only", async () => {
  await system.restartBackend({ API_KEY: "sesame" });
  const { page, close } = await open(browser, refused);
  await page.goto(today());
  const field = page.getByLabel("Clave");
  await field.fill("wrong");
  await page.getByRole("button", { name: "Usar" }).click();
  await page.waitForResponse((response) => response.status() === 401);
  await field.fill("sesame");
  await page.getByRole("button", { name: "Usar" }).click();
  await page.getByRole("grid").or(heading(page, "No hay órdenes de compra en estos días")).waitFor();
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  await close();
  await system.restartBackend();
});

test("a backend that is killed while the page reads: the page goes on by itself, and nothing stored is lost", async () => {
  const { page, close } = await open(browser, refused);
  await page.goto(`${system.page}/tenders?q=aseo`);
  await page.getByRole("grid").waitFor();
  page.on("dialog", (dialog) => dialog.accept("Antes de la caída"));
  await page.getByRole("button", { name: "Guardar búsqueda" }).click();
  await page.getByRole("region", { name: "Búsquedas guardadas" }).waitFor();
  const working = [2, 3, 4, 5, 6, 7, 8].find((back) => ![0, 6].includes(new Date(Date.now() - back * 86_400_000).getUTCDay()));
  await page.goto(`${today()}?from=${dayBefore(working)}`);
  await page.getByRole("grid").waitFor();
  const many = Number(await page.getByRole("grid").getAttribute("aria-rowcount")) - 1;
  await system.world.control({ behaviour: { latency_ms: 20 } });
  await page.getByRole("button", { name: /Leer todos/ }).click();
  const readSoFar = () => page.locator(".tile dd", { hasText: ` / ${many}` }).textContent().then((text) => Number(text.split(" / ")[0]));
  while ((await readSoFar()) < many / 4) await page.waitForTimeout(100);
  await system.stopBackend("SIGKILL");
  const { calls, spent } = await system.world.control();
  await page.getByRole("status").getByText("El backend no responde").waitFor();
  assert.ok((await readSoFar()) < many);
  assert.equal(await page.getByRole("grid").count(), 1, "what had been read is still shown");
  await system.restartBackend();
  const { used } = await (await fetch(`${system.api}/api/quota`)).json();
  assert.ok(used >= Math.max(...Object.values(spent)), `${used} in the ledger, ${JSON.stringify(spent)} at the source`);
  await page.getByText(`${many} / ${many}`).waitFor({ timeout: 180_000 });
  await page.getByText("El backend no responde").waitFor({ state: "hidden" });
  const name = "v1/ordenesdecompra.json?codigo";
  // Whatever had been read is in the store: in a tab that knows nothing, reading all again asks the source for nothing.
  const before = (await system.world.control()).calls[name];
  assert.ok(before - calls[name] < many);
  await page.reload();
  await page.getByRole("grid").waitFor();
  await page.getByRole("button", { name: /Leer todos/ }).click();
  await page.getByText(`${many} / ${many}`).waitFor({ timeout: 180_000 });
  assert.equal((await system.world.control()).calls[name], before);
  assert.equal((await system.world.control()).violations, 0);
  await page.goto(`${system.page}/tenders`);
  await page.getByRole("region", { name: "Búsquedas guardadas" }).getByText("Antes de la caída").waitFor();
  await system.world.control({ behaviour: { latency_ms: 0 } });
  await close();
});

test("two tabs share saved searches", async () => {
  const first = await open(browser);
  await first.page.goto(`${system.page}/tenders`);
  await first.page.getByRole("grid").waitFor();
  const second = await first.context.newPage();
  await second.goto(`${system.page}/tenders`);
  await second.getByRole("grid").waitFor();
  first.page.on("dialog", (dialog) => dialog.accept("Mía"));
  await first.page.getByRole("button", { name: "Guardar búsqueda" }).click();
  await second.getByRole("region", { name: "Búsquedas guardadas" }).getByText("Mía").waitFor();
  await first.close();
});

test("on a Space the page finds the backend's Space by its own name", async () => {
  const { page, context, close, log } = await open(browser);
  const asked = [];
  // What Hugging Face's proxy does: HTTPS outside, HTTP inside.
  await context.route("https://owner-andesai-backend.hf.space/**", async (route) => {
    const url = new URL(route.request().url());
    asked.push(url.pathname);
    const response = await route.fetch({ url: system.api + url.pathname + url.search });
    await route.fulfill({ response });
  });
  await page.goto(`http://${SPACE}:${system.pagePort}/`);
  await page.getByRole("grid").or(heading(page, "No hay órdenes de compra en estos días")).waitFor();
  assert.ok(log.includes("[API] Using API base: https://owner-andesai-backend.hf.space"), log.join("\n"));
  assert.ok(asked.includes("/api/purchase-orders"));
  await close();
});

test("a quota that is spent is said to be, with what is stored still shown", async () => {
  const stored = fresh();
  const warm = await open(browser);
  await warm.page.goto(stored);
  await warm.page.getByRole("grid").or(heading(warm.page, "No hay órdenes de compra en estos días")).waitFor();
  await warm.close();
  await system.world.control({ behaviour: { daily_quota: 0 } });
  const { page, close } = await open(browser, refused);
  await page.goto(fresh());
  await heading(page, "Cuota agotada").waitFor();
  await page.getByText(/Se renueva a las 00:00/).waitFor();
  await page.goto(stored);
  await page.getByRole("grid").or(heading(page, "No hay órdenes de compra en estos días")).waitFor();
  await close();
});
