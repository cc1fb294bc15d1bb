/** `ayni models` and `ayni pull`. */

import { existsSync, readdirSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import type { Progress } from "../generated/answers.js";
import { openEmbedder } from "../embedder.js";
import { InvalidRequest } from "../generated/errors.js";
import { models as listed, sampleModels } from "../services.js";
import { type Command, variable } from "./options.js";

/** The folder of the Hub's cache. */
export function cacheFolder(): string {
  const home = variable("HF_HOME") ?? join(variable("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "huggingface");
  return variable("HF_HUB_CACHE") ?? join(home, "hub");
}

function sizeOf(folder: string): number {
  const blobs = join(folder, "blobs");
  if (!existsSync(blobs)) return 0;
  return readdirSync(blobs).reduce((sum, name) => sum + statSync(join(blobs, name)).size, 0);
}

export const models: Command = {
  usage: "models [--vendor VENDOR] [--base-url URL]",
  what: "lists the sample models and those in the cache, or those that an OpenAI-compatible vendor offers",
  async run(given) {
    const options = { vendor: { type: "string" }, "base-url": { type: "string" } } as const;
    const { vendor, "base-url": base_url } = parseArgs({ args: given, options }).values;
    if (vendor) {
      // A configuration must name a model, although listing does not need one.
      const config = { backend: "openai", vendor, model: "any", base_url } as const;
      for (const model of await listed(config, { timeoutMs: 60_000 })) console.log(model.id);
      return 0;
    }
    const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1).padStart(10)} MB`;
    for (const { reference, what, bytes, fetched_from } of sampleModels()) {
      const where = bytes ? `${megabytes(bytes)}  in the package: ${what}` : `${" ".repeat(13)}  fetched: ${fetched_from}`;
      if (bytes || fetched_from) console.log(`${reference.padEnd(60)} ${where}`);
    }
    const folder = cacheFolder();
    const found = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith("models--")).sort() : [];
    for (const name of found) {
      console.log(`${name.replace("models--", "").replaceAll("--", "/").padEnd(60)} ${megabytes(sizeOf(join(folder, name)))}`);
    }
    if (found.length === 0) console.log(`no models in ${folder}`);
    return 0;
  },
};

/** Prints how far a download is, each tenth of it. */
function told(): (event: Progress) => void {
  const shown = new Map<string, number>();
  return (event) => {
    if (event.type !== "download" || !event.of) return;
    const tenth = Math.floor((10 * event.done) / event.of);
    if (shown.get(event.file) === tenth) return;
    shown.set(event.file, tenth);
    console.error(`${event.file} ${tenth * 10} % of ${(event.of / 1e6).toFixed(1)} MB`);
  };
}

export const pull: Command = {
  usage: "pull MODEL",
  what: "downloads a model of embeddings from the Hub into the cache, and loads it once",
  async run(given) {
    const [model] = parseArgs({ args: given, allowPositionals: true }).positionals;
    if (!model) throw new InvalidRequest("say which model: ayni pull org/name");
    const embedder = await openEmbedder(model);
    await embedder.ready({ onProgress: told() });
    const { dimensions, revision } = embedder.space();
    console.log(`${model}${revision ? `@${revision}` : ""}: ${dimensions} dimensions`);
    return 0;
  },
};
