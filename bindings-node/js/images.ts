/** Images from prompts, and from images and prompts. */

import { type CallOptions, jsonOf, reading, run, split } from "./calls.js";
import type { ImageReplay as Replayed, ImageResponse as Written, Progress } from "./generated/answers.js";
import type { ImageConfig } from "./generated/configs.js";
import { InvalidRequest } from "./generated/errors.js";
import type { GenerateRequest, RefineRequest } from "./generated/requests.js";
import { LoadableHandle, type OpenOptions, configText, opened, variablesText } from "./handle.js";
import { type ImageSource, base64Of } from "./images-in.js";
import { type NativeImages, type NativePictures, native } from "./native.js";

/** An encoded image. */
export interface Image {
  data: Buffer;
  media_type: string;
}

/** Images, and how they were generated. */
export interface ImageResponse extends Omit<Written, "count" | "images" | "media_types"> {
  images: Image[];
}

/** An image that was drawn again by its receipt, and how far it is from the first. */
export interface ImageReplay extends Replayed {
  image: Image;
}

/** The options of an image. */
export interface GenerateOptions extends CallOptions, Omit<GenerateRequest, "prompt"> {}

/** How to change images. */
export interface RefineOptions extends CallOptions, Omit<RefineRequest, "prompt" | "images" | "mask"> {
  /** The area to change, for backends that support masks. */
  mask?: ImageSource | undefined;
}

/** Images may be large; more in one call are a mistake. */
const MAX_IMAGES = 1000;

function imagesOf({ images, mediaTypes }: NativePictures): Image[] {
  return images.map((data, index) => ({ data, media_type: mediaTypes[index] ?? "" }));
}

function response(pictures: NativePictures): ImageResponse {
  const { count: _, media_types: __, ...rest } = JSON.parse(pictures.json) as Written;
  return { ...rest, images: imagesOf(pictures) };
}

function promptOf(prompt: string): string {
  if (typeof prompt !== "string") throw new InvalidRequest("the prompt is no string");
  return prompt;
}

async function encoded(images: ImageSource | readonly ImageSource[]): Promise<string[]> {
  const list = reading("the images", () => (Array.isArray(images) ? Array.from(images.slice(0, MAX_IMAGES + 1)) : [images]));
  if (list.length > MAX_IMAGES) throw new InvalidRequest(`more than ${MAX_IMAGES} images in one call`);
  return Promise.all(list.map((image: ImageSource) => base64Of(image)));
}

/** Generates images. */
export class ImageGenerator extends LoadableHandle<NativeImages> {
  /** The image engines that `IMAGE_ENGINE_MODE` and its companions name. */
  static async fromEnv(env?: OpenOptions["env"]): Promise<ImageGenerator> {
    return new ImageGenerator(await opened(native().ImageGenerator, undefined, variablesText({ env })));
  }

  /** Generates images from a prompt. */
  async generate(prompt: string, options?: GenerateOptions): Promise<ImageResponse> {
    const [request, call] = split(options);
    const fields = jsonOf("the request", { prompt: promptOf(prompt), ...request });
    return response(await run(call, (running) => this.native.generate(fields, running)));
  }

  /** Generates images from images and a prompt: one for each, in order. */
  async refine(
    prompt: string,
    images: ImageSource | readonly ImageSource[],
    options?: RefineOptions,
  ): Promise<ImageResponse> {
    const handle = this.native;
    const [{ mask, ...request }, call] = split(options);
    const given = { prompt: promptOf(prompt), images: await encoded(images), ...request };
    const masked = mask === undefined ? {} : { mask: await base64Of(mask as ImageSource) };
    const fields = jsonOf("the request", { ...given, ...masked });
    return response(await run(call, (running) => handle.refine(fields, running)));
  }

  /**
   * Draws an image of a local model again by the receipt in it. One that was refined needs `sources`: the image that it was
   * made from, and the mask where there was one.
   */
  async replay(image: ImageSource, sources: readonly ImageSource[] = [], options?: CallOptions): Promise<ImageReplay> {
    const handle = this.native;
    const others = reading("the sources", () => (Array.isArray(sources) ? sources.slice(0, MAX_IMAGES) : [sources]));
    const images = jsonOf("the images", await encoded([image, ...others]));
    const pictures = await run(split(options)[1], (running) => handle.replay(images, running));
    const [again] = imagesOf(pictures) as [Image];
    return { ...(JSON.parse(pictures.json) as Replayed), image: again };
  }

  /** Generates images and yields every event of progress, and finally the response. Leaving the loop stops the work. */
  generateEvents(prompt: string, options?: GenerateOptions): AsyncGenerator<Progress | ImageResponse, void, undefined> {
    return withEvents((more) => this.generate(prompt, { ...options, ...more }), options);
  }

  /** The same for `refine`. */
  refineEvents(
    prompt: string,
    images: ImageSource | readonly ImageSource[],
    options?: RefineOptions,
  ): AsyncGenerator<Progress | ImageResponse, void, undefined> {
    return withEvents((more) => this.refine(prompt, images, { ...options, ...more }), options);
  }
}

async function* withEvents(
  start: (options: CallOptions) => Promise<ImageResponse>,
  options: CallOptions | undefined,
): AsyncGenerator<Progress | ImageResponse, void, undefined> {
  const own = new AbortController();
  const outer = split(options)[1];
  const signal = outer.signal ? AbortSignal.any([outer.signal, own.signal]) : own.signal;
  const waiting: Progress[] = [];
  let wake = (): void => undefined;
  let done = false;
  const onProgress = (event: Progress): void => {
    waiting.push(event);
    outer.onProgress?.(event);
    wake();
  };
  const work = start({ signal, onProgress }).finally(() => {
    done = true;
    wake();
  });
  // The loop below throws its error, unless the caller leaves before.
  work.catch(() => undefined);
  try {
    while (waiting.length > 0 || !done) {
      const event = waiting.shift();
      if (event !== undefined) yield event;
      else await new Promise<void>((resolve) => (done ? resolve() : (wake = resolve)));
    }
    yield await work;
  } finally {
    own.abort();
  }
}

/** Opens an image generator: a configuration, or the reference of a local model. */
export async function openImages(config: ImageConfig | string, options?: OpenOptions): Promise<ImageGenerator> {
  return new ImageGenerator(await opened(native().ImageGenerator, configText(config), variablesText(options)));
}
