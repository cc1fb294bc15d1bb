// The packed tarballs in empty folders: scripts of both kinds, TypeScript, vitest, the command line.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { platformPackage, thisPlatform } from "../build.mjs";
import { GLIBC, PLATFORMS, fault, glibcOf } from "../pack.mjs";
import { project, run } from "./projects.mjs";

const TSC = fileURLToPath(new URL("../node_modules/.bin/tsc", import.meta.url));
const VERSIONS = JSON.parse(await readFile(new URL("../package.json", import.meta.url))).devDependencies;

const script = (load) => `${load}
async function main() {
  await using embedder = await openEmbedder({ backend: "scripted" });
  console.log((await embedder.embed(["hola", "hello"])).count);
}
main();
`;
// Node 20 has no \`await using\` of its own.
const plain = (text) => text.replace("await using embedder", "const embedder");

test("an ES module and a CommonJS script", async (t) => {
  const folder = await project(t, {
    "a.mjs": plain(script('import { openEmbedder } from "ayni";')),
    "b.cjs": plain(script('const { openEmbedder } = require("ayni");')),
    "c.cjs": "console.log(performance.now() - (() => { const t = performance.now(); require('ayni'); return t; })());",
  });
  assert.equal(await run(folder, "node", "a.mjs"), "2\n");
  assert.equal(await run(folder, "node", "b.cjs"), "2\n");
  assert.match(await run(folder, "npx", "ayni", "--version"), /^ayni \d/);
  assert.match(await run(folder, "npx", "ayni", "doctor", "--offline"), /native part +loaded/);
  const sample = 'require("ayni").openEmbedder("tiny:text").then((one) => one.embed("hola")).then((found) => console.log(found.width))';
  assert.match(await run(folder, "node", "-e", sample), /^\d+$/m);
  const times = [];
  for (let index = 0; index < 3; index++) times.push(Number(await run(folder, "node", "c.cjs")));
  assert.ok(Math.min(...times) < 50, `require takes ${times} ms`);

  // What edge runtimes and bundlers for browsers take in its place.
  for (const condition of ["edge-light", "workerd", "browser"]) {
    const code = 'import("ayni").then((found) => console.log(typeof found.getApiBase, typeof found.openEmbedder))';
    assert.equal(await run(folder, "node", "-C", condition, "-e", code), "function undefined\n");
  }

  // Two copies of the package in one process.
  await cp(`${folder}/node_modules`, `${folder}/other/node_modules`, { recursive: true });
  const both = `const ones = [require("./node_modules/ayni"), require("./other/node_modules/ayni")];
    Promise.all(ones.map(async (one) => (await (await one.openEmbedder({ backend: "scripted" })).embed("a")).count)).then((counts) => console.log(counts.join(), ones[0] === ones[1]));`;
  assert.equal(await run(folder, "node", "-e", both), "1,1 false\n");

  // What `npm install --omit=optional` leaves.
  const [platform] = (await readdir(`${folder}/node_modules`)).filter((name) => name.startsWith("ayni-"));
  await rm(`${folder}/node_modules/${platform}`, { recursive: true });
  await assert.rejects(run(folder, "node", "a.mjs"), new RegExp(`the package ${platform} is missing`));
  assert.match(await run(folder, "npx", "ayni", "--version"), /^ayni \d/);
});

test("TypeScript, strict, in both kinds of modules", async (t) => {
  const code = await readFile(new URL("typed-use.ts", import.meta.url), "utf8");
  const options = { strict: true, noEmit: true, exactOptionalPropertyTypes: true, lib: ["es2023", "dom", "esnext.disposable"], types: ["node"] };
  const compilerOptions = { ...options, module: "nodenext", target: "es2022" };
  const folder = await project(
    t,
    { "a.mts": code, "b.cts": code, "tsconfig.json": JSON.stringify({ compilerOptions, files: ["a.mts", "b.cts"] }) },
    ...["@types/node", "zod"].map((name) => `${name}@${VERSIONS[name]}`),
  );
  await run(folder, TSC, "-p", ".");
});

test("vitest", async (t) => {
  const code = `import { openChat } from "ayni"; import { expect, test } from "vitest";
test("scripted", async () => {
  const chat = await openChat({ backend: "scripted", replies: [{ text: "hola" }] });
  expect((await chat.chat("x")).text).toBe("hola");
});`;
  const folder = await project(t, { "a.test.js": code }, "vitest@4.1.12");
  assert.match(await run(folder, "npx", "vitest", "run"), /1 passed/);
});

