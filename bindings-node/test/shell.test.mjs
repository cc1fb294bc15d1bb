import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import test from "node:test";

import * as imported from "ayni";

const require = createRequire(import.meta.url);
const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));

test("import and require give the same package", () => {
  const required = require("ayni");
  assert.equal(imported.version, required.version);
  assert.equal(imported.errorKinds, required.errorKinds);
  assert.deepEqual(Object.keys(imported).sort(), Object.keys(required).sort());
});

test("the version is the one of the package", () => {
  assert.equal(imported.version, read("../package.json").version);
});

test("the error kinds are the documented ones", () => {
  const documented = read("../../docs/reference/error-kinds.json").map(({ kind }) => kind);
  assert.deepEqual([...imported.errorKinds], documented);
});
