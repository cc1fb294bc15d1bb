import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import test from "node:test";

import * as ayni from "ayni";
import * as sdk from "ayni/ai-sdk";
import * as browser from "ayni/browser";
import * as browserImages from "ayni/browser/images";
import * as next from "ayni/next";

const require = createRequire(import.meta.url);
const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));

for (const [name, imported] of Object.entries({ ayni, "ayni/ai-sdk": sdk, "ayni/browser": browser, "ayni/browser/images": browserImages, "ayni/next": next })) {
  test(`import and require give the same ${name}`, () => {
    const required = require(name);
    assert.deepEqual(Object.keys(imported).sort(), Object.keys(required).sort());
    for (const [key, value] of Object.entries(imported)) assert.equal(value, required[key], key);
  });
}

test("the version is the one of the package and of the addon", () => {
  assert.equal(ayni.version, read("../package.json").version);
  assert.equal(ayni.version, require("../native.cjs").version());
});

test("the error kinds are the documented ones, each with a class", () => {
  const documented = read("../../docs/reference/error-kinds.json").map(({ kind }) => kind);
  assert.deepEqual([...ayni.errorKinds], documented);
  assert.deepEqual(require("../native.cjs").errorKinds(), documented);
  for (const kind of documented) {
    const name = kind.replace(/(^|_)(\w)/g, (_, __, letter) => letter.toUpperCase());
    const error = new ayni[name]("x");
    assert.ok(error instanceof ayni.AyniError && error.code === kind, kind);
  }
});

test("the list of Next.js's external packages gains one", () => {
  assert.deepEqual(next.withAyni({ output: "standalone", serverExternalPackages: ["sharp"] }), {
    output: "standalone",
    serverExternalPackages: ["sharp", "ayni"],
  });
  assert.deepEqual(next.withAyni(next.withAyni()).serverExternalPackages, ["ayni"]);
});
