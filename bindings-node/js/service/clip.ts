/** The CLIP embedding service: `/embed/text`, `/embed/image`. */

import type { CallOptions } from "../calls.js";
import { Embedder, type EmbedInput, openEmbedder } from "../embedder.js";
import type { EmbedderConfig } from "../generated/configs.js";
import { InvalidRequest } from "../generated/errors.js";
import { type Given, HandlePart } from "./handles.js";
import type { Form } from "./pages.js";
import { Fields, type Router, base64Of, objectOf } from "./router.js";

/** What the service embeds with where nothing else is said. */
export const DEFAULT_MODEL = "openai/clip-vit-base-patch32";

/** Captions are short: a model's window is 77 tokens. */
const LONGEST_TEXT = 10_000;
const LONGEST_IMAGE = 1 << 30;

/** The embedder of a configuration, or of the environment (`EMBEDDING_PROVIDER`, `EMBEDDING_MODEL`). */
function opener(given: Embedder | Promise<Embedder> | EmbedderConfig | string | undefined): Given<Embedder> {
  if (given instanceof Embedder || given instanceof Promise) return given;
  return () => {
    if (given !== undefined) return openEmbedder(given);
    const provider = process.env["EMBEDDING_PROVIDER"]?.trim();
    if (provider && provider !== "local") return Embedder.fromEnv();
    return openEmbedder(process.env["EMBEDDING_MODEL"]?.trim() || DEFAULT_MODEL);
  };
}

class EmbedderPart extends HandlePart<Embedder> {
  readonly name = "embedder";

  override title(): string {
    const model = this.opening.handle?.space().model;
    return model ? `the model ${model}` : "the model";
  }

  /** Loads a local model and runs it once; a hosted one is not called. */
  override async load(call?: CallOptions): Promise<void> {
    const embedder = await this.handle();
    if (embedder.info().backend === "local") {
      await embedder.ready(call);
      await embedder.embed("warm-up");
    }
    this.isLoaded = true;
  }

  forms(): Form[] {
    const text = { name: "text", label: "Text", kind: "text", value: "a photo of a dog" } as const;
    const image = { name: "image", label: "Image", kind: "image" } as const;
    return [
      { title: "Vector of a text", path: "/embed/text", inputs: [text], shows: "vector", body: { text: "$text" } },
      { title: "Vector of an image", path: "/embed/image", inputs: [image], shows: "vector", body: { image: "$image" } },
    ];
  }

  async health(): Promise<Record<string, unknown>> {
    const embedder = await this.handle();
    const device = (embedder.info().device ?? "cpu").split(":")[0];
    return { model_loaded: this.isLoaded, device, model_name: embedder.space().model };
  }

  override problem(): string | undefined {
    return this.isLoaded ? undefined : "the model is not loaded";
  }
}

/** Routes that embed texts and images into one space. */
export function clipRoutes(embedder?: Embedder | Promise<Embedder> | EmbedderConfig | string): Router {
  const part = new EmbedderPart(opener(embedder));
  const embedded = async (input: EmbedInput, signal: AbortSignal): Promise<Response> => {
    const found = await (await part.handle()).embed([input], { signal });
    const { width: dimensions, space, truncated } = found;
    const [embedding] = found.toArrays();
    return Response.json({ embedding, dimensions, model: space.model, truncated: truncated.length > 0 });
  };
  return {
    part,
    routes: [
      {
        method: "POST",
        path: "/embed/text",
        handle: async (exchange) => {
          const text = new Fields(objectOf(exchange)).text("text", LONGEST_TEXT);
          if (!text.trim()) throw new InvalidRequest("`text` is empty");
          return embedded(text, exchange.signal);
        },
      },
      {
        method: "POST",
        path: "/embed/image",
        takesImages: true,
        handle: async (exchange) => {
          const fields = new Fields(objectOf(exchange));
          fields.optionalText("mime_type", 128);
          return embedded(base64Of(fields.text("image", LONGEST_IMAGE), "image"), exchange.signal);
        },
      },
    ],
  };
}
