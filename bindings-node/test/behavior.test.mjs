// The behaviour suite from Node.js: plays every case against its mock server, which judges what came of it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import test, { before } from "node:test";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import * as ayni from "ayni";

const SUITE = fileURLToPath(new URL("../../core/conformance", import.meta.url));
const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const MANIFEST = json(`${SUITE}/manifest.json`);
const NAMES = Object.entries(MANIFEST.cases).flatMap(([folder, names]) => names.map((name) => `${folder}/${name}`));
const CASES = NAMES.map((name) => [name, `${SUITE}/cases/${name}.json`]);
const MUST_FAIL = MANIFEST.must_fail.map((name) => [name, `${SUITE}/must-fail/${name}.json`]);
const OPENERS = {
  embed: [ayni.openEmbedder, ayni.Embedder],
  chat: [ayni.openChat, ayni.Chat],
  image: [ayni.openImages, ayni.ImageGenerator],
  procure: [ayni.openProcurement, ayni.Procurement],
  modes: [undefined, ayni.ChatModes],
};

/** The number with the fewest digits that name it. */
function shortest(number) {
  for (let digits = 6; digits < 10; digits++) {
    const text = Number(number.toPrecision(digits));
    if (Math.fround(text) === number) return text;
  }
  return number;
}

function plain(found) {
  if (found instanceof ayni.EmbedResponse) {
    const vectors = found.vectors.map((vector) => Array.from(vector, shortest));
    return { ...found.toJSON(), vectors, count: found.count, width: found.width };
  }
  if (!found.images) return found.json ? JSON.parse(found.json) : found;
  const images = found.images.map(({ data }) => data.toString("base64"));
  const media_types = found.images.map((image) => image.media_type);
  return { ...found, images, count: images.length, media_types };
}

function failed(error, events) {
  if (!(error instanceof ayni.AyniError)) throw error;
  const { code: kind, status: http_status, retryAfterMs: retry_after_ms, requestId: request_id } = error;
  const { persistence, sent, operation, backend, message, context, partialText: partial_text } = error;
  const response_excerpt = error.responseExcerpt;
  const fields = { kind, http_status, retry_after_ms, request_id, persistence, sent, operation, backend, message };
  return { error: { ...fields, context, partial_text, response_excerpt, events, display: `${kind}: ${error}`, debug: inspect(error) } };
}

async function joined(stream, cancelAfter, controller) {
  const events = [];
  try {
    for await (const event of stream) {
      if (events.push(event) === cancelAfter) controller.abort();
    }
  } catch (error) {
    return failed(error, events);
  }
  const of = (type) => events.filter((event) => event.type === type);
  const text = (type) => of(type).map((event) => event.text).join("");
  const [[{ route }], [{ reason: finish, usage, provider_data }]] = [of("started"), of("finish")];
  const tool_calls = of("tool_call").map((event) => event.call);
  const logprobs = of("logprobs").flatMap((event) => event.logprobs);
  const parts = [];
  for (const { type, text: piece, part } of events) {
    if (type === "text" && parts.at(-1)?.type === "text") parts.push({ type, text: parts.pop().text + piece });
    else if (type === "text" || type === "part") parts.push(part ?? { type, text: piece });
  }
  const more = { parts: of("part").length > 0 ? parts : [], annotations: of("annotation").map((event) => event.annotation) };
  Object.assign(more, { metadata: of("metadata")[0]?.metadata ?? {} });
  const answer = { ...more, text: text("text"), reasoning: text("reasoning") || null, tool_calls, finish, logprobs };
  return { ok: { ...answer, usage, provider_data, route, events } };
}

const decoded = (image) => Buffer.from(image.slice(image.lastIndexOf(",") + 1), "base64");

