/** ayni's backends as models of the AI SDK (`ai` 5, 6 and 7), without depending on it. */

import { type Chat as ChatHandle, Chat, openChat } from "../chat.js";
import { Embedder, openEmbedder } from "../embedder.js";
import type { ChatConfig, EmbedderConfig, ImageConfig } from "../generated/configs.js";
import { NotFound } from "../generated/errors.js";
import { ImageGenerator, openImages } from "../images.js";
import { embeddingModel } from "./embedding.js";
import { imageModel } from "./image.js";
import { type UsageReport, languageModel } from "./language.js";
import { type Source, isHandle, lazily } from "./source.js";
import type { EmbeddingModel, ImageModel, LanguageModel, SpecificationVersion } from "./types.js";

export type { UsageReport } from "./language.js";
export type { Source } from "./source.js";
export type { EmbeddingModel, ImageModel, LanguageModel, SpecificationVersion } from "./types.js";

/** One source for every id, or one for each. */
type Sources<H, C> = Source<H, C> | Readonly<Record<string, Source<H, C>>>;

/** What the models of a provider stand on. */
export interface AyniSettings<V extends SpecificationVersion = "v3"> {
  chat?: Sources<ChatHandle, ChatConfig> | undefined;
  embedder?: Sources<Embedder, EmbedderConfig> | undefined;
  images?: Sources<ImageGenerator, ImageConfig> | undefined;
  /** The version of the SDK's model interface: `v3` (the default) for `ai` 6 and 7, `v2` for `ai` 5, `v4` for `ai` 7. */
  specificationVersion?: V | undefined;
  /** Told what every language model used, also when the call is aborted, where the SDK tells nothing. */
  onUsage?: ((report: UsageReport) => void) | undefined;
}

/** The models of a provider. An id is the name of a source, or for a configuration the model's; without one it is its own. */
export interface Ayni<V extends SpecificationVersion> {
  (modelId?: string): LanguageModel<V>;
  languageModel(modelId?: string): LanguageModel<V>;
  embeddingModel(modelId?: string): EmbeddingModel<V>;
  textEmbeddingModel(modelId?: string): EmbeddingModel<V>;
  imageModel(modelId?: string): ImageModel<V>;
}
type Versioned<V extends SpecificationVersion> = Ayni<V> & (V extends "v2" ? unknown : { readonly specificationVersion: V });

interface Picked<H, C> {
  source: Source<H, C>;
  /** The model that a configuration is to be opened with. */
  model: string | undefined;
  modelId: string;
}

function isConfig(value: object): boolean {
  return typeof (value as { backend?: unknown }).backend === "string";
}

/** The source that an id names. */
function picked<H extends { info(): { model: string } }, C extends object>(
  sources: Sources<H, C> | undefined,
  kind: new (...given: never[]) => H,
  what: string,
  id: string | undefined,
): Picked<H, C> {
  if (sources === undefined) throw new NotFound(`this provider has no ${what}: give \`${what}\` to createAyni`);
  if (sources instanceof kind) {
    const own = sources.info().model;
    if (id !== undefined && id !== own) throw new NotFound(`the ${what} '${id.slice(0, 80)}' is not there; valid: ${own}`);
    return { source: sources, model: undefined, modelId: own };
  }
  if (typeof sources === "string") return { source: sources, model: undefined, modelId: id ?? sources };
  if (isHandle(sources, kind)) return { source: sources, model: undefined, modelId: id ?? what };
  if (isConfig(sources)) {
    const own = (sources as { model?: string }).model;
    return { source: sources as C, model: id, modelId: id ?? own ?? (sources as { backend?: string }).backend ?? what };
  }
  const named = sources as Readonly<Record<string, Source<H, C>>>;
  const name = id ?? Object.keys(named)[0] ?? "";
  if (!Object.hasOwn(named, name)) {
    throw new NotFound(`the ${what} '${name.slice(0, 80)}' is not there; valid: ${Object.keys(named).join(", ")}`);
  }
  return { source: named[name] as Source<H, C>, model: undefined, modelId: name };
}

/** Whether the source is a model in this process. */
function isLocal(source: unknown): boolean {
  if (source instanceof Embedder) return source.info().backend === "local";
  return typeof source === "string" || (source as { backend?: unknown }).backend === "local";
}

/**
 * A provider for the AI SDK: `const ayni = createAyni({ chat: { backend: "openai", vendor: "groq", … } })`, then
 * `generateText({ model: ayni(), … })`. Handles are opened at their first use.
 */
export function createAyni<V extends SpecificationVersion = "v3">(settings: AyniSettings<V> = {}): Versioned<V> {
  const version = (settings.specificationVersion ?? "v3") as V;
  const { onUsage } = settings;
  const chat = (id?: string): LanguageModel<V> => {
    const { source, model, modelId } = picked<Chat, ChatConfig>(settings.chat, Chat, "chat", id);
    const settle = { specificationVersion: version, modelId, onUsage };
    return languageModel(lazily(source, Chat, openChat, model), settle);
  };
  const embedding = (id?: string): EmbeddingModel<V> => {
    const { source, model, modelId } = picked<Embedder, EmbedderConfig>(settings.embedder, Embedder, "embedder", id);
    const settle = { specificationVersion: version, modelId, parallel: !isLocal(source) };
    return embeddingModel(lazily(source, Embedder, openEmbedder, model), settle);
  };
  const image = (id?: string): ImageModel<V> => {
    const { source, model, modelId } = picked<ImageGenerator, ImageConfig>(settings.images, ImageGenerator, "images", id);
    return imageModel(lazily(source, ImageGenerator, openImages, model), { specificationVersion: version, modelId });
  };
  const members = { languageModel: chat, embeddingModel: embedding, textEmbeddingModel: embedding, imageModel: image };
  const versioned = version === "v2" ? {} : { specificationVersion: version };
  return Object.assign((id?: string) => chat(id), members, versioned) as unknown as Versioned<V>;
}
