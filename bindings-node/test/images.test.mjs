// A local image model with random weights: images that are drawn again, and a safety checker.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import * as ayni from "ayni";

const models = mkdtempSync(join(tmpdir(), "ayni-images-"));
execFileSync(process.env.AYNI_MOCK, ["tiny-images", models]);
after(() => rmSync(models, { recursive: true }));

const opened = (more) => ayni.openImages({ backend: "local", model: join(models, "sd"), device: "cpu", ...more });

test("an image is drawn again by its receipt, and a refined one with what it was made from", async () => {
  const images = await opened();
  const [first] = (await images.generate("un faro", { steps: 3, seed: 5 })).images;
  const again = await images.replay(first.data);
  assert.deepEqual([again.max_difference, again.receipt.seed, again.image], [0, 5, first]);
  const [refined] = (await images.refine("at night", first.data, { steps: 4, seed: 9 })).images;
  const redrawn = await images.replay(refined.data, [first.data]);
  assert.deepEqual([redrawn.max_difference, redrawn.receipt.operation], [0, "refine"]);
  const code = (code) => (error) => error.code === code;
  await assert.rejects(images.replay(refined.data), code("invalid_request"));
  const other = (await (await ayni.openImages({ backend: "scripted" })).generate("a fox", { size: [8, 8] })).images[0];
  await assert.rejects(images.replay(other.data), (error) => /no receipt/.test(error.message));
  const aborted = AbortSignal.abort();
  await assert.rejects(images.replay(first.data, [], { signal: aborted }));
});

test("a safety checker says what it found, and what was done", async () => {
  const images = await opened({ safety: "blank" });
  const { safety } = await images.generate("un faro", { steps: 1 });
  assert.deepEqual(safety.map(({ flagged, blanked, concepts }) => [flagged, blanked, concepts[0].concept]), [[true, true, 1]]);
  assert.deepEqual([images.info().image_model.safety, images.info().image_model.has_safety_checker], ["blank", true]);
  assert.equal((await (await opened()).generate("un faro", { steps: 1 })).safety, undefined);
  const refusing = await opened({ safety: "refuse" });
  await assert.rejects(refusing.generate("un faro", { steps: 1 }), (error) => error.code === "content_rejected");
});
