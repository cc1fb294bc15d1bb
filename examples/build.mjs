// Builds pages as their containers run them: node build.mjs [procurement/frontend]…

import { execFileSync } from "node:child_process";
import { cpSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1" };

for (const page of process.argv.length > 2 ? process.argv.slice(2) : ["procurement/frontend"]) {
  const folder = join(here, page);
  execFileSync(process.execPath, [join(here, "node_modules/next/dist/bin/next"), "build"], { cwd: folder, env, stdio: "inherit" });
  // The server serves them from beside itself, and Next.js leaves the copying to whoever deploys.
  const beside = join(folder, ".next/standalone", page);
  cpSync(join(folder, ".next/static"), join(beside, ".next/static"), { recursive: true });
  if (existsSync(join(folder, "public"))) cpSync(join(folder, "public"), join(beside, "public"), { recursive: true });
}
