// What holds on every page: accessibility, the bytes of scripts, narrow screens. With SHOTS it writes pictures. How soon pages
// are painted depends on the machine: `scripts/pages paint` measures it (paint.mjs).

import assert from "node:assert/strict";
import { join } from "node:path";
import test, { after, before } from "node:test";

import { accessibility, hasNoLayoutShift, launch, open, scriptBytes } from "../../testing/browser.mjs";
import { dayBefore, detailsRead, startProcurement } from "../../testing/procurement.mjs";

const MOST_SCRIPT_BYTES = 180_000;

let system;
let browser;
let paths;
before(async () => {
  [system, browser] = await Promise.all([startProcurement(), launch()]);
  const rows = async (path) => (await (await fetch(system.api + path)).json()).rows;
  const [tender] = await rows("/api/tenders");
  const [quick] = await rows("/api/quick-purchases?limit=1");
  const monitor = `/?from=${dayBefore(6)}&to=${dayBefore(2)}`;
  const [order] = await rows(`/api/purchase-orders?from=${dayBefore(6)}&to=${dayBefore(2)}`);
  paths = {
    monitor, search: "/tenders", tender: `/tenders/${tender.code}`, quick: `/quick/${quick.code}`, order: `/orders/${order.code}`,
    analysis: `/analysis?code=${tender.code}`, missing: "/tenders/1-1-LE26",
  };
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

async function settled(page, name) {
  await page.waitForLoadState("networkidle");
  if (name === "analysis") {
    await page.getByRole("button", { name: /^(Analizar|Analyse)$/ }).click();
    await page.getByText(/mock-model · /).nth(2).waitFor();
  }
}

// On narrow screens dark differs from light only in colours, which are checked on wide ones.
const LOOKS = [["wide", "light"], ["wide", "dark"], ["narrow", "light"], ...(process.env.SHOTS ? [["narrow", "dark"]] : [])];
for (const [size, theme] of LOOKS) {
  test(`nothing jumps while the monitor reads details: ${size}, ${theme}`, async () => {
    for (const reducedMotion of ["reduce", "no-preference"]) await hasNoLayoutShift(browser, system.page + paths.monitor, detailsRead, { size, theme, reducedMotion });
  });

  test(`no page has a serious fault of accessibility or is wider than the screen: ${size}, ${theme}`, async () => {
    const { page, close } = await open(browser, { size, theme, url: system.page, expected: [/404/] });
    for (const [name, path] of Object.entries(paths)) {
      await page.goto(system.page + path);
      await settled(page, name);
      assert.deepEqual(await accessibility(page), [], name);
      const [inner, whole] = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
      assert.ok(whole <= inner, `${name} is ${whole} px wide on ${inner}`);
      if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `procurement-${name}-${size}-${theme}.png`) });
    }
    await close();
  });
}

test("nothing is cut off at 360 px", async () => {
  const { page, close } = await open(browser, { viewport: { width: 360, height: 740 }, expected: [/404/] });
  for (const [name, path] of Object.entries(paths)) {
    await page.goto(system.page + path);
    await settled(page, name);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, name);
  }
  await close();
});

test("the scripts of a first visit stay below their budget", async (t) => {
  for (const name of ["monitor", "search", "tender", "analysis"]) {
    const bytes = await scriptBytes(browser, system.page + paths[name]);
    t.diagnostic(`${name}: ${bytes} bytes gzipped`);
    assert.ok(bytes > 50_000 && bytes <= MOST_SCRIPT_BYTES, `${name}: ${bytes} bytes`);
  }
});
