/** Image models for the AI SDK. */

import { InvalidRequest } from "../generated/errors.js";
import type { GenerateOptions, ImageGenerator, RefineOptions } from "../images.js";
import type { ImageSource } from "../images-in.js";
import { guarded } from "./failures.js";
import type { ImageCallOptions, ImageInput, ImageModel, JsonObject, SpecificationVersion } from "./types.js";

function sizeOf(size: string | undefined): [number, number] | undefined {
  if (size === undefined) return undefined;
  const found = /^(\d+)x(\d+)$/.exec(size);
  if (!found) throw new InvalidRequest("`size` is not of the form WIDTHxHEIGHT");
  return [Number(found[1]), Number(found[2])];
}

function sourceOf(input: ImageInput): ImageSource {
  if (input.type === "file") return typeof input.data === "string" ? Buffer.from(input.data, "base64") : input.data;
  throw new InvalidRequest("an image given by its address is not supported; give its bytes");
}

function callOf(options: ImageCallOptions): { prompt: string; own: GenerateOptions & RefineOptions } {
  const more = (options.providerOptions?.["ayni"] ?? {}) as GenerateOptions;
  const { seed, abortSignal: signal } = options;
  return { prompt: options.prompt ?? "", own: { seed, signal, size: sizeOf(options.size), ...more } };
}

/** A model as a plain object of closures. */
export function imageModel<V extends SpecificationVersion>(
  images: () => Promise<ImageGenerator>,
  settings: { specificationVersion: V; modelId: string },
): ImageModel<V> {
  const { modelId } = settings;
  async function made(options: ImageCallOptions) {
    const { prompt, own } = callOf(options);
    const generator = await images();
    if (!options.files?.length) {
      return generator.generate(prompt, { ...own, count: options.n, aspect_ratio: options.aspectRatio });
    }
    if (options.n !== 1) throw new InvalidRequest("`n` is 1 for changing images: there is one for each");
    if (options.aspectRatio !== undefined) throw new InvalidRequest("changed images keep their aspect ratio");
    const mask = options.mask ? { mask: sourceOf(options.mask) } : {};
    return generator.refine(prompt, options.files.map(sourceOf), { ...own, ...mask });
  }
  return {
    specificationVersion: settings.specificationVersion,
    provider: "ayni.image",
    modelId,
    maxImagesPerCall: undefined,
    doGenerate: (options) =>
      guarded(
        options.abortSignal,
        async () => {
          const found = await made(options);
          const { seed, size, steps, scheduler, revised_prompt, route } = found;
          const about = { seed, size, steps, scheduler, revised_prompt } as JsonObject;
          return {
            images: found.images.map((image) => new Uint8Array(image.data)),
            warnings: [],
            response: { timestamp: new Date(), modelId: route.model, headers: undefined },
            providerMetadata: { ayni: { images: found.images.map(() => about), route: route as unknown as JsonObject } },
          };
        },
        { costly: true },
      ),
  };
}
