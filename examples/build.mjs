// Builds pages as their containers run them: node build.mjs [procurement/frontend | triage-chat/frontend | image-studio/frontend | clip-search/frontend]…

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1" };

const ALL = ["procurement/frontend", "triage-chat/frontend", "image-studio/frontend", "clip-search/frontend"];

for (const page of process.argv.length > 2 ? process.argv.slice(2) : ALL) {
  const folder = join(here, page);
  if (existsSync(join(folder, "vite.config.ts"))) {
    // Vite takes the types out; it doesn't check them.
    run("typescript/bin/tsc", ["-p", folder]);
    run("vite/bin/vite.js", ["build", "--logLevel", "warn"], folder);
    continue;
  }
  run("next/dist/bin/next", ["build"], folder);
  // The server serves them from beside itself, and Next.js leaves the copying to whoever deploys.
  const beside = join(folder, ".next/standalone", page);
  cpSync(join(folder, ".next/static"), join(beside, ".next/static"), { recursive: true });
  // Half of the container's bytes; Next.js loads them for images alone, which the pages don't have it resize.
  for (const name of ["sharp", "@img"]) rmSync(join(folder, ".next/standalone/node_modules", name), { recursive: true, force: true });
  if (existsSync(join(folder, "public"))) cpSync(join(folder, "public"), join(beside, "public"), { recursive: true });
}

function run(program, parameters, cwd = here) {
  execFileSync(process.execPath, [join(here, "node_modules", program), ...parameters], { cwd, env, stdio: "inherit" });
}
