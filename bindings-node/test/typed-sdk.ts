// Our models are the SDK's models, as its own types see them.

import type { EmbeddingModel as Embedding5, ImageModel as Image5, LanguageModel as Language5 } from "ai-5";
import type { EmbeddingModel as Embedding6, ImageModel as Image6, LanguageModel as Language6 } from "ai-6";
import { createProviderRegistry as registry6 } from "ai-6";
import type { EmbeddingModel as Embedding7, ImageModel as Image7, LanguageModel as Language7 } from "ai-7";
import { createProviderRegistry as registry7 } from "ai-7";
import { createAyni } from "ayni/ai-sdk";

const settings = { chat: { backend: "scripted" }, embedder: { backend: "scripted" }, images: { backend: "scripted" } } as const;
const v2 = createAyni({ ...settings, specificationVersion: "v2" });
const v3 = createAyni(settings);
const v4 = createAyni({ ...settings, specificationVersion: "v4" });

export const languages: [Language5, Language6, Language6, Language7, Language7, Language7] = [v2(), v2(), v3(), v2(), v3(), v4()];
export const embeddings5: Embedding5<string> = v2.textEmbeddingModel();
export const embeddings: [Embedding6, Embedding7, Embedding7] = [v3.embeddingModel(), v3.embeddingModel(), v4.embeddingModel()];
export const images: [Image5, Image6, Image7, Image7] = [v2.imageModel(), v3.imageModel(), v3.imageModel(), v4.imageModel()];
export const registries = [registry6({ ayni: v3 }), registry7({ ayni: v3, newer: v4 })];

// @ts-expect-error: ai 5 takes models of v2 only
export const wrong: Language5 = v3();