async function perform(test, { operation, request = {}, mode }, opened, options, controller) {
  if (operation === "models") {
    const models = await ayni.models(test.config, { env: test.env ?? {}, ...options });
    return { ok: { count: models.length, models } };
  }
  if (operation === "health") return { ok: await ayni.health(test.config, { env: test.env ?? {}, ...options }) };
  const handle = test.capability === "modes" ? await opened.open(mode) : opened;
  const method = operation.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
  if (typeof handle?.[method] !== "function") throw new Error(`the handle has no operation '${operation}'`);
  const { inputs, messages, prompt, images, mask, code, ...rest } = request;
  const all = { ...rest, ...options, ...(mask ? { mask: decoded(mask) } : {}) };
  const first = { embed: [inputs?.map((one) => one.text ?? decoded(one.image)) ?? []], generate: [prompt ?? ""] };
  // A prompt is the first argument of images, and a field like any other of chat.
  if (prompt !== undefined && ["chat", "stream"].includes(operation)) all.prompt = prompt;
  Object.assign(first, { chat: [messages ?? []], stream: [messages ?? []], refine: [prompt ?? "", images?.map(decoded) ?? []] });
  Object.assign(first, { tender: [code ?? ""], purchase_order: [code ?? ""], quick_purchase: [code ?? ""] });
  const work = handle[method](...(first[operation] ?? []), all);
  if (operation === "stream") return joined(work, test.context?.cancel_after_events, controller);
  return { ok: plain(await work) };
}

async function outcomeOf(test) {
  const { cancel_after_events: _, timeout_ms: timeoutMs, ...phases } = test.context ?? {};
  const { connect_ms: connectMs, first_byte_ms: firstByteMs, idle_ms: idleMs, ...unknown } = phases;
  if (Object.keys(unknown).length > 0) throw new Error(`this runner does not know ${Object.keys(unknown)}`);
  const [open, kind] = OPENERS[test.capability] ?? [];
  const [env, outcomes, progress] = [test.env ?? {}, [], []];
  const opening = kind && ("config" in test ? open(test.config, { env }) : kind.fromEnv(env));
  const opened = await Promise.resolve(opening).catch(failed);
  if (opened?.error) return { open_error: opened.error };
  for (const call of test.calls ?? [test.call]) {
    const controller = new AbortController();
    const timeouts = { connectMs, firstByteMs, idleMs };
    const options = { timeoutMs, timeouts, signal: controller.signal, onProgress: (told) => progress.push(told) };
    outcomes.push(await perform(test, call, opened, options, controller).catch((error) => failed(error)));
  }
  return { outcomes, progress };
}

/** Plays one case; gives what speaks against it. */
async function judged(path) {
  const server = spawn(process.env.AYNI_MOCK, ["--case", path], { stdio: ["pipe", "pipe", "inherit"] });
  try {
    const line = await new Promise((resolve) => createInterface(server.stdout).once("line", resolve));
    const { case: played, base_url } = JSON.parse(line);
    const body = JSON.stringify(await outcomeOf(played));
    const verdict = await (await fetch(`${base_url}/__judge`, { method: "POST", body })).json();
    return [...verdict.differences, ...(verdict.passed ? [] : ["the verdict is against it"])];
  } catch (error) {
    return [inspect(error)];
  } finally {
    server.stdin.end();
  }
}

const verdicts = new Map();
before(async () => {
  const paths = [...CASES, ...MUST_FAIL].map(([, path]) => path);
  // Cases with time-outs of their own have the machine to themselves.
  const isTimed = (path) => "context" in json(path);
  const play = async (rest) => {
    for (let path = rest.pop(); path; path = rest.pop()) verdicts.set(path, await judged(path));
  };
  const others = paths.filter((path) => !isTimed(path));
  await Promise.all(Array.from({ length: 8 }, () => play(others)));
  await play(paths.filter(isTimed));
});

for (const [name, path] of CASES) test(name, () => assert.deepEqual(verdicts.get(path), []));
for (const [name, path] of MUST_FAIL) {
  test(`${name}, which is wrong on purpose, fails`, () => {
    const [reason, found] = [json(path).fails_with, verdicts.get(path)];
    assert.ok(found.some((difference) => difference.includes(reason)), inspect(found));
  });
}
test("every case of the manifest ran", () => {
  const files = readdirSync(SUITE, { recursive: true }).filter((path) => /^(cases\/.*|must-fail)\/[^/]+\.json$/.test(path));
  assert.deepEqual([...verdicts.keys()].sort(), files.map((path) => `${SUITE}/${path}`).sort());
  assert.deepEqual(MANIFEST.skips, {});
});