test("a service of the command line answers, and ends when it is told to", async (t) => {
  const folder = await project(t, { "config.json": '{ "backend": "scripted" }' });
  const given = ["node_modules/ayni/bin.cjs", "serve", "clip", "--config", "config.json", "--port", "0"];
  const server = spawn("node", given, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  t.after(() => server.kill("SIGKILL"));
  let url;
  for await (const line of createInterface(server.stderr)) {
    [url] = /http:[^"]+/.exec(line) ?? [];
    if (url) break;
  }
  while ((await fetch(`${url}/ready`)).status !== 200);
  const body = JSON.stringify({ text: "hola" });
  const headers = { "content-type": "application/json" };
  const found = await (await fetch(`${url}/embed/text`, { method: "POST", body, headers })).json();
  assert.equal(found.embedding.length, 16);
  const large = await fetch(`${url}/embed/text`, { method: "POST", body: "x".repeat(21 << 20), headers });
  assert.equal(large.status, 413);
  server.kill("SIGTERM");
  assert.deepEqual(await once(server, "exit"), [0, null]);
});

test("where a package is missing the loader says which one", async () => {
  const loader = fileURLToPath(new URL("../native.cjs", import.meta.url));
  for (const [platform, arch, told] of [["darwin", "arm64", /package ayni-darwin-arm64 is missing/], ["win32", "x64", /package ayni-win32-x64-msvc is missing/], ["freebsd", "x64", /no native part for freebsd-x64/]]) {
    const as = (name, value) => `Object.defineProperty(process, "${name}", { value: "${value}" });`;
    await assert.rejects(run(".", "node", "-e", `${as("platform", platform)}${as("arch", arch)}require(${JSON.stringify(loader)})`), told);
  }
});

test("the loader names the packages that are made", async () => {
  const loader = await readFile(new URL("../native.cjs", import.meta.url), "utf8");
  assert.deepEqual([...loader.matchAll(/require\("ayni-([\w-]+)"\)/g)].map(([, name]) => name), PLATFORMS);
  assert.ok(loader.split("\n").length <= 45);
});

test("loader, packages and recipes are about the same seven platforms", async (t) => {
  const recipe = await readFile(new URL("../../scripts/platforms", import.meta.url), "utf8");
  assert.deepEqual(/^platforms=\((.*)\)$/m.exec(recipe)[1].split(" "), PLATFORMS);
  assert.equal(/^glibc=(.*)$/m.exec(recipe)[1], GLIBC);
  const triples = Object.fromEntries([...recipe.matchAll(/^ {4}([\w-]+)\) triple=([\w-]+) ;;$/gm)].map(([, name, triple]) => [name, triple]));
  assert.deepEqual(Object.keys(triples).sort(), [...PLATFORMS].sort());
  const folder = await mkdtemp(join(tmpdir(), "ayni-platforms-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url)));
  const cpus = { x64: "x86_64", arm64: "aarch64" };
  for (const platform of PLATFORMS) {
    const [os, cpu, abi] = platform.split("-");
    platformPackage(join(folder, platform), process.env.AYNI_ADDON, platform);
    const made = JSON.parse(await readFile(join(folder, platform, "package.json")));
    const libc = { gnu: ["glibc"], musl: ["musl"] }[abi];
    assert.deepEqual([made.name, made.version, made.os, made.cpu, made.libc], [`ayni-${platform}`, version, [os], [cpu], libc]);
    assert.ok((await readdir(join(folder, platform))).includes(made.main) && made.files.includes(made.main));
    const system = { linux: `unknown-linux-${abi}`, darwin: "apple-darwin", win32: "pc-windows-msvc" }[os];
    assert.equal(triples[platform], `${cpus[cpu]}-${system}`);
  }
});

test("a package that is too large or needs too new a glibc is refused", async (t) => {
  if (!thisPlatform().endsWith("-gnu")) return t.skip("this machine has no glibc");
  const wanted = glibcOf(process.env.AYNI_ADDON);
  // What binutils says of the same file.
  const listed = [...(await run(".", "readelf", "--version-info", process.env.AYNI_ADDON)).matchAll(/Name: GLIBC_2\.(\d+)/g)];
  assert.equal(wanted, `2.${Math.max(...listed.map(([, minor]) => Number(minor)))}`);
  assert.equal(fault({ megabytes: 29, glibc: GLIBC }), undefined);
  assert.equal(fault({ megabytes: 29 }), undefined);
  assert.match(fault({ megabytes: 31, glibc: GLIBC }), /31\.0 MB/);
  assert.match(fault({ megabytes: 29, glibc: "2.34" }), /needs glibc 2\.34/);
});

test("the browser's parts are small and hold nothing of Node.js", async () => {
  const parts = { "browser.js": 5000, "failure.js": 5000, "generated/kinds.js": 5000, "browser-images.js": 4000, "receipts.js": 4000 };
  const sizes = { 4000: 0, 5000: 0 };
  for (const [name, most] of Object.entries(parts)) {
    const text = await readFile(new URL(`../dist/browser/${name}`, import.meta.url));
    assert.doesNotMatch(text.toString(), /node:|require\(|process\./);
    sizes[most] += gzipSync(text).byteLength;
  }
  for (const [most, size] of Object.entries(sizes)) assert.ok(size <= most, `${size} bytes of ${most}`);
  const names = await readdir(new URL("../dist/browser/", import.meta.url), { recursive: true });
  assert.deepEqual(names.filter((name) => name.endsWith(".js")).sort(), Object.keys(parts).sort());
});
