// How soon the page is painted, and whether anything jumps: `scripts/pages paint`, on a machine that does nothing else.

import test, { after, before } from "node:test";

import { launch, paintsSoon } from "../../testing/browser.mjs";
import { indexed, startClipSearch } from "../../testing/clip.mjs";

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
  // The stream of the index never lets the network rest.
  const settled = async (page) => {
    await page.locator(".image-grid button").first().waitFor();
    await page.waitForTimeout(1500);
  };
  for (const [name, path] of [["gallery", "/"], ["results", "/?q=w5"]]) await paintsSoon(t, browser, name, () => system.page + path, settled);
});
