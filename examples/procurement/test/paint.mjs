// How soon the pages are painted, and whether anything jumps, with a processor that is four times slower: `scripts/pages paint`,
// on a machine that does nothing else.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { launch, open } from "../../testing/browser.mjs";
import { startProcurement } from "../../testing/procurement.mjs";

const MOST_SHIFT = 0.05;
const MOST_PAINT_MS = 1500;

let system;
let browser;
let paths;
before(async () => {
  [system, browser] = await Promise.all([startProcurement(), launch()]);
  const [tender] = (await (await fetch(`${system.api}/api/tenders`)).json()).rows;
  const day = (back) => new Date(Date.now() - back * 86_400_000).toISOString().slice(0, 10);
  paths = { monitor: `/?from=${day(6)}&to=${day(2)}`, search: "/tenders", tender: `/tenders/${tender.code}` };
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

test("pages are painted soon, and nothing jumps, with a processor that is four times slower", async (t) => {
  for (const [name, path] of Object.entries(paths)) {
    // The best of up to eight: what else the machine does makes a visit slower, never faster.
    const visits = [];
    do visits.push(await visit(path));
    while (visits.length < 8 && visits.at(-1).paint >= MOST_PAINT_MS);
    const [paint, shift] = [Math.min(...visits.map((one) => one.paint)), Math.max(...visits.map((one) => one.shift))];
    t.diagnostic(`${name}: largest paint ${Math.round(paint)} ms, shift ${shift.toFixed(3)}`);
    assert.ok(shift <= MOST_SHIFT, `${name} shifts by ${shift}`);
    assert.ok(paint > 0 && paint < MOST_PAINT_MS, `${name} is painted after ${paint} ms`);
  }
});

/** What a first visit measures, with a processor that is four times slower. */
async function visit(path) {
  const { page, context, close } = await open(browser);
  const session = await context.newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: 4 });
  await page.addInitScript(() => {
    globalThis.measured = { shift: 0, paint: 0 };
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.measured.shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
    new PerformanceObserver((list) => (globalThis.measured.paint = list.getEntries().at(-1).startTime)).observe({ type: "largest-contentful-paint", buffered: true });
  });
  await page.goto(system.page + path);
  await page.waitForLoadState("networkidle");
  const measured = await page.evaluate(() => globalThis.measured);
  await close();
  return measured;
}
