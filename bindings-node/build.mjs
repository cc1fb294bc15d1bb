// Compiles js/ into dist/: CommonJS, and ES modules that hand on the same objects, so that both forms share their classes.
// With the path of an addon, puts it where the tests find it: `node build.mjs [ADDON]`.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const samples = join(here, "../core/samples/models");
const require = createRequire(import.meta.url);
const manifest = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));

/** Where the entries of the package are, without their ending. */
const ENTRIES = ["index", "ai-sdk/index", "next", "browser", "browser-images"];

/** The modules for browsers. */
const BROWSER = ["browser.js", "browser-images.js", "failure.js", "generated/kinds.js", "receipts.js"];

function write(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

function compile() {
  rmSync(dist, { recursive: true, force: true });
  const tsc = join(here, "node_modules/.bin/tsc");
  for (const project of ["tsconfig.json", "tsconfig.browser.json"]) {
    execFileSync(tsc, ["-p", join(here, project)], { stdio: "inherit" });
  }
  // Only its types are used; the module itself is empty.
  for (const form of ["browser", "cjs"]) rmSync(join(dist, form, "generated/answers.js"));
  // The types beside it keep the comments.
  for (const name of BROWSER) {
    const path = join(dist, "browser", name);
    write(path, readFileSync(path, "utf8").replace(/^ *(\/\*\*[^]*?\*\/|\/\/.*)\n/gm, ""));
  }
  write(join(dist, "cjs/package.json"), '{ "type": "commonjs" }\n');
}

function wrap() {
  for (const entry of ENTRIES) {
    const made = join(dist, "esm", `${entry}.js`);
    const from = relative(dirname(made), join(dist, "cjs", `${entry}.js`)).replaceAll("\\", "/");
    const names = Object.keys(require(join(dist, "cjs", `${entry}.js`)));
    write(made, `import found from "${from}";\nexport const { ${names.join(", ")} } = found;\n`);
    write(made.replace(/js$/, "d.ts"), `export * from "${from}";\n`);
  }
}

/** The package of one platform, in a folder. */
export function platformPackage(folder, addon, platform) {
  const [os, cpu, libc] = platform.split("-");
  const file = `ayni.${platform}.node`;
  mkdirSync(folder, { recursive: true });
  // Removed first: a running process may have the old file mapped.
  rmSync(join(folder, file), { force: true });
  cpSync(addon, join(folder, file));
  const { version, license } = manifest;
  const limits = { os: [os], cpu: [cpu], ...(os === "linux" ? { libc: [libc === "musl" ? "musl" : "glibc"] } : {}) };
  const about = { name: `ayni-${platform}`, version, description: `The native part of ayni for ${platform}`, license };
  const files = { main: file, files: [file, "LICENSE-*", "THIRD-PARTY.txt"] };
  write(join(folder, "package.json"), `${JSON.stringify({ ...about, ...files, ...limits }, null, 2)}\n`);
  for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) writeFileSync(join(folder, name), readFileSync(join(here, name)));
}

/** The name of this machine's platform package, without `ayni-`. */
export function thisPlatform() {
  const { platform, arch } = process;
  if (platform === "win32") return `${platform}-${arch}-msvc`;
  if (platform !== "linux") return `${platform}-${arch}`;
  process.report.excludeNetwork = true;
  return `${platform}-${arch}-${process.report.getReport().header.glibcVersionRuntime ? "gnu" : "musl"}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  compile();
  wrap();
  // The package ships the sample models as files, once for the addons of all platforms.
  cpSync(samples, join(here, "models"), { recursive: true });
  const addon = process.argv[2];
  const platform = thisPlatform();
  if (addon) platformPackage(join(here, "node_modules", `ayni-${platform}`), addon, platform);
}
