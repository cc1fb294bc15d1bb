// Starts and stops the processes of a system on free ports of this machine.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const examples = dirname(dirname(fileURLToPath(import.meta.url)));
const root = dirname(examples);
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");

function firstOf(name, variable, paths, hint) {
  const found = [process.env[variable], ...paths].find((path) => path && existsSync(path));
  if (!found) throw new Error(`${name} is missing: ${hint}, or set ${variable}`);
  return found;
}

export const python = () =>
  firstOf("a Python with ayni", "AYNI_PYTHON", [join(target, "venv-wheel/bin/python")], "`scripts/test python` makes one");
export const mock = () =>
  firstOf("ayni-mock", "AYNI_MOCK", ["ci", "debug", "release"].map((profile) => join(target, profile, "ayni-mock")), "build it with `cargo build --bin ayni-mock`");

export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** A process whose output is kept. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
  const lines = [];
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", (line) => lines.push(line));
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const failed = new Promise((_, reject) => child.on("error", reject));
  failed.catch(() => undefined);
  return {
    child,
    lines,
    ended,
    failed,
    async stop(signal = "SIGTERM") {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await ended;
    },
  };
}

/** Waits until an address answers; fails when the process has ended instead. */
export async function answers(url, running, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  let gone = false;
  running.ended.then(() => (gone = true));
  while (Date.now() < end && !gone) {
    const response = await Promise.race([fetch(url).catch(() => null), running.failed]);
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${url} ${gone ? "ended" : "did not answer"}:\n${running.lines.slice(-30).join("\n")}`);
}

/** The first line of JSON that a process prints. */
export async function firstLine(running, seconds = 30) {
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    const line = running.lines.find((text) => text.startsWith("{"));
    if (line) return JSON.parse(line);
    await Promise.race([new Promise((resolve) => setTimeout(resolve, 20)), running.failed]);
  }
  throw new Error(`nothing was printed: ${running.lines.join("\n")}`);
}

/** Variables of this machine that the processes need; none of its settings reach them. */
const kept = () => Object.fromEntries(["PATH", "HOME", "LANG", "PYTHONPATH", "LD_LIBRARY_PATH"].flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));

/** An app of the examples, as its container runs it. */
export function startApp(folder, port, env) {
  const settings = { ...kept(), PYTHONUNBUFFERED: "1", PYTHONDONTWRITEBYTECODE: "1", ...env };
  return start(python(), ["-m", "uvicorn", "app:app", "--port", String(port), "--no-access-log"], { cwd: join(examples, folder), env: settings });
}

/** Pages of the examples, as their container runs them. */
export async function startFrontend(folder, { port, api, env: more }) {
  const server = join(examples, folder, ".next/standalone", folder, "server.js");
  if (!existsSync(server)) throw new Error(`the pages are not built: node examples/build.mjs ${folder}`);
  const env = { ...kept(), PORT: String(port), HOSTNAME: "127.0.0.1", NEXT_TELEMETRY_DISABLED: "1", ...(api ? { API_URL: api } : {}), ...more };
  const running = start(process.execPath, [server], { env });
  await answers(`http://127.0.0.1:${port}/health`, running);
  return running;
}

/** A page that is one folder of files, as its container serves it. */
export async function startStatic(folder, port, env) {
  const server = join(examples, folder, "server.mjs");
  if (!existsSync(join(examples, folder, "dist/index.html"))) throw new Error(`the page is not built: node examples/build.mjs ${folder}`);
  const running = start(process.execPath, [server], { env: { ...kept(), PORT: String(port), HOSTNAME: "127.0.0.1", ...env } });
  await answers(`http://127.0.0.1:${port}/health`, running);
  return running;
}
