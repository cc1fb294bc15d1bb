/** Images in the forms that callers have. */

import { readFile } from "node:fs/promises";

import { reading } from "./calls.js";
import { InvalidRequest } from "./generated/errors.js";

/** An image: encoded bytes, a Blob or File, the path of a file, a `file:` URL. */
export type ImageSource = Uint8Array | ArrayBuffer | Blob | URL | { readonly path: string };

async function bytesOf(source: ImageSource): Promise<Uint8Array> {
  const found = reading("the image", () => {
    if (source instanceof Uint8Array) return source;
    if (source instanceof ArrayBuffer) return new Uint8Array(source);
    if (source instanceof Blob || source instanceof URL) return source;
    if (typeof source.path === "string") return source.path;
    throw new InvalidRequest("an image is a Buffer, a Uint8Array, an ArrayBuffer, a Blob, a file: URL or { path }");
  });
  if (found instanceof Uint8Array) return found;
  if (found instanceof Blob) return new Uint8Array(await found.arrayBuffer());
  try {
    return await readFile(found);
  } catch (cause) {
    // Node's own message, which names the file.
    throw new InvalidRequest(`the image cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** An image as base64. */
export async function base64Of(source: ImageSource): Promise<string> {
  if (typeof source !== "object" || source === null) {
    throw new InvalidRequest("an image is an object: bytes, a Blob, a file: URL or { path }");
  }
  const bytes = await bytesOf(source);
  if (bytes.byteLength === 0) throw new InvalidRequest("the image is empty");
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
