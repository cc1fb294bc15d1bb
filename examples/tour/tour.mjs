// The tour's step in Node.js: the addon that was built with it, on the models that `make models` has put here, or on a
// sample model of the package. `make tour` runs it last.

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const from = createRequire(fileURLToPath(new URL("../../bindings-node/package.json", import.meta.url)));
const { openChat, openEmbedder, topK } = from("ayni");
const { clipRoutes, service } = from("ayni/next");

const line = (text) => console.log(`   ${text}`);
const fact = (name, value) => line(`${name.padEnd(22)} ${value}`);
const system = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
const models = join(process.env.AYNI_CACHE || join(system, "ayni"), "models");

console.log(`\n── Node.js ${"─".repeat(68)}\n   the same models through the npm package, and a service as Next.js mounts it\n`);

const minilm = join(models, "all-minilm-l6-v2");
const embedder = await openEmbedder(existsSync(minilm) ? minilm : "tiny:text");
fact("embedder", embedder.space().model);
const titles = readFileSync(new URL("data/tenders.txt", import.meta.url), "utf8").trim().split("\n");
const documents = await embedder.embed(titles, { role: "document" });
const question = "vehículos para trasladar enfermos";
line(`${question}?`);
for (const { index, score } of topK(documents, await embedder.embed(question, { role: "query" }), 3)) {
  line(`  ${score.toFixed(2)}  ${titles[index]}`);
}

const gguf = join(models, "smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
if (existsSync(gguf)) await talk();
else line(`left out: ${gguf} is not there; make models fetches it`);
const { POST } = service(clipRoutes(embedder), { log: "none" });
const headers = { "content-type": "application/json" };
const asked = new Request("http://localhost/embed/text", { method: "POST", headers, body: JSON.stringify({ text: question }) });
const { embedding, dimensions, model } = await (await POST(asked)).json();
fact("POST /embed/text", `${dimensions} numbers of ${model}: ${embedding.slice(0, 3).map((number) => number.toFixed(4)).join(", ")}, …`);
await embedder.close();

/** A streamed answer of a small chat model. */
async function talk() {
  const chat = await openChat(gguf);
  const record = "Ana takes metformin 500 mg twice a day and lisinopril 10 mg once a day.";
  const messages = [
    { role: "system", content: `You answer a patient from the summary of their record. Summary: ${record}` },
    { role: "user", content: "What medications am I taking?" },
  ];
  let answer = "";
  for await (const event of chat.stream(messages, { temperature: 0, max_tokens: 64 })) {
    if (event.type === "started") fact("served by", `${event.route.backend} / ${event.route.model}`);
    if (event.type === "text") answer += event.text;
    if (event.type === "finish") fact("answer", `${answer.trim().replace(/\s+/g, " ")} (${event.reason}, ${event.usage.output_tokens} tokens)`);
  }
  await chat.close();
}
