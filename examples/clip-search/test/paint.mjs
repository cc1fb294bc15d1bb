// How soon the page is painted, and whether anything jumps: `scripts/pages paint`, on a machine that does nothing else.

import test, { after, before } from "node:test";

import { launch } from "../../testing/browser.mjs";
import { indexed, startClipSearch } from "../../testing/clip.mjs";
import { checkPaint } from "../../testing/paint.mjs";

let system;
let browser;
before(async () => {
  [system, browser] = await Promise.all([startClipSearch({ images: 24 }), launch()]);
  await indexed(system, 24);
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

test("the page is painted soon, and nothing jumps, with a processor that is four times slower", async (t) => {
  const pages = { gallery: `${system.page}/`, results: `${system.page}/?q=w5` };
  // The stream of the index never lets the network rest.
  await checkPaint(t, browser, pages, async (page) => {
    await page.locator(".image-grid button").first().waitFor();
    await page.waitForTimeout(1500);
  });
});
