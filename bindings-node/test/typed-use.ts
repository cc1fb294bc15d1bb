// What users write, as the type checker sees it. Wrong uses are marked; without their error the check fails.

import {
  type AyniError,
  type ChatEvent,
  type EmbedderConfig,
  type ErrorKind,
  RateLimited,
  type records,
  openChat,
  openEmbedder,
  openImages,
  openProcurement,
  similarity,
  topK,
} from "ayni";
import { createAyni } from "ayni/ai-sdk";
import { createClient, getApiBase } from "ayni/browser";
import { clipRoutes, service, withAyni } from "ayni/next";
import { z } from "zod";

export async function embeddings(signal: AbortSignal): Promise<number[][]> {
  const config: EmbedderConfig = { backend: "clip_service", url: "https://owner-name.hf.space", policy: { retry: { max_retries: 1 } } };
  await using embedder = await openEmbedder(config);
  const found = await embedder.embed(["hola", Buffer.of(1), { path: "a.png" }, new Blob([])], { role: "query", signal, timeoutMs: 1000 });
  const first: Float32Array | undefined = found.vectors[0];
  const best: number | undefined = topK(found, first ?? [], 3)[0]?.index;
  similarity([1, 2], found);
  for await (const part of embedder.embedStream(["a", "b"])) part.truncated.at(best ?? 0);
  // @ts-expect-error: a role is query or document
  await embedder.embed("x", { role: "other" });
  // @ts-expect-error: a number is nothing to embed
  await embedder.embed(5);
  return found.toArrays();
}

export async function chats(): Promise<string> {
  const chat = await openChat({ backend: "openai", vendor: "groq", model: "m", fallback: [{ backend: "scripted" }] });
  const tool = { name: "weather", parameters: { type: "object" } };
  const stream = chat.stream(["hola", { role: "assistant", content: "¿sí?" }], { tools: [tool], tool_choice: { tool: "weather" } });
  let text = "";
  for await (const event of stream) text += textOf(event);
  const { priority } = await chat.parse(z.object({ priority: z.number() }), "my head hurts");
  // @ts-expect-error: a number is no text
  const wrong: string = priority;
  // @ts-expect-error: there is no backend of this name
  await openChat({ backend: "openia" });
  return text + wrong;
}

function textOf(event: ChatEvent): string {
  return event.type === "text" ? event.text : event.type === "finish" ? event.reason : "";
}

export async function others(): Promise<records.Money | null | undefined> {
  const images = await openImages({ backend: "image_engine", url: "https://engine.example" });
  for await (const event of images.generateEvents("a fox", { size: [64, 48] })) {
    if ("images" in event) event.images[0]?.data.byteLength;
    else if (event.type === "image_step") event.step.toFixed();
  }
  const procurement = await openProcurement({ backend: "mercado_publico", ticket: "t" });
  for await (const row of procurement.eachTender({ text: "ambulancia" })) row.code.trim();
  return (await procurement.tender("1057389-12-LE26")).record.estimated_amount;
}

export function errors(error: AyniError): [ErrorKind, number | undefined] {
  // @ts-expect-error: there is no kind of this name
  if (error.code === "rate_limit") return ["unexpected", 0];
  return [new RateLimited("x").code, error.retryAfterMs];
}

const provider = createAyni({ chat: { backend: "scripted" }, specificationVersion: "v4" });
export const model: "v4" = provider().specificationVersion;
export const { GET, POST } = service(clipRoutes("openai/clip-vit-base-patch32"), { apiKey: "sesame", allowOrigins: ["https://app.example"] });
export const config = withAyni({ output: "standalone" as const });
export const client = createClient({ base: getApiBase({ space: ["app", "backend"] }) });
export const vector: Promise<number[]> = client.embedText("hola").then(({ embedding }) => embedding);
