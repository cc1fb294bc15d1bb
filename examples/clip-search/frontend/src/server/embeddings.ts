/** Vectors by the embedder that the environment names, and which model made them. */

import { type CallOptions, clipHealth, Embedder, type EmbedInput } from "ayni";

import type { Model } from "./store.ts";

export interface Embedded {
  model: Model;
  vectors: readonly Float32Array[];
}

export class Embeddings {
  #opening: Promise<Embedder> | undefined;

  /** Fails where the environment's settings are wrong; a local model is loaded at the first use. */
  open(): Promise<Embedder> {
    this.#opening ??= Embedder.fromEnv().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async embed(inputs: readonly EmbedInput[], call: CallOptions): Promise<Embedded> {
    const embedder = await this.open();
    const found = await embedder.embed([...inputs], call);
    const { model, fingerprint } = found.space;
    // A service may have been given another model since it was asked last. It is awake now, so this costs little.
    const said = embedder.info().backend === "clip_service" ? (await clipHealth(call)).model_name : undefined;
    const name = typeof said === "string" ? said : model;
    return { model: { name, key: fingerprint ?? name, dimensions: found.width }, vectors: found.vectors };
  }
}
