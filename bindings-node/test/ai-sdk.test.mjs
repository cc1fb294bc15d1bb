// The provider under the real AI SDK, in the three majors that are in use.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";

import * as ai5 from "ai-5";
import * as ai6 from "ai-6";
import * as ai7 from "ai-7";
import * as ayni from "ayni";
import { createAyni } from "ayni/ai-sdk";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;

const scripted = { backend: "scripted" };
const City = z.object({ city: z.string() });

/** A chat service whose answers a test writes. */
let [answer, requests] = [undefined, 0];
const server = createServer((request, response) => {
  requests++;
  request.resume().on("end", () => answer(response));
});
let base;
before(async () => {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${server.address().port}/v1`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

const chunk = (delta, more = {}) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", model: "m", choices: [{ index: 0, delta, ...more }] })}\n\n`;
const hosted = () => ({ backend: "openai", vendor: "custom", base_url: base, model: "m" });

async function rest(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

for (const [major, sdk, versions] of [[5, ai5, ["v2"]], [6, ai6, ["v2", "v3"]], [7, ai7, ["v2", "v3", "v4"]]]) {
  for (const specificationVersion of versions) {
    describe(`ai ${major}, models ${specificationVersion}`, { concurrency: false }, () => {
      const provider = (more) => createAyni({ specificationVersion, ...more });
      const replies = (...texts) => provider({ chat: { ...scripted, replies: texts.map((text) => ({ text })) } })();

      test("generateText answers, with usage, finish reason and the route", async () => {
        const found = await sdk.generateText({ model: replies("¡hola!"), prompt: "hello" });
        assert.equal(found.text, "¡hola!");
        assert.equal(found.finishReason, "stop");
        assert.ok(found.usage.inputTokens > 0 && found.usage.outputTokens > 0);
        assert.equal(found.providerMetadata.ayni.route.backend, "scripted");
      });

      test("streamText streams, and tells the usage", async () => {
        const reports = [];
        const chat = { ...scripted, replies: [{ text: "uno dos tres" }] };
        const found = sdk.streamText({ model: provider({ chat, onUsage: (one) => reports.push(one) })(), prompt: "count" });
        assert.deepEqual(await rest(found.textStream), ["uno ", "dos ", "tres"]);
        assert.equal(await found.finishReason, "stop");
        assert.ok((await found.usage).outputTokens > 0);
        assert.deepEqual(reports.map(({ reason, characters }) => [reason, characters]), [["finish", 12]]);
      });

      test("tools are called, and their results go back", async () => {
        const tools = { weather: sdk.tool({ inputSchema: City, execute: async () => "14 degrees" }) };
        const model = provider({ chat: scripted })();
        const options = { model, tools, toolChoice: "required", stopWhen: sdk.stepCountIs?.(2) ?? sdk.isStepCount(2) };
        const prepareStep = ({ stepNumber }) => (stepNumber > 0 ? { toolChoice: "auto" } : {});
        const whole = await sdk.generateText({ ...options, prepareStep, prompt: "hola" });
        assert.equal(whole.steps[0].toolCalls[0].toolName, "weather");
        assert.match(whole.text, /14 degrees/);
        const streamed = sdk.streamText({ ...options, prepareStep, prompt: "hola" });
        assert.match((await rest(streamed.textStream)).join(""), /14 degrees/);
        assert.equal((await streamed.steps)[0].toolResults[0].output, "14 degrees");
      });

      test("generateObject gives what the schema says", async () => {
        const { object } = await sdk.generateObject({ model: replies('{"city":"Lima"}'), schema: City, prompt: "where?" });
        assert.deepEqual(object, { city: "Lima" });
      });

      test("images and files of a prompt arrive, and what is none is refused", async () => {
        const { images } = await (await ayni.openImages(scripted)).generate("x", { size: [8, 8] });
        const image = { type: "image", image: images[0].data };
        const ask = (part) => sdk.generateText({ model: provider({ chat: scripted })(), messages: [{ role: "user", content: [{ type: "text", text: "what?" }, part] }], maxRetries: 0 });
        assert.match((await ask(image)).text, /with 1 images/);
        const pdf = { type: "file", mediaType: "application/pdf", data: new Uint8Array([1]) };
        await assert.rejects(ask(pdf), (error) => error.code === "invalid_request" && /application\/pdf/.test(error.message));
      });

      test("embed and embedMany give arrays of numbers", async () => {
        const embedder = await ayni.openEmbedder(scripted);
        const own = provider({ embedder });
        const model = own.textEmbeddingModel();
        const { embeddings, usage } = await sdk.embedMany({ model, values: ["hola", "hello", "adiós"] });
        assert.deepEqual(embeddings, (await embedder.embed(["hola", "hello", "adiós"])).toArrays());
        assert.ok(usage.tokens > 0);
        assert.equal(JSON.stringify((await sdk.embed({ model, value: "hola" })).embedding)[0], "[");
      });

      test("generateImage makes images", async () => {
        const generate = sdk.generateImage ?? sdk.experimental_generateImage;
        const { images } = await generate({ model: provider({ images: scripted }).imageModel(), prompt: "a fox", n: 2, size: "64x48" });
        assert.equal(images.length, 2);
        assert.equal(images[0].mediaType, "image/png");
      });

      test("a 429 is retried by the SDK once, not by both", async () => {
        const limited = (times, sent) => (response) => {
          if (requests <= times) return response.writeHead(429, { "retry-after-ms": "5" }).end("{}");
          return sent(response);
        };
        const message = { choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "hola" } }] };
        [requests, answer] = [0, limited(1, (response) => response.setHeader("content-type", "application/json").end(JSON.stringify(message)))];
        const model = provider({ chat: hosted() })();
        assert.equal((await sdk.generateText({ model, prompt: "x", maxRetries: 1 })).text, "hola");
        assert.equal(requests, 2);
        const stream = (response) => response.writeHead(200, { "content-type": "text/event-stream" }).end(chunk({ content: "hola" }) + chunk({}, { finish_reason: "stop" }) + "data: [DONE]\n\n");
        [requests, answer] = [0, limited(1, stream)];
        assert.deepEqual(await rest(sdk.streamText({ model, prompt: "x", maxRetries: 1 }).textStream), ["hola"]);
        assert.equal(requests, 2);
        [requests, answer] = [0, limited(99)];
        await assert.rejects(sdk.generateText({ model, prompt: "x", maxRetries: 1 }), (error) => error.name === "AI_RetryError" && error.lastError instanceof ayni.RateLimited);
        assert.equal(requests, 2);
      });

      test("what another attempt cannot help is not tried again, and is an APICallError", async () => {
        [requests, answer] = [0, (response) => response.writeHead(401).end("{}")];
        const failing = sdk.generateText({ model: provider({ chat: { ...hosted(), api_key: "x" } })(), prompt: "x" });
        await assert.rejects(failing, (error) => {
          assert.ok(sdk.APICallError.isInstance(error) && error instanceof ayni.Unauthenticated);
          return error.statusCode === 401;
        });
        assert.equal(requests, 1);
      });

      test("a failure in the middle is an error part after the text", async () => {
        answer = (response) => {
          response.writeHead(200, { "content-type": "text/event-stream" });
          response.write(chunk({ content: "ho" }), () => setTimeout(() => response.destroy(), 20));
        };
        const reports = [];
        const model = provider({ chat: hosted(), onUsage: (one) => reports.push(one.reason) })();
        const parts = await rest(sdk.streamText({ model, prompt: "x", onError: () => {} }).fullStream);
        const error = parts.find((part) => part.type === "error").error;
        assert.equal(error.code, "interrupted");
        assert.equal(error.partialText, "ho");
        assert.deepEqual(reports, ["error"]);
      });

      for (const [when, write] of [["before the first event", () => {}], ["in the middle", (response) => response.write(chunk({ content: "ho" }))]]) {
        test(`an abort ${when} ends the stream and closes the connection`, { timeout: 5_000 }, async () => {
          let closed;
          const isClosed = new Promise((resolve) => (closed = resolve));
          const controller = new AbortController();
          const reports = [];
          answer = (response) => {
            response.on("close", closed);
            if (when === "in the middle") response.writeHead(200, { "content-type": "text/event-stream" });
            write(response);
            if (when === "before the first event") setTimeout(() => controller.abort(), 50);
          };
          const model = provider({ chat: hosted(), onUsage: (one) => reports.push(one) })();
          const found = sdk.streamText({ model, prompt: "x", abortSignal: controller.signal, onError: () => {} });
          const parts = [];
          for await (const part of found.fullStream) {
            parts.push(part);
            if (part.type === "text-delta") controller.abort();
          }
          assert.ok(parts.some((part) => part.type === "abort" || part.type === "error"));
          await isClosed;
          if (when === "in the middle") assert.deepEqual(reports.map(({ reason, characters }) => [reason, characters]), [["abort", 2]]);
        });
      }
    });
  }
}

