// What users write passes the type checker, and what is wrong does not.

import { execFile } from "node:child_process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

test("uses of the package, and its models as those of the AI SDK", async () => {
  const options = ["--ignoreConfig", "--noEmit", "--strict", "--skipLibCheck", "--exactOptionalPropertyTypes", "--target", "es2022"];
  const modules = ["--module", "nodenext", "--lib", "es2023,dom,esnext.disposable", "--types", "node"];
  const files = [here("typed-use.ts"), here("typed-sdk.ts")];
  const tsc = here("../node_modules/.bin/tsc");
  await promisify(execFile)(tsc, [...options, ...modules, ...files], { cwd: here("..") }).catch((error) => {
    throw new Error(error.stdout);
  });
});
