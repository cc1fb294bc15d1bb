// OpenAI's own client on our routes, over HTTP.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import OpenAI from "openai";

import { serve } from "../dist/cjs/cli/http.js";
import { everything } from "./services.mjs";

const messages = [{ role: "user", content: "hola" }];
let [server, client] = [];
before(async () => {
  server = await serve(await everything(), "127.0.0.1", 0);
  const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
  client = new OpenAI({ baseURL, apiKey: "sesame", maxRetries: 0 });
});
after(() => {
  server.closeAllConnections();
  server.close();
});

test("chats, whole and streamed", async () => {
  const whole = await client.chat.completions.create({ model: "echo", messages, max_tokens: 50 });
  assert.equal(whole.choices[0].message.content, "You asked: hola");
  assert.ok(whole.usage.total_tokens > 0);
  const stream = await client.chat.completions.create({ model: "echo", messages, stream: true, stream_options: { include_usage: true } });
  const pieces = [];
  let usage;
  for await (const chunk of stream) {
    pieces.push(chunk.choices[0]?.delta.content ?? "");
    usage = chunk.usage ?? usage;
  }
  assert.equal(pieces.join(""), "You asked: hola");
  assert.ok(pieces.length > 2 && usage.total_tokens > 0);
});

test("calls tools", async () => {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const tools = [{ type: "function", function: { name: "weather", parameters } }];
  const asked = await client.chat.completions.create({ model: "echo", messages, tools, tool_choice: "required" });
  const [{ message }] = asked.choices;
  assert.ok("city" in JSON.parse(message.tool_calls[0].function.arguments));
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "14 degrees" };
  const answer = await client.chat.completions.create({ model: "echo", messages: [...messages, message, result], tools });
  assert.match(answer.choices[0].message.content, /14 degrees/);
});

test("embeds, makes images, lists models", async () => {
  for (const more of [{}, { encoding_format: "float" }]) {
    const { data } = await client.embeddings.create({ model: "vectors", input: ["hola", "hello"], ...more });
    assert.deepEqual(data.map(({ embedding }) => embedding.length), [16, 16]);
  }
  const made = await client.images.generate({ model: "pictures", prompt: "a fox", size: "64x64" });
  assert.equal(Buffer.from(made.data[0].b64_json, "base64").subarray(1, 4).toString(), "PNG");
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.deepEqual(names, ["echo", "limited", "vectors", "pictures"]);
});

test("raises its own errors", async () => {
  const chat = (model, more) => client.chat.completions.create({ model, messages, ...more });
  await assert.rejects(chat("gpt-5"), OpenAI.NotFoundError);
  await assert.rejects(chat("limited"), OpenAI.RateLimitError);
  await assert.rejects(chat("limited", { stream: true }), OpenAI.RateLimitError);
  await assert.rejects(chat("echo", { messages: [] }), OpenAI.UnprocessableEntityError);
  const stranger = new OpenAI({ baseURL: client.baseURL, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});
