// How soon the image studio is painted, and whether anything jumps: `scripts/pages paint`, on a machine that does nothing else.

import test, { after, before } from "node:test";

import { launch, paintsSoon } from "../../testing/browser.mjs";
import { startStudio } from "../../testing/studio.mjs";

let system;
let browser;
before(async () => {
  [system, browser] = await Promise.all([startStudio(), launch()]);
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

test("the page is painted soon, and nothing jumps, with a processor that is four times slower", (t) => paintsSoon(t, browser, "studio", () => system.page));
