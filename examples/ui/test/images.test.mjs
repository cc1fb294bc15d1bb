// What the pages' images hold beyond their base, as the containers copy it, and how soon it serves.

import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import { examples, freePort, startFrontend, startStatic } from "../../testing/processes.mjs";

const MOST_BYTES = 60_000_000;
// The addon here is one for tests, several times as large as a release's; an npm package with more than this is refused.
const ADDON_BYTES = 30_000_000;
const MOST_MS = 30_000;

/** The bytes of a folder's files, a release's addon in the place of the one here; a link is none. */
function bytesOf(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.reduce((sum, { parentPath, name }) => sum + (name.endsWith(".node") ? ADDON_BYTES : statSync(join(parentPath, name)).size), 0);
}

const PAGES = {
  "procurement/frontend": ".next/standalone",
  "triage-chat/frontend": ".next/standalone",
  "clip-search/frontend": ".next/standalone",
  "image-studio/frontend": "dist",
};

for (const [folder, built] of Object.entries(PAGES)) {
  test(`${folder} adds at most 60 MB to its base image and serves within 30 s`, async (t) => {
    const bytes = bytesOf(join(examples, folder, built));
    assert.ok(bytes > 300_000 && bytes <= MOST_BYTES, `${bytes} bytes`);
    const [port, began] = [await freePort(), performance.now()];
    // Both wait until its health check's address answers.
    const running = built === "dist" ? await startStatic(folder, port, {}) : await startFrontend(folder, { port, env: { EMBEDDING_PROVIDER: "scripted" } });
    const took = performance.now() - began;
    await running.stop();
    t.diagnostic(`${(bytes / 1e6).toFixed(1)} MB, ${Math.round(took)} ms`);
    assert.ok(took < MOST_MS, `${took} ms`);
  });
}
