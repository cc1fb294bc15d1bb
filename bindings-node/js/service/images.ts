/** The image engine: `/generate`, `/refine`. */

import type { CallOptions } from "../calls.js";
import type { ImageConfig } from "../generated/configs.js";
import { ResponseInvalid, Unsupported } from "../generated/errors.js";
import { type GenerateOptions, ImageGenerator, type ImageResponse, openImages } from "../images.js";
import { health } from "../services.js";
import { type Given, HandlePart } from "./handles.js";
import type { Form } from "./pages.js";
import { Fields, type Router, base64Of, objectOf } from "./router.js";

const LONGEST_PROMPT = 20_000;
const MOST_IMAGES = 8;
const SHAPE = /^[1-9]\d{0,3}:[1-9]\d{0,3}$/;

type Images = ImageGenerator | Promise<ImageGenerator> | ImageConfig;

/** How long an answer about an engine counts, and how long one is waited for. */
const ENGINE_STATUS_MS = 5000;
const ENGINE_MS = 900;

class GeneratorPart extends HandlePart<ImageGenerator> {
  readonly name = "images";
  readonly #config: ImageConfig | undefined;
  #engine: Promise<unknown> | undefined;
  #asked = -Infinity;

  constructor(given: Given<ImageGenerator>, config: ImageConfig | undefined) {
    super(given);
    this.#config = config;
  }

  /** Opens the generator and loads a local model. */
  override async load(call?: CallOptions): Promise<void> {
    await (await this.handle()).ready(call);
    this.isLoaded = true;
  }

  forms(): Form[] {
    const prompt = { name: "prompt", label: "What the image shows", kind: "text", value: "a red fox in the snow" } as const;
    const change = { name: "prompt", label: "What to change", kind: "text", value: "make it night" } as const;
    const image = { name: "image", label: "Image", kind: "image" } as const;
    const changed = { refinePrompt: "$prompt", images: ["$image"] };
    return [
      { title: "Make an image", path: "/generate", inputs: [prompt], shows: "images", body: { prompt: "$prompt" } },
      { title: "Change an image", path: "/refine", inputs: [change, image], shows: "images", body: changed },
    ];
  }

  /** What is known, and what an engine behind it says of itself. */
  async health(): Promise<Record<string, unknown>> {
    const info = (await this.handle()).info();
    const device = info.device ?? (info.host === null ? "cpu" : "remote");
    const found: Record<string, unknown> = { device, model: info.model, backend: info.backend, precision: info.precision };
    const model = info.image_model;
    found["scheduler"] = model?.scheduler ?? null;
    found["optimisations"] = model?.optimisations ?? [];
    if (model) {
      const { recipe: name, steps, guidance, size } = model;
      found["recipe"] = { name, steps, guidance, size };
      found["memory"] = { weights_bytes: model.weights_bytes, images_bytes: model.memory_bytes };
      found["safety"] = { mode: model.safety, has_checker: model.has_safety_checker };
    }
    if (this.#config?.backend !== "image_engine") return found;
    const { policy: _, fallback: __, ...own } = this.#config;
    // Callers without a key ask as often as they like; the engine is asked once in a while, for all of them.
    if (this.#engine === undefined || performance.now() - this.#asked > ENGINE_STATUS_MS) {
      this.#asked = performance.now();
      const failed = (error: Error): unknown => ({ reachable: false, problem: error.message });
      this.#engine = health(own as ImageConfig, { timeoutMs: ENGINE_MS }).catch(failed);
    }
    return { ...found, engine: await this.#engine };
  }
}

function answerOf(made: ImageResponse[], ignored: string[]): Response {
  const [first] = made as [ImageResponse];
  const safety = made.flatMap((one) => one.safety ?? []);
  return Response.json({
    images: made.flatMap((one) => one.images.map((image) => image.data.toString("base64"))),
    model: first.route.model,
    seed: first.seed,
    steps: first.steps,
    scheduler: first.scheduler,
    served_by: first.route.backend,
    ignored,
    safety: safety.length > 0 ? safety : null,
  });
}

/**
 * Callers of an engine always send a temperature and a resolution; hosted models may know neither. What is left out then is
 * told.
 */
async function generated(generator: ImageGenerator, prompt: string, options: GenerateOptions): Promise<Response> {
  const ignored: string[] = [];
  for (;;) {
    try {
      return answerOf([await generator.generate(prompt, options)], ignored);
    } catch (error) {
      // It names what it does not offer, before anything is sent.
      if (!(error instanceof Unsupported) || error.sent !== "no") throw error;
      const known = ["temperature", "resolution"] as const;
      const named = known.filter((name) => options[name] !== undefined && error.message.includes(name));
      if (named.length === 0) throw error;
      for (const name of named) delete options[name];
      ignored.push(...named);
    }
  }
}

/**
 * Routes that make images from prompts, and from images and prompts. Without a generator it is that of the environment
 * (`IMAGE_ENGINE_MODE`, `CLOUD_ENGINE_URL`); a configuration's `fallback` is what callers know as the mode Auto.
 */
export function imageRoutes(images?: Images): Router {
  const isOpen = images instanceof ImageGenerator || images instanceof Promise;
  const config = isOpen ? undefined : images;
  const open = () => (config === undefined ? ImageGenerator.fromEnv() : openImages(config));
  const part = new GeneratorPart(isOpen ? images : open, config);
  return {
    part,
    routes: [
      {
        method: "POST",
        path: "/generate",
        handle: async (exchange) => {
          const fields = new Fields(objectOf(exchange));
          const prompt = fields.text("prompt", LONGEST_PROMPT);
          return generated(await part.handle(), prompt, {
            aspect_ratio: fields.optionalText("aspectRatio", 16, SHAPE),
            temperature: fields.number("temperature", 0, 10),
            resolution: fields.choice("resolution", ["high", "standard"] as const),
            signal: exchange.signal,
          });
        },
      },
      {
        method: "POST",
        path: "/refine",
        takesImages: true,
        handle: async (exchange) => {
          const fields = new Fields(objectOf(exchange));
          const prompt = fields.text("refinePrompt", LONGEST_PROMPT);
          const given = fields.texts("images", MOST_IMAGES).map((image) => base64Of(image, "images"));
          const config = fields.object("config");
          const steps = config?.number("steps", 1, 1000, true);
          const guidance = config?.number("guidanceScale", 0, 100);
          const generator = await part.handle();
          const most = generator.info().limits.max_images ?? given.length;
          const made: ImageResponse[] = [];
          for (let start = 0; start < given.length; start += most) {
            const options = { steps, guidance, signal: exchange.signal };
            made.push(await generator.refine(prompt, given.slice(start, start + most), options));
          }
          const count = made.reduce((sum, one) => sum + one.images.length, 0);
          if (count !== given.length) throw new ResponseInvalid(`the backend made ${count} images of ${given.length}`);
          return answerOf(made, []);
        },
      },
    ],
  };
}
