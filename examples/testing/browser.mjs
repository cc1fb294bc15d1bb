// A browser for the tests: Debian's Chromium. Whatever a page writes to the console as an error fails its test.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";

import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

export const sizes = { wide: { width: 1440, height: 900 }, narrow: { width: 390, height: 844 } };

export function launch(args = []) {
  return chromium.launch({ executablePath, args: ["--no-sandbox", ...args] });
}

/** A page in a context of its own. `expected` are patterns of errors that the test provokes. */
export async function open(browser, { size = "wide", theme, language, expected = [], url, ...options } = {}) {
  const context = await browser.newContext({
    viewport: sizes[size], hasTouch: size === "narrow", isMobile: size === "narrow", locale: "es-CL", timezoneId: "America/Santiago",
    reducedMotion: "reduce", acceptDownloads: true, ...options,
  });
  const cookies = Object.entries({ theme, language }).filter(([, value]) => value);
  if (cookies.length) await context.addCookies(cookies.map(([name, value]) => ({ name, value, url })));
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const [errors, log] = [[], []];
  page.on("console", (message) => {
    log.push(message.text());
    if (message.type() === "error" && !expected.some((pattern) => pattern.test(message.text()))) errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(error.message));
  return {
    page,
    context,
    log,
    async close() {
      await context.close();
      assert.deepEqual(errors, [], "the page reported errors");
    },
  };
}

/** Waits until the page's grid has so many rows. */
export const showsRows = (page, many) => page.waitForFunction((rows) => document.querySelector("[role=grid]")?.getAttribute("aria-rowcount") === String(rows), many + 1);

/** What axe finds serious or critical. */
export async function accessibility(page) {
  // Colours of a button that has just become usable change one after the other within a frame.
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`).join(" | ")}`);
}

/** Waits until the page asks for nothing more; a page with an open stream never does. */
export const rests = (page) => page.waitForLoadState("networkidle");

/** The bytes of scripts that a page loads first, gzipped. `settled` waits until nothing more comes. */
export async function scriptBytes(browser, url, settled = rests) {
  const { page, close } = await open(browser);
  const bodies = new Map();
  page.on("response", (response) => {
    if (response.request().resourceType() === "script") bodies.set(response.url(), response.body().catch(() => Buffer.alloc(0)));
  });
  await page.goto(url);
  await settled(page);
  let bytes = 0;
  for (const body of bodies.values()) bytes += gzipSync(await body).length;
  await close();
  return bytes;
}

/** The text of what a click downloads. */
export async function downloaded(page, click) {
  const [download] = await Promise.all([page.waitForEvent("download"), click()]);
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  return { name: download.suggestedFilename(), bytes: Buffer.concat(chunks) };
}

const MOST_SHIFT = 0.05;
const MOST_PAINT_MS = 1500;

/** Fails unless a page is painted soon and nothing jumps, with a processor that is four times slower. `urlOf` gives each visit its address. */
export async function paintsSoon(t, browser, name, urlOf, settled = rests, options = {}) {
  // The best of up to eight: what else the machine does makes a visit slower, never faster.
  const visits = [];
  do visits.push(await visit(browser, urlOf(visits.length), settled, { slower: 4, ...options }));
  while (visits.length < 8 && visits.at(-1).paint >= MOST_PAINT_MS);
  const [paint, shift] = [Math.min(...visits.map((one) => one.paint)), Math.max(...visits.map((one) => one.shift))];
  const rows = Math.min(...visits.map((one) => one.rows ?? Infinity));
  t.diagnostic(`${name}: largest paint ${Math.round(paint)} ms, shift ${shift.toFixed(3)}${rows < Infinity ? `, rows after ${Math.round(rows)} ms` : ""}`);
  assert.ok(shift <= MOST_SHIFT, `${name} shifts by ${shift}`);
  assert.ok(paint > 0 && paint < MOST_PAINT_MS, `${name} is painted after ${paint} ms`);
}

/** Fails when a page has layout shifts until it has settled. */
export async function hasNoLayoutShift(browser, url, settled, options) {
  const { shift, moved } = await visit(browser, url, settled, options);
  assert.ok(shift <= MOST_SHIFT, `${url} shifts by ${shift}: ${moved.join(", ")}`);
}

/** What a first visit measures, with a processor that is `slower` as many times. */
async function visit(browser, url, settled, { slower = 1, ...options }) {
  const { page, context, close } = await open(browser, { url, ...options });
  const session = await context.newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: slower });
  await page.addInitScript(() => {
    globalThis.measured = { shift: 0, paint: 0, moved: [] };
    new PerformanceObserver((list) => {
      for (const { hadRecentInput, value, sources } of list.getEntries()) {
        if (hadRecentInput) continue;
        globalThis.measured.shift += value;
        globalThis.measured.moved.push(`${value.toFixed(4)} ${sources.map(({ node }) => node?.className || node?.nodeName).join(" ")}`);
      }
    }).observe({ type: "layout-shift", buffered: true });
    // When a page with a grid has its rows, which may well be after the largest paint.
    const rows = new MutationObserver(() => {
      if (!document.querySelector("[role=grid]")) return;
      globalThis.measured.rows = performance.now();
      rows.disconnect();
    });
    rows.observe(document, { childList: true, subtree: true });
    new PerformanceObserver((list) => (globalThis.measured.paint = list.getEntries().at(-1).startTime)).observe({ type: "largest-contentful-paint", buffered: true });
  });
  await page.goto(url);
  await settled(page);
  // A page that is made in the browser may have nothing yet.
  await page.waitForFunction(() => globalThis.measured.paint > 0);
  // What comes last is measured once it is drawn.
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn, 50))));
  const measured = await page.evaluate(() => globalThis.measured);
  await close();
  return measured;
}
