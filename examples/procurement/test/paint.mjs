// How soon the pages are painted, and whether anything jumps, with a processor that is four times slower: `scripts/pages paint`,
// on a machine that does nothing else.

import test, { after, before } from "node:test";

import { launch, paintsSoon, rests } from "../../testing/browser.mjs";
import { dayBefore, detailsRead, startProcurement } from "../../testing/procurement.mjs";

let system;
let browser;
let tender;
before(async () => {
  [system, browser] = await Promise.all([startProcurement(), launch()]);
  [tender] = (await (await fetch(`${system.api}/api/tenders`)).json()).rows;
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

let days = 2;
/** The monitor of five days that nothing has been read of. */
const unread = () => system.page + `/?from=${dayBefore(days + 4)}&to=${dayBefore((days += 5) - 5)}`;

for (const [size, theme] of [["wide", "light"], ["wide", "dark"], ["narrow", "light"], ["narrow", "dark"]]) {
  test(`the monitor is painted soon and nothing jumps, nothing or all of it stored: ${size}, ${theme}`, async (t) => {
    let seen;
    await paintsSoon(t, browser, "monitor, nothing stored", () => (seen = unread()), detailsRead, { size, theme });
    await paintsSoon(t, browser, "monitor, all stored", () => seen, detailsRead, { size, theme });
  });
}

test("the other pages are painted soon, and nothing jumps", async (t) => {
  const has = (place) => async (page) => {
    await page.locator(place).first().waitFor();
    await rests(page);
  };
  await paintsSoon(t, browser, "search", () => `${system.page}/tenders`, has("[role=grid]"));
  await paintsSoon(t, browser, "tender", () => `${system.page}/tenders/${tender.code}`, has("h1"));
});
