// Puts the package `ayni` of this repository into node_modules: node link-ayni.mjs [ADDON]
// With the path of an addon, its native part too, which only the image search needs: its page's server embeds.
// Copied, because bundlers don't follow a link out of the folder.

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { platformPackage, thisPlatform } from "../bindings-node/build.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const from = join(here, "../bindings-node");
const to = join(here, "node_modules/ayni");

if (!existsSync(join(here, "node_modules"))) throw new Error("install the packages of examples/ first: scripts/setup pages");
execFileSync(process.execPath, [join(from, "build.mjs")], { stdio: "inherit" });
rmSync(to, { recursive: true, force: true });
for (const part of ["dist", "package.json", "native.cjs", "bin.cjs"]) cpSync(join(from, part), join(to, part), { recursive: true });
const [addon] = process.argv.slice(2);
if (addon) platformPackage(join(here, "node_modules", `ayni-${thisPlatform()}`), addon, thisPlatform());
