// How soon the pages are painted, and whether anything jumps: `scripts/pages paint`, on a machine that does nothing else.

import test, { after, before } from "node:test";

import { launch } from "../../testing/browser.mjs";
import { checkPaint } from "../../testing/paint.mjs";
import { startProcurement } from "../../testing/procurement.mjs";

let system;
let browser;
let pages;
before(async () => {
  [system, browser] = await Promise.all([startProcurement(), launch()]);
  const [tender] = (await (await fetch(`${system.api}/api/tenders`)).json()).rows;
  const day = (back) => new Date(Date.now() - back * 86_400_000).toISOString().slice(0, 10);
  const paths = { monitor: `/?from=${day(6)}&to=${day(2)}`, search: "/tenders", tender: `/tenders/${tender.code}` };
  pages = Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, system.page + path]));
});
after(async () => {
  await browser?.close();
  await system?.stop();
});

test("pages are painted soon, and nothing jumps, with a processor that is four times slower", (t) => checkPaint(t, browser, pages));
