// Projects in empty folders that install the packed tarballs, as a user would.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

import { pack } from "../pack.mjs";
import { thisPlatform } from "../build.mjs";

const execute = promisify(execFile);
const ADDON = process.env.AYNI_ADDON;

let packages;
/** The tarballs, packed once. */
function tarballs() {
  packages ??= mkdtemp(join(tmpdir(), "ayni-packages-")).then((folder) =>
    pack(folder, ADDON, thisPlatform(), { platforms: [thisPlatform()] }).map(({ path }) => path),
  );
  return packages;
}

/** Runs a command in a folder; gives what it printed, and fails with it. */
export async function run(folder, command, ...given) {
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1", CI: "1", npm_config_cache: process.env.npm_config_cache };
  delete env.NODE_TEST_CONTEXT;
  try {
    const { stdout } = await execute(command, given, { cwd: folder, env, maxBuffer: 1 << 26 });
    return stdout;
  } catch (error) {
    throw new Error(`${command} ${given.join(" ")}: ${error.message}\n${error.stdout}\n${error.stderr}`);
  }
}

/** A project with some files, which has the tarballs and further packages installed. */
export async function project(t, files, ...more) {
  const folder = await mkdtemp(join(tmpdir(), "ayni-project-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const all = { "package.json": '{ "private": true, "type": "module" }', ...files };
  for (const [name, content] of Object.entries(all)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"];
  await run(folder, "npm", "install", ...quiet, ...(await tarballs()), ...more);
  return folder;
}
