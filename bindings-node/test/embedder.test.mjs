import assert from "node:assert/strict";
import test from "node:test";

import * as ayni from "ayni";

test("vectors of different spaces are not compared", async () => {
  const one = await ayni.openEmbedder({ backend: "scripted" });
  const other = await ayni.openEmbedder({ backend: "scripted", model: "another" });
  const [whole, again, foreign] = [await one.embed("a"), await one.embed("a"), await other.embed("a")];
  const short = await one.embed("a", { dimensions: 8 });
  assert.equal(ayni.topK(whole, again, 1)[0].index, 0);
  assert.ok(Math.abs(ayni.similarity(whole, again) - 1) < 1e-6);
  assert.deepEqual([whole.space.dimensions, short.space.dimensions], [16, 8]);
  for (const wrong of [foreign, short]) {
    assert.throws(() => ayni.similarity(whole, wrong), ayni.InvalidRequest);
    assert.throws(() => ayni.topK(whole, wrong), /different spaces/);
  }
});
