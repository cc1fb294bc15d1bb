// The service that core/conformance/services.json is about, for tests.

import * as ayni from "ayni";
import * as next from "ayni/next";

const scripted = { backend: "scripted" };
const reply = '{"claims": ["La licitación es {1}."]}';

export async function everything(settings = {}) {
  const limited = { ...scripted, failures: Array(99).fill("rate_limited"), policy: { retry: { max_retries: 0 } } };
  const analyst = { ...scripted, replies: Array(20).fill({ text: reply }) };
  const chat = { echo: await ayni.openChat(scripted), limited: await ayni.openChat(limited) };
  const [embedder, images] = [{ vectors: await ayni.openEmbedder(scripted) }, { pictures: await ayni.openImages(scripted) }];
  const routers = [
    next.clipRoutes(scripted),
    next.triageRoutes(await ayni.ChatModes.fromEnv({ DEFAULT_LLM_MODE: "mock" })),
    next.imageRoutes(scripted),
    next.procurementRoutes(scripted, analyst),
    next.openaiRoutes({ chat, embedder, images }),
  ];
  const made = next.service(routers, {
    apiKey: "sesame",
    allowOrigins: ["https://app.example"],
    maxBodyBytes: 100_000,
    log: "none",
    ...settings,
  });
  await made.load();
  return made;
}

/** A service whose one part never ends to load. */
export function loading() {
  const never = new Promise(() => undefined);
  const made = next.service(next.clipRoutes(never), { apiKey: "sesame", log: "none" });
  made.start();
  return made;
}
