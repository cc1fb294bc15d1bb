/** The one index of this process, behind the routes of the page. */

import { join, resolve } from "node:path";

import { ConfigInvalid, keepAlive } from "ayni";
import { type Service, service, settingsFromEnv } from "ayni/next";

import { Embeddings } from "./embeddings.ts";
import { Folder } from "./folder.ts";
import { ImageIndex } from "./index.ts";
import { searchRoutes } from "./routes.ts";
import { VectorStore } from "./store.ts";

/** Bodies of searches hold the image in base64, which is a third longer. */
const BASE64 = 4 / 3;

async function make(): Promise<Service> {
  const settings = settingsFromEnv();
  if (settings.apiKey !== undefined) {
    throw new ConfigInvalid("API_KEY does not protect the page: put it behind a sign-in. The key of the CLIP service is CLIP_API_KEY");
  }
  const maxBodyBytes = settings.maxBodyBytes ?? 20 << 20;
  const folder = new Folder(resolve(/* turbopackIgnore: true */ process.env.IMAGES_DIR?.trim() || "images"));
  const store = await VectorStore.open(resolve(/* turbopackIgnore: true */ process.env.INDEX_FILE?.trim() || join(folder.path, ".vectors")));
  const index = new ImageIndex(folder, store, new Embeddings(), Math.floor(maxBodyBytes / BASE64) - 1024);
  if (process.env.KEEP_ALIVE === "1") keepAlive();
  return service(searchRoutes(index), { ...settings, maxBodyBytes, basePath: "/api" });
}

const shared = globalThis as { clipSearch?: Promise<Service> | undefined };

/** Made once in a process: Next.js compiles routes and instrumentation into modules of their own. */
export function app(): Promise<Service> {
  if (shared.clipSearch === undefined) {
    const making = make();
    shared.clipSearch = making;
    // What is wrong now may be put right.
    making.catch(() => (shared.clipSearch = undefined));
  }
  return shared.clipSearch;
}
