// Every block of JavaScript in the READMEs and the guides runs, and prints what its comments say. With AYNI_INSTALLED, a folder that
// has the packed tarballs installed, it runs with those.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import test, { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const guides = here("../../docs/guides");
const inGuides = (await readdir(guides)).filter((name) => name.endsWith(".md"));
const pages = [here("../README.md"), here("../../README.md"), ...inGuides.map((name) => `${guides}/${name}`)];
const texts = await Promise.all(pages.map((page) => readFile(page, "utf8")));
const blocks = texts.flatMap((text, page) =>
  [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
    .map(([, language, code]) => ({ language, code }))
    // The other pages have other languages too, which run elsewhere.
    .filter(({ language }) => page === 0 || language === "js"),
);
const installed = process.env.AYNI_INSTALLED;
// Beside the packages that the tests use; `ai` is installed under the names of its majors.
const folder = installed ? `${installed}/readme` : here("../node_modules/.readme");

before(async () => {
  const packages = { ai: here("../node_modules/ai-6"), ...(installed ? { zod: here("../node_modules/zod") } : { ayni: here("..") }) };
  await mkdir(`${folder}/node_modules`, { recursive: true });
  for (const [name, path] of Object.entries(packages)) {
    await rm(`${folder}/node_modules/${name}`, { force: true });
    await symlink(path, `${folder}/node_modules/${name}`);
  }
});
after(() => rm(folder, { recursive: true }));

/** What a block prints, as its comments have it: those beside a print, and lines of their own that begin as a log does. */
function expected(code) {
  const comments = code.split("\n").flatMap((line) => {
    const [, own] = /^\/\/ (\[.*)$/.exec(line) ?? [];
    const [, beside] = /console\.log\(.*?\);? ?,? ?\/\/ (.*)$/.exec(line) ?? /console\.log\(.*\), \/\/ (.*)$/.exec(line) ?? [];
    return own ? [own] : beside ? beside.split(" // ") : [];
  });
  return comments;
}

for (const [index, { language, code }] of blocks.entries()) {
  test(`block ${index + 1}: ${code.trim().split("\n")[0]}`, async () => {
    assert.equal(language, "js", "a block of another language would not run");
    const file = `${folder}/block-${index + 1}.mjs`;
    await writeFile(file, code);
    const { stdout } = await promisify(execFile)("node", [file], { env: { ...process.env, AI_SDK_LOG_WARNINGS: "false" } });
    const printed = stdout.split("\n").filter(Boolean);
    assert.deepEqual(printed.sort(), expected(code).sort());
    assert.ok(printed.length > 0, "a block that prints nothing shows nothing");
  });
}