test("an id picks a source, or a configuration's model, and an unknown one lists the valid ones", async () => {
  const several = createAyni({ chat: { a: scripted, b: { ...scripted, model: "other" } } });
  assert.equal((await ai6.generateText({ model: several("b"), prompt: "x" })).providerMetadata.ayni.route.model, "other");
  assert.throws(() => several("c"), (error) => error.code === "not_found" && error.message.includes("valid: a, b"));
  const one = createAyni({ chat: scripted });
  assert.equal((await ai6.generateText({ model: one("named"), prompt: "x" })).providerMetadata.ayni.route.model, "named");
  assert.throws(() => one.embeddingModel("x"), { code: "not_found" });
});

test("a registry takes the provider", () => {
  for (const sdk of [ai6, ai7]) {
    const registry = sdk.createProviderRegistry({ ayni: createAyni({ chat: scripted }) });
    assert.equal(registry.languageModel("ayni:m").modelId, "m");
  }
});

test("a handle's own retries are used up before the SDK sees the error, so they do not multiply", async () => {
  [requests, answer] = [0, (response) => response.writeHead(429, { "retry-after-ms": "5" }).end("{}")];
  const chat = await ayni.openChat({ ...hosted(), policy: { retry: { max_retries: 1, first_wait_seconds: 0.01 } } });
  await assert.rejects(ai6.generateText({ model: createAyni({ chat })(), prompt: "x" }), (error) => error.code === "rate_limited");
  assert.equal(requests, 2);
});
