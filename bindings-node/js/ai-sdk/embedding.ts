/** Embedding models for the AI SDK. */

import type { EmbedOptions, Embedder } from "../embedder.js";
import { guarded } from "./failures.js";
import type { EmbeddingModel, JsonObject, SpecificationVersion } from "./types.js";

/** What a model needs besides its handle. */
export interface EmbeddingModelSettings<V extends SpecificationVersion> {
  specificationVersion: V;
  modelId: string;
  /** Whether several calls at a time help: they do for a hosted backend, a local one batches better by itself. */
  parallel: boolean;
}

/** A model as a plain object of closures. */
export function embeddingModel<V extends SpecificationVersion>(
  embedder: () => Promise<Embedder>,
  settings: EmbeddingModelSettings<V>,
): EmbeddingModel<V> {
  return {
    specificationVersion: settings.specificationVersion,
    provider: "ayni.embedding",
    modelId: settings.modelId,
    // The handle splits what is too much for its backend.
    maxEmbeddingsPerCall: undefined,
    supportsParallelCalls: settings.parallel,
    doEmbed: ({ values, dimensions, abortSignal: signal, providerOptions }) =>
      guarded(signal, async () => {
        const own = (providerOptions?.["ayni"] ?? {}) as Partial<EmbedOptions>;
        const found = await (await embedder()).embed(values, { dimensions, signal, ...own });
        const tokens = found.usage.input_tokens;
        return {
          embeddings: found.toArrays(),
          warnings: [],
          providerMetadata: { ayni: { route: found.route as unknown as JsonObject } },
          ...(tokens === null ? {} : { usage: { tokens } }),
        };
      }),
  };
}
