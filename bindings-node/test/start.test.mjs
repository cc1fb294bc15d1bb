// How `npx ayni serve` starts, waits and stops: the cases of bindings-python/tests/test_services_start.py.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../bin.cjs", import.meta.url));

/** The command in a process without settings of this machine; `lines` grows with what it says. */
function started(t, given, env = {}) {
  const { PATH, HOME } = process.env;
  const server = spawn(process.execPath, [BIN, "serve", ...given], { env: { PATH, HOME, ...env }, stdio: ["ignore", "ignore", "pipe"] });
  t.after(() => server.kill("SIGKILL"));
  const lines = [];
  const url = new Promise((resolve) => {
    createInterface(server.stderr).on("line", (line) => {
      lines.push(line);
      const [found] = /http:\/\/127[^"\s]+/.exec(line) ?? [];
      if (found) resolve(found);
    });
  });
  return { server, lines, url, exit: once(server, "exit") };
}

/** A Hub whose files never end: it sends a little of each and then waits. */
async function slowHub(t, model) {
  const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
  const siblings = names.map((rfilename) => ({ rfilename, size: 10_000_000, blobId: "0".repeat(40) }));
  const listing = JSON.stringify({ id: model, sha: "1".repeat(40), siblings });
  const hub = createServer((request, response) => {
    const isFile = request.url.includes("/resolve/");
    response.writeHead(200, { "content-length": isFile ? 10_000_000 : listing.length });
    if (isFile) response.write(`{${" ".repeat(999_999)}`);
    else response.end(listing);
  });
  t.after(() => {
    hub.closeAllConnections();
    hub.close();
  });
  await new Promise((resolve) => hub.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${hub.address().port}`;
}

for (const signal of ["SIGTERM", "SIGINT"]) {
  test(`while a model downloads the port is open, and ${signal} ends the service`, { timeout: 60_000 }, async (t) => {
    const cache = await mkdtemp(join(tmpdir(), "ayni-hub-"));
    t.after(() => rm(cache, { recursive: true, force: true }));
    const env = { HF_ENDPOINT: await slowHub(t, "org/large"), HF_HUB_CACHE: cache };
    const { server, lines, url, exit } = started(t, ["clip", "--model", "org/large", "--port", "0"], env);
    const base = await url;
    assert.deepEqual(await (await fetch(`${base}/health`)).json(), { status: "healthy" });
    let ready;
    do {
      ready = await fetch(`${base}/ready`);
      assert.equal(ready.status, 503);
      ready = await ready.json();
      assert.equal(ready.loading, true);
    } while (!/\.json|\.safetensors/.test(ready.problems.embedder));
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${base}/embed/text`, { method: "POST", body: '{"text": "hola"}', headers });
    assert.deepEqual([answer.status, answer.headers.get("retry-after")], [503, "5"]);
    assert.equal((await answer.json()).error.kind, "unavailable");
    const begin = performance.now();
    server.kill(signal);
    assert.deepEqual(await exit, [0, null], lines.join("\n"));
    assert.ok(performance.now() - begin < 10_000);
  });
}

const FAILED = [
  [["clip", "--model", "./nothing-here"], {}, /nothing-here/],
  [["openai"], {}, /there is nothing to serve/],
  [["image"], { IMAGE_ENGINE_MODE: "clouds" }, /IMAGE_ENGINE_MODE is 'clouds'/],
  [["triage"], { MAX_CONCURRENCY: "many" }, /MAX_CONCURRENCY/],
  [["triage"], { ALLOW_ORIGINS: "https://a.*.example" }, /ALLOW_ORIGINS/],
  [["triage"], { API_KEY: "  " }, /API_KEY is blank/],
  [["triage"], { HF_ROUTER_URL: "https://me:hf_canary@router.example" }, /HF_ROUTER_URL/],
  [["clip", "--config", "nowhere.json"], {}, /nowhere\.json/],
];
for (const [given, env, sentence] of FAILED) {
  test(`a failed start is one sentence and exit code 3: ${given.join(" ")} ${Object.keys(env)}`, { timeout: 60_000 }, async (t) => {
    const { lines, exit } = started(t, [...given, "--port", "0"], { LOG_FORMAT: "none", ...env });
    assert.deepEqual(await exit, [3, null], lines.join("\n"));
    const told = lines.filter((line) => line.startsWith("ayni: "));
    assert.equal(told.length, 1, lines.join("\n"));
    assert.match(told[0], sentence);
    assert.doesNotMatch(lines.join("\n"), /canary|    at /);
  });
}

test("a port that is taken is one sentence", { timeout: 60_000 }, async (t) => {
  const taken = createServer();
  await new Promise((resolve) => taken.listen(0, "127.0.0.1", resolve));
  t.after(() => taken.close());
  const { lines, exit } = started(t, ["triage", "--port", `${taken.address().port}`], { LOG_FORMAT: "none" });
  assert.deepEqual(await exit, [3, null]);
  assert.match(lines.join("\n"), /^ayni: config_invalid: .* cannot be listened on: .*EADDRINUSE/m);
});

test("paid backends without a key are warned of", { timeout: 60_000 }, async (t) => {
  const key = { GROQ_API_KEY: "gsk_canary" };
  for (const [env, count] of [[key, 1], [{ ...key, API_KEY: "sesame" }, 0]]) {
    const { server, lines, url, exit } = started(t, ["openai", "--port", "0"], env);
    const base = await url;
    while ((await fetch(`${base}/ready`)).status !== 200);
    server.kill("SIGTERM");
    await exit;
    const warned = lines.filter((line) => line.includes("API_KEY is not set: whoever reaches this service"));
    assert.equal(warned.length, count, lines.join("\n"));
    assert.doesNotMatch(lines.join("\n"), /canary/);
  }
});
