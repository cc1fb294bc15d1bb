// Makes the packages that npm publishes: `node pack.mjs OUT ADDON [PLATFORM [NOTICE]]`, after build.mjs. OUT gets the tarball of
// `ayni` and the one of the platform that the addon is built for, this machine's by default, with NOTICE, the licences of what is
// compiled into the addon; it fails if that one is too large or needs too new a glibc. scripts/node-packages builds the addon as well.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { platformPackage, thisPlatform } from "./build.mjs";

/** The platforms with a package of their own; native.cjs names the same. */
export const PLATFORMS = [
  "linux-x64-gnu", "linux-x64-musl", "linux-arm64-gnu", "linux-arm64-musl",
  "darwin-x64", "darwin-arm64", "win32-x64-msvc",
];

/** The largest package of a platform, unpacked. */
const MOST_MEGABYTES = 30;

/** The oldest glibc that the packages for gnu run on. scripts/node-packages builds for it. */
export const GLIBC = "2.28";

/** The newest version of glibc's symbols that an addon asks for; undefined for other platforms. */
export function glibcOf(addon) {
  const named = readFileSync(addon).toString("latin1").matchAll(/\0GLIBC_(\d+)\.(\d+)(?:\.\d+)?(?=\0)/g);
  const found = Array.from(named, ([, major, minor]) => [Number(major), Number(minor)]);
  return found.sort((a, b) => a[0] - b[0] || a[1] - b[1]).at(-1)?.join(".");
}

/** What is wrong with the package of a platform, as npm would publish it; undefined if nothing is. */
export function fault({ megabytes, glibc }) {
  if (megabytes > MOST_MEGABYTES) return `it has ${megabytes.toFixed(1)} MB unpacked; the limit is ${MOST_MEGABYTES}`;
  const minor = (version) => Number(version.split(".")[1]);
  if (glibc !== undefined && minor(glibc) > minor(GLIBC)) return `it needs glibc ${glibc}; the limit is ${GLIBC}`;
  return undefined;
}

const here = dirname(fileURLToPath(import.meta.url));

function packed(folder, out) {
  const told = execFileSync("npm", ["pack", "--json", "--pack-destination", out], { cwd: folder, encoding: "utf8" });
  const [{ filename, unpackedSize }] = Object.values(JSON.parse(told));
  return { path: join(out, filename), megabytes: unpackedSize / 1e6 };
}

/** Packs both. The main package names `platforms`: the tests name their own alone, so that nobody looks for packages that are
 * not published. */
export function pack(out, addon, platform = thisPlatform(), { platforms = PLATFORMS, notice } = {}) {
  const work = mkdtempSync(join(tmpdir(), "ayni-pack-"));
  try {
    mkdirSync(out, { recursive: true });
    const main = join(work, "ayni");
    mkdirSync(main);
    for (const name of ["dist", "models", "bin.cjs", "native.cjs", "README.md"]) cpSync(join(here, name), join(main, name), { recursive: true });
    for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) writeFileSync(join(main, name), readFileSync(join(here, name)));
    const { devDependencies: _, scripts: __, ...manifest } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
    manifest.optionalDependencies = Object.fromEntries(platforms.map((name) => [`ayni-${name}`, manifest.version]));
    writeFileSync(join(main, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
    const native = join(work, "native");
    const stripped = join(work, "ayni.node");
    cpSync(addon, stripped);
    // What only a debugger reads.
    if (process.platform === "linux" && platform === thisPlatform()) execFileSync("strip", ["--strip-unneeded", stripped]);
    platformPackage(native, stripped, platform);
    if (notice) cpSync(notice, join(native, "THIRD-PARTY.txt"));
    return [packed(main, out), { ...packed(native, out), glibc: glibcOf(stripped) }];
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [out, addon, platform = thisPlatform(), notice] = process.argv.slice(2);
  if (!out || !addon || !PLATFORMS.includes(platform)) {
    console.error(`usage: node pack.mjs OUT ADDON [${PLATFORMS.join("|")} [NOTICE]]`);
    process.exit(2);
  }
  for (const made of pack(resolve(out), addon, platform, { notice })) {
    const needs = made.glibc === undefined ? "" : `, glibc ${made.glibc} or newer`;
    console.log(`${made.path}: ${made.megabytes.toFixed(1)} MB unpacked${needs}`);
    const wrong = fault(made);
    if (wrong !== undefined) {
      console.error(`error: ${made.path}: ${wrong}`);
      process.exitCode = 1;
    }
  }
}
