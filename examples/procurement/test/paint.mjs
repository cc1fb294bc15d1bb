// How soon the pages are painted, and whether anything jumps, with a processor that is four times slower: `scripts/pages paint`,
// on a machine that does nothing else.

import test, { after, before } from "node:test";

import { launch, paintsSoon } from "../../testing/browser.mjs";
import { dayBefore, startProcurement } from "../../testing/procurement.mjs";

let system;
let browser;
let paths;
before(async () => {
  [system, browser] = await Promise.all([startProcurement(), launch()]);
  const [tender] = (await (await fetch(`${system.api}/api/tenders`)).json()).rows;
  paths = { monitor: `/?from=${dayBefore(6)}&to=${dayBefore(2)}`, search: "/tenders", tender: `/tenders/${tender.code}` };
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

test("pages are painted soon, and nothing jumps, with a processor that is four times slower", async (t) => {
  for (const [name, path] of Object.entries(paths)) await paintsSoon(t, browser, name, system.page + path);
});
