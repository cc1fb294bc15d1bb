// A Next.js app that has the packed tarballs installed: built by both bundlers, started, and moved elsewhere.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { project, run } from "./projects.mjs";

const ROUTE = "app/api/[...path]/route.js";
const REPLY = '{ backend: "scripted", replies: Array(50).fill({ text: "uno dos tres" }) }';
const FILES = {
  "package.json": '{ "private": true, "type": "module" }',
  "next.config.mjs": `import { withAyni } from "ayni/next";
export default withAyni({ output: "standalone", agentRules: false, experimental: { agentUpgrade: false } });`,
  "app/layout.jsx": "export default ({ children }) => <html><body>{children}</body></html>;",
  "app/page.jsx": `import { openEmbedder } from "ayni";
import { Shown } from "./shown";
export const dynamic = "force-dynamic";
export default async function Page() {
  const embedder = await openEmbedder({ backend: "scripted" });
  return <p>width {(await embedder.embed("hola")).width}, <Shown /></p>;
}`,
  "app/shown.jsx": `"use client";
import { getApiBase } from "ayni/browser";
export const Shown = () => <b>{getApiBase({ url: "https://api.example/", log: () => {} })}</b>;`,
  "app/actions.js": `"use server";
import { openChat } from "ayni";
export async function ask(question) {
  const chat = await openChat(${REPLY});
  return (await chat.chat(question)).text;
}`,
  "app/ask/page.jsx": `import { ask } from "../actions";
export const dynamic = "force-dynamic";
export default async () => <p>{await ask("count")}</p>;`,
  [ROUTE]: `import { chatRoutes, clipRoutes, service } from "ayni/next";
const settings = { basePath: "/api", apiKey: "sesame", log: "none" };
export const { GET, POST, OPTIONS } = service([clipRoutes({ backend: "scripted" }), chatRoutes(${REPLY})], settings);`,
  "app/sdk/route.js": `import { createAyni } from "ayni/ai-sdk";
import { convertToModelMessages, streamText } from "ai";
const ayni = createAyni({ chat: ${REPLY} });
export async function POST(request) {
  const { messages } = await request.json();
  const found = streamText({ model: ayni(), messages: await convertToModelMessages(messages), abortSignal: request.signal });
  return found.toUIMessageStreamResponse();
}`,
};
const NEEDED = ["next@16.4.6", "react@19.3.1", "react-dom@19.3.1", "ai@6.0.325"];

/** Starts a server, and gives its address. */
async function started(t, folder, command, ...given) {
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  const env = { ...process.env, PORT: `${port}`, HOSTNAME: "127.0.0.1", NEXT_TELEMETRY_DISABLED: "1" };
  delete env.NODE_TEST_CONTEXT;
  const server = spawn(command, given, { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"], detached: true });
  const stop = async () => {
    if (server.exitCode === null && server.signalCode === null) {
      process.kill(-server.pid, "SIGKILL");
      await once(server, "exit");
    }
  };
  t.after(stop);
  for await (const line of createInterface(server.stdout)) if (/Ready/.test(line)) break;
  server.stdout.resume();
  return { url: `http://127.0.0.1:${port}`, stop };
}

/** The width of a vector, as the route gives it. */
async function widthOf(url) {
  const headers = { "content-type": "application/json", "x-api-key": "sesame" };
  const found = await fetch(`${url}/api/embed/text`, { method: "POST", body: '{"text": "hola"}', headers });
  return (await found.json()).dimensions;
}

/** What every form of the app does. */
async function checked(url) {
  assert.match(await (await fetch(url)).text(), /width (?:<!-- -->)?16.*<b>https:\/\/api\.example<\/b>/s);
  assert.match(await (await fetch(`${url}/ask`)).text(), /uno dos tres/);
  const send = (path, body, headers = { "x-api-key": "sesame" }) =>
    fetch(url + path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } });
  const found = await (await send("/api/embed/text", { text: "hola" })).json();
  assert.deepEqual([found.embedding.length, found.dimensions], [16, 16]);
  assert.equal((await send("/api/embed/text", { text: "hola" }, {})).status, 401);
  assert.deepEqual(await (await fetch(`${url}/api/ready`)).json(), { ready: true, problems: {} });
  const messages = [{ id: "1", role: "user", parts: [{ type: "text", text: "count" }] }];
  for (const path of ["/api/chat", "/sdk"]) {
    const response = await send(path, { id: "1", messages, trigger: "submit-message" });
    assert.equal(response.headers.get("x-vercel-ai-ui-message-stream"), "v1");
    const text = await response.text();
    const deltas = [...text.matchAll(/"delta":"([^"]*)"/g)].map(([, delta]) => delta);
    assert.equal(deltas.join(""), "uno dos tres", text);
    assert.match(text, /data: \[DONE\]/);
  }
}

test("development, both bundlers, the server, the standalone output elsewhere", async (t) => {
  const folder = await project(t, FILES, ...NEEDED);
  const next = join(folder, "node_modules/.bin/next");
  await t.test("a client component that imports `ayni` itself fails when it is built", async () => {
    const page = join(folder, "app/wrong/page.jsx");
    await mkdir(join(folder, "app/wrong"));
    await writeFile(page, '"use client";\nimport { openEmbedder } from "ayni";\nexport default () => <p onClick={() => openEmbedder("x")}>x</p>;');
    await assert.rejects(run(folder, next, "build", "--turbopack"), /openEmbedder/);
    await rm(join(folder, "app/wrong"), { recursive: true });
  });
  for (const bundler of ["--turbopack", "--webpack"]) {
    await t.test(`${bundler}: build, start, standalone`, async (t) => {
      await rm(join(folder, ".next"), { recursive: true, force: true });
      await run(folder, next, "build", bundler);
      const elsewhere = await mkdtemp(join(tmpdir(), "ayni-standalone-"));
      t.after(() => rm(elsewhere, { recursive: true, force: true }));
      await cp(join(folder, ".next/standalone"), elsewhere, { recursive: true, verbatimSymlinks: true });
      const { url, stop } = await started(t, elsewhere, "node", "server.js");
      await checked(url);
      await stop();
      if (bundler === "--turbopack") {
        const server = await started(t, folder, next, "start");
        await checked(server.url);
        await server.stop();
      }
    });
    await t.test(`${bundler}: development, and a route that is changed meanwhile`, async (t) => {
      const { url, stop } = await started(t, folder, next, "dev", bundler);
      await checked(url);
      // Its module is evaluated anew in the same process, more than once.
      for (const width of [8, 4, 16]) {
        await writeFile(join(folder, ROUTE), FILES[ROUTE].replace('backend: "scripted"', `$&, dimensions: ${width}`));
        const end = Date.now() + 60_000;
        while ((await widthOf(url).catch(() => undefined)) !== width) assert.ok(Date.now() < end, `the width is never ${width}`);
      }
      await checked(url);
      await writeFile(join(folder, ROUTE), FILES[ROUTE]);
      await stop();
    });
  }
});
