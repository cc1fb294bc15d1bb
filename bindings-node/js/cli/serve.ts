/** `ayni serve`. */

import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";

import { Chat, openChat } from "../chat.js";
import { Embedder, openEmbedder } from "../embedder.js";
import { AyniError } from "../failure.js";
import type { ChatConfig, EmbedderConfig, ImageConfig, ProcurementConfig } from "../generated/configs.js";
import { ConfigInvalid, InvalidRequest } from "../generated/errors.js";
import { openImages } from "../images.js";
import { clipRoutes } from "../service/clip.js";
import { imageRoutes } from "../service/images.js";
import { type OpenAiHandles, openaiRoutes } from "../service/openai.js";
import { procurementRoutes } from "../service/procurement.js";
import type { Router } from "../service/router.js";
import { type Service, service } from "../service/service.js";
import { type Settled, settingsFromEnv, settle } from "../service/settings.js";
import { triageRoutes } from "../service/triage.js";
import { serve as listening } from "./http.js";
import { type Command, configOf, variable } from "./options.js";

interface Given {
  model: string | undefined;
  config: Record<string, unknown> | undefined;
}

async function openai({ model, config = {} }: Given): Promise<Router> {
  const unknown = Object.keys(config).find((name) => !["chat", "embedder", "images"].includes(name));
  if (unknown) throw new ConfigInvalid(`the configuration has '${unknown}'; valid: chat, embedder, images`);
  const handles: OpenAiHandles = {};
  const embedder = model ?? (config["embedder"] as EmbedderConfig | undefined);
  if (embedder) handles.embedder = await openEmbedder(embedder);
  else if (variable("EMBEDDING_PROVIDER")) handles.embedder = await Embedder.fromEnv();
  if (config["chat"]) handles.chat = await openChat(config["chat"] as ChatConfig);
  else if (["GEMINI", "GROQ", "FEATHERLESS"].some((vendor) => variable(`${vendor}_API_KEY`))) handles.chat = await Chat.fromEnv();
  if (config["images"]) handles.images = await openImages(config["images"] as ImageConfig);
  if (Object.keys(handles).length === 0) {
    throw new ConfigInvalid("there is nothing to serve: give --model or --config, or set EMBEDDING_PROVIDER or a key of a chat");
  }
  return openaiRoutes(handles);
}

const SERVICES: Record<string, (given: Given) => Router | Promise<Router>> = {
  clip: ({ model, config }) => clipRoutes(model ?? (config as EmbedderConfig | undefined)),
  triage: () => triageRoutes(),
  procurement: ({ config }) => procurementRoutes(config as ProcurementConfig | undefined),
  image: ({ model, config }) => imageRoutes(model ? { backend: "local", model } : (config as ImageConfig | undefined)),
  openai,
};

/** The exit status of a service that cannot be started. */
const START_FAILED = 3;

/** Opens the port, loads what the routes need, and serves until a signal ends it. */
async function untilStopped(running: Service, server: Server, { log }: Settled): Promise<void> {
  const { address, port, family } = server.address() as AddressInfo;
  log({ level: "INFO", message: `running on http://${family === "IPv6" ? `[${address}]` : address}:${port}` });
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  try {
    await Promise.race([stopped, running.start().then(() => stopped)]);
  } finally {
    server.close();
    await running.close();
    server.closeAllConnections();
    log({ level: "INFO", message: "stopped" });
  }
}

export const serve: Command = {
  usage: "serve clip|image|triage|procurement|openai [--host HOST] [--port PORT] [--model MODEL] [--config FILE]",
  what: "serves the routes of a service over HTTP, until it is stopped",
  async run(given) {
    const text = { type: "string" } as const;
    const options = { host: text, port: text, model: text, config: text };
    const { values, positionals } = parseArgs({ args: given, options, allowPositionals: true });
    const [name = ""] = positionals;
    const made = Object.hasOwn(SERVICES, name) ? SERVICES[name] : undefined;
    if (!made) throw new InvalidRequest(`the service '${name}' is unknown; valid: ${Object.keys(SERVICES).join(", ")}`);
    const port = Number(values.port ?? (name === "clip" ? 7860 : 8000));
    if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new InvalidRequest(`'${values.port}' is no port`);
    try {
      const settings = settingsFromEnv();
      const settled = settle(settings);
      const running = service(await made({ model: values.model, config: configOf(values.config) }), settings);
      await untilStopped(running, await listening(running, values.host ?? "127.0.0.1", port, settled), settled);
    } catch (error) {
      if (!(error instanceof AyniError)) throw error;
      console.error(`ayni: ${error.code}: ${error.message}`);
      return START_FAILED;
    }
    return 0;
  },
};
