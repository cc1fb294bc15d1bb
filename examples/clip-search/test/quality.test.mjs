// What holds in every state of the page: accessibility, narrow screens, the bytes of scripts. With SHOTS it writes screenshots.

import assert from "node:assert/strict";
import { join } from "node:path";
import test, { after, before, beforeEach } from "node:test";

import { accessibility, launch, open, scriptBytes } from "../../testing/browser.mjs";
import { STARTING, indexed, startClipSearch } from "../../testing/clip.mjs";

const MOST_SCRIPT_BYTES = 180_000;

let system;
let browser;
before(async () => {
  [system, browser] = await Promise.all([startClipSearch({ images: 24 }), launch()]);
  await indexed(system, 24);
});
beforeEach(() => system.gate.reset());
after(async () => {
  await browser?.close();
  await system?.stop();
});

/** Every state, and what is there once it is reached. */
const states = () => [
  ["gallery", "/", ".image-grid button:nth-child(1)"],
  ["results", "/?q=w5+w6", ".score"],
  ["similar", `/?like=${system.names[2]}`, ".score"],
  ["viewer", `/?like=${system.names[2]}&open=${system.names[5]}`, "dialog[open] strong"],
  ["lost", "/?image=1", ".state h2"],
  ["asleep", "/?q=w7", ".state .number", STARTING],
  ["refused", "/?q=w8", ".state[role=alert]", { status: 401, headers: { "content-type": "application/json" }, body: "{}" }],
];

for (const [size, theme, language] of [["wide", "light", "es"], ["wide", "dark", "en"], ["narrow", "light", "es"], ["narrow", "dark", "es"]]) {
  test(`nothing serious by axe, nothing wider than the screen: ${size}, ${theme}, ${language}`, async () => {
    const { page, close } = await open(browser, { size, theme, language, url: system.page });
    for (const [name, path, there, answer] of states()) {
      system.gate.state.answer = answer ?? null;
      await page.goto(system.page + path);
      await page.locator(there).first().waitFor();
      await page.waitForFunction(() => [...document.querySelectorAll(".image-grid img")].slice(0, 4).every((image) => image.complete));
      assert.deepEqual(await accessibility(page), [], name);
      const [inner, whole] = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
      assert.ok(whole <= inner, `${name} is ${whole} px wide on ${inner}`);
      if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `clip-search-${name}-${size}-${theme}.png`) });
    }
    await close();
  });
}

test("nothing is cut off at 360 px", async () => {
  const { page, close } = await open(browser, { viewport: { width: 360, height: 740 } });
  for (const [name, path, there, answer] of states()) {
    system.gate.state.answer = answer ?? null;
    await page.goto(system.page + path);
    await page.locator(there).first().waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, name);
  }
  await close();
});

test("the scripts of a first visit stay below their budget", async (t) => {
  // The stream of the index never lets the network rest.
  const bytes = await scriptBytes(browser, `${system.page}/?q=w5`, (page) => page.locator(".score").first().waitFor());
  t.diagnostic(`${bytes} bytes gzipped`);
  assert.ok(bytes > 50_000 && bytes <= MOST_SCRIPT_BYTES, `${bytes} bytes`);
});

test("an empty folder says what to do next", async () => {
  const empty = await startClipSearch({ images: 0 });
  const { page, close } = await open(browser);
  try {
    await page.goto(empty.page);
    await page.getByText("La carpeta no tiene imágenes").waitFor();
    assert.deepEqual(await accessibility(page), []);
    await page.goto(`${empty.page}/?q=w5`);
    await page.getByText("Nada con qué comparar todavía").waitFor();
    await close();
  } finally {
    await empty.stop();
  }
});
