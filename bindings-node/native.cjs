"use strict";
// The only file that touches the addon. The names of the packages are literal, so that bundlers and tracers find them.

const { readFileSync } = require("node:fs");
const { join } = require("node:path");

function usesMusl() {
  try {
    return readFileSync("/usr/bin/ldd", "utf8").includes("musl");
  } catch {
    // Without that file the loader of the running process tells. The report would look up host names otherwise.
    process.report.excludeNetwork = true;
    const { header, sharedObjects } = process.report.getReport();
    return !header.glibcVersionRuntime && sharedObjects.some((path) => path.includes("musl"));
  }
}

function load(platform) {
  switch (platform) {
    case "linux-x64-gnu": return require("ayni-linux-x64-gnu");
    case "linux-x64-musl": return require("ayni-linux-x64-musl");
    case "linux-arm64-gnu": return require("ayni-linux-arm64-gnu");
    case "linux-arm64-musl": return require("ayni-linux-arm64-musl");
    case "darwin-x64": return require("ayni-darwin-x64");
    case "darwin-arm64": return require("ayni-darwin-arm64");
    case "win32-x64": return require("ayni-win32-x64-msvc");
    default: throw new Error(`ayni has no native part for ${platform}; build it from source, or call a hosted service`);
  }
}

const libc = process.platform !== "linux" ? "" : usesMusl() ? "-musl" : "-gnu";
const platform = `${process.platform}-${process.arch}${libc}`;
try {
  module.exports = load(platform);
  module.exports.useSamplesIn(join(__dirname, "models"));
} catch (cause) {
  if (cause.code !== "MODULE_NOT_FOUND") throw cause;
  const name = `ayni-${platform}${process.platform === "win32" ? "-msvc" : ""}`;
  const why = "was it installed with --omit=optional, on another system, or from a lockfile of one?";
  throw new Error(`the package ${name} is missing, which holds the native part of ayni for this system: ${why}`, { cause });
}
