// The index over HTTP: what is in the folder is found, nothing is embedded twice, and nothing stored is lost by kill -9.

import assert from "node:assert/strict";
import { appendFileSync, copyFileSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { after, before, beforeEach } from "node:test";

import { STARTING, indexState, indexed, startClipSearch } from "../../testing/clip.mjs";
import { drawLandscapes, landscape } from "../../testing/landscapes.mjs";

let system;
before(async () => {
  system = await startClipSearch();
});
beforeEach(() => system.gate.reset());
after(() => system?.stop());

const images = async () => (await (await fetch(`${system.page}/api/images`)).json()).images;

/** The event that a search ends with. */
async function search(body, page = system.page) {
  const response = await fetch(`${page}/api/search`, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
  if (!response.ok) return { status: response.status, ...(await response.json()) };
  const events = (await response.text()).split("\n\n").filter((event) => event.startsWith("event:"));
  return { events: events.map((event) => event.split("\n")[0].slice(7)), ...JSON.parse(events.at(-1).split("data: ")[1]) };
}

/** How many vectors the file holds. */
function stored() {
  const bytes = readFileSync(system.indexFile);
  const head = bytes.indexOf("\n") + 1;
  const { dimensions } = JSON.parse(bytes.toString("utf8", "ayni vectors 1 ".length, head));
  return (bytes.length - head) / (32 + 4 * dimensions + 8);
}

test("new, equal, changed and deleted images are noticed, and no content is embedded twice", async () => {
  const state = await indexed(system, 12);
  assert.equal(state.images, 12);
  assert.equal(system.gate.images(), 12);
  assert.match(state.model, /tiny-clip/);
  const [first, second, third] = system.names;
  copyFileSync(join(system.folder, first), join(system.folder, "copia.png"));
  await indexed(system, 13);
  assert.equal(system.gate.images(), 12, "a copy has the vector of its content");
  writeFileSync(join(system.folder, second), landscape(900));
  await indexState(system, () => system.gate.images() === 13);
  await indexed(system, 13);
  rmSync(join(system.folder, third));
  await indexed(system, 12);
  assert.ok(!(await images()).some(({ name }) => name === third));
  assert.equal(system.gate.images(), 13);
  rmSync(join(system.folder, "copia.png"));
  await indexed(system, 11);
});

test("a text and an image find images; an image of the folder finds the others without asking the service", async () => {
  const byText = await search({ text: "w5 w6 w7" });
  assert.deepEqual([byText.events, byText.matches.length, byText.searched], [["found"], 11, 11]);
  const scores = byText.matches.map(({ score }) => score);
  assert.deepEqual(scores, [...scores].sort((a, b) => b - a));
  const name = system.names[4];
  const byImage = await search({ image: readFileSync(join(system.folder, name)).toString("base64"), most: 3 });
  assert.equal(byImage.matches[0].name, name);
  assert.ok(byImage.matches[0].score > 0.999 && byImage.matches.length === 3);
  const asked = system.gate.seen.length;
  const similar = await search({ name });
  assert.equal(system.gate.seen.length, asked);
  assert.deepEqual(similar.matches.slice(0, 2).map((match) => match.name), byImage.matches.slice(1).map((match) => match.name));
});

test("what the service would score is what the page scores", async () => {
  // By the service itself and by hand: the cosine of its two vectors.
  const ask = async (path, body) => {
    const headers = { "content-type": "application/json", "x-api-key": "clip-key" };
    return (await (await fetch(`${system.api}${path}`, { method: "POST", body: JSON.stringify(body), headers })).json()).embedding;
  };
  const name = system.names[6];
  const image = await ask("/embed/image", { image: readFileSync(join(system.folder, name)).toString("base64") });
  const text = await ask("/embed/text", { text: "w9 w3" });
  const expected = image.reduce((sum, value, at) => sum + value * text[at], 0);
  const { matches } = await search({ text: "w9 w3" });
  assert.ok(Math.abs(matches.find((match) => match.name === name).score - expected) < 1e-5);
});

test("images that cannot be read are named with why, and the others are indexed", async () => {
  const whole = landscape(901);
  const bad = { "cortada.png": whole.subarray(0, whole.length / 2), "texto.png": Buffer.from("hola"), "nada.jpg": Buffer.alloc(0) };
  for (const [name, bytes] of Object.entries(bad)) writeFileSync(join(system.folder, name), bytes);
  const state = await indexState(system, ({ unreadable, running }) => unreadable.length === 3 && !running);
  assert.deepEqual(state.unreadable.map(({ name }) => name).sort(), ["cortada.png", "nada.jpg", "texto.png"]);
  assert.ok(state.unreadable.every(({ reason }) => reason.length > 5 && !reason.includes("\n")));
  assert.deepEqual([state.indexed, state.problem], [11, null]);
  for (const name of Object.keys(bad)) rmSync(join(system.folder, name));
  await indexState(system, ({ unreadable }) => unreadable.length === 0);
});

test("kill -9 of the pages' server in the middle: what was stored stays, the rest follows", async () => {
  const earlier = system.gate.images();
  system.gate.state.delayMs = 150;
  drawLandscapes(system.folder, 30, 100);
  await indexState(system, (state) => state.images === 41 && state.indexed >= 19 && state.indexed < 41);
  await system.stopPages("SIGKILL");
  const [kept, asked] = [stored(), system.gate.images()];
  assert.ok(kept >= 19);
  system.gate.reset();
  await system.restartPages();
  await indexed(system, 41);
  // The vectors of two images that are gone or were changed may still be in the file.
  assert.ok(system.gate.images() - asked <= 41 - (kept - 2), `${system.gate.images() - asked} were embedded after ${kept} had been stored`);
  assert.ok(system.gate.images() - earlier <= 30 + 8, "at most the batch that was cut is embedded twice");
});

test("a row that was cut short is dropped, and only its image is embedded again", async () => {
  await system.stopPages("SIGKILL");
  const asked = system.gate.images();
  truncateSync(system.indexFile, statSync(system.indexFile).size - 5);
  await system.restartPages();
  await indexed(system, 41);
  assert.equal(system.gate.images() - asked, 1);
  await system.stopPages("SIGKILL");
  appendFileSync(system.indexFile, Buffer.alloc(500, 7));
  await system.restartPages();
  await indexed(system, 41);
  assert.equal(system.gate.images() - asked, 1);
});

test("a service that is killed while it indexes is said to be down, and indexing goes on once it is back", async () => {
  const earlier = system.gate.images();
  system.gate.state.delayMs = 100;
  drawLandscapes(system.folder, 20, 200);
  await indexState(system, (state) => state.running && state.indexed >= 49);
  await system.stopService("SIGKILL");
  const { problem } = await indexState(system, (state) => state.problem !== null);
  assert.ok(["unavailable", "cold_start", "interrupted"].includes(problem.kind), problem.kind);
  const failed = await search({ text: "w1" });
  assert.equal(failed.events.at(-1), "error");
  assert.equal(failed.error.backend, "clip_service");
  // An image of the folder needs no service.
  assert.equal((await search({ name: system.names[0] })).events.at(-1), "found");
  await system.restartService();
  await indexed(system, 61);
  assert.ok(system.gate.images() - earlier < 20 * 3);
});

test("another model at the service: all is indexed again, and that is said", async () => {
  const before = await indexState(system, ({ model, running }) => model !== null && !running);
  await system.restartService(system.otherModel());
  const found = await search({ text: "w4" });
  assert.match(found.model, /other-clip/);
  const state = await indexState(system, ({ indexed, running, model }) => indexed === before.images && !running && /other-clip/.test(model));
  assert.equal(state.replaced, before.model);
  assert.match(readFileSync(system.indexFile, "utf8").split("\n")[0], /^ayni vectors 1 .*other-clip/);
  assert.equal(stored(), before.images);
});

test("a Space that starts is waited for, and a search says so", async () => {
  system.gate.state.answer = STARTING;
  setTimeout(() => system.gate.reset(), 6000);
  const found = await search({ text: "w2" });
  assert.ok(found.events.includes("waiting"), `${found.events}`);
  assert.equal(found.events.at(-1), "found");
});

test("requests of the wrong form are refused in one sentence, and no path leads out of the folder", async () => {
  const post = (path, body, type) => fetch(system.page + path, { method: "POST", body, headers: { "content-type": type } });
  const json = "application/json";
  const wrong = [
    ["/api/search", "{", json], ["/api/search", "[]", json], ["/api/search", "{}", json], ["/api/search", '{"text": ""}', json], ["/api/search", '{"text": 5}', json],
    ["/api/search", '{"text": "a", "name": "b"}', json], ["/api/search", '{"text": "a", "most": 0}', json], ["/api/search", '{"image": ""}', json], ["/api/search", '{"text": "a"}', "text/plain"],
    ["/api/images?name=a.png", "hola", "image/png"], ["/api/images?name=a.png", landscape(1), "text/plain"],
  ];
  for (const [path, body, type] of wrong) {
    const response = await post(path, body, type);
    assert.ok(response.status >= 400 && response.status < 500, `${path} ${body.slice(0, 30)}: ${response.status}`);
    assert.match((await response.json()).detail, /^[^\n]{5,}$/);
  }
  assert.equal((await search({ name: "no-hay.png" })).error.kind, "not_found");
  for (const path of ["..%2fvectors", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/vectors", ".vectors", "x%00.png"]) {
    assert.equal((await fetch(`${system.page}/api/images/${path}`)).status, 404, path);
  }
  const { name, hash } = (await images())[0];
  const shown = await fetch(`${system.page}/api/images/${name}?v=${hash.slice(0, 16)}`);
  assert.deepEqual([shown.headers.get("content-type"), shown.headers.get("x-content-type-options")], ["image/png", "nosniff"]);
  assert.match(shown.headers.get("cache-control"), /immutable/);
});

test("an upload is stored under a safe name, once, and never in place of another", async () => {
  const send = async (name, bytes) =>
    (await (await fetch(`${system.page}/api/images?name=${encodeURIComponent(name)}`, { method: "POST", body: bytes, headers: { "content-type": "image/png" } })).json()).name;
  const before = (await images()).length;
  assert.equal(await send("../../fuera/ñandú.png", landscape(300)), "ñandú.png");
  assert.equal(await send("otra.png", landscape(300)), "ñandú.png");
  assert.equal(await send("Ñandú.PNG", landscape(301)), "Ñandú (2).png");
  assert.equal(await send("...", landscape(302)), "image.png");
  assert.equal(await send("foto.exe", landscape(303)), "foto.png");
  await indexed(system, before + 4);
  // Whoever is refused while sending may see the answer, or only that the connection ends.
  const large = await fetch(`${system.page}/api/images?name=a.png`, { method: "POST", body: Buffer.alloc(21 << 20), headers: { "content-type": "image/png" } }).catch(() => null);
  assert.ok(large === null || large.status === 413, `${large?.status}`);
  assert.equal((await images()).length, before + 4);
});

test("a model in the process of the pages gives the scores that the service gives", async () => {
  const local = await startClipSearch({ provider: "local" });
  const hosted = await startClipSearch();
  try {
    assert.equal((await indexed(local, 12)).backend, "local");
    assert.equal((await indexed(hosted, 12)).backend, "clip_service");
    const [mine, theirs] = [await search({ text: "w5 w6" }, local.page), await search({ text: "w5 w6" }, hosted.page)];
    assert.deepEqual(mine.matches.map(({ name }) => name), theirs.matches.map(({ name }) => name));
    for (const [at, { score }] of mine.matches.entries()) assert.ok(Math.abs(score - theirs.matches[at].score) < 1e-5);
  } finally {
    await Promise.all([local.stop(), hosted.stop()]);
  }
});

for (const [what, env, sentence] of [
  ["no provider", { EMBEDDING_PROVIDER: "" }, /EMBEDDING_PROVIDER is not set; valid: /],
  ["no address", { CLIP_SERVICE_URL: "" }, /CLIP_SERVICE_URL is not set/],
  ["a key for the page", { API_KEY: "geheim" }, /API_KEY does not protect the page/],
]) {
  test(`settings that are wrong are said at once: ${what}`, async () => {
    const wrong = await startClipSearch({ images: 0, env });
    try {
      const response = await fetch(`${wrong.page}/api/images`);
      const { error } = await response.json();
      assert.deepEqual([response.status, error.kind], [501, "config_invalid"]);
      assert.match(error.message, sentence);
      assert.ok(wrong.lines().some((line) => sentence.test(line)), "it is in the log too");
    } finally {
      await wrong.stop();
    }
  });
}
