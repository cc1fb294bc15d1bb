/** The receipts that ayni writes into PNG files, read without decoding the image. */

import { errorOf } from "./failure.js";

/** How an image was made: what the guide of local images calls its receipt. */
export interface ImageReceipt {
  engine: string;
  operation: "generate" | "refine";
  model: string;
  model_sha256: string;
  recipe: string;
  device: string;
  precision: string;
  prompt: string;
  negative_prompt?: string;
  seed: number;
  width: number;
  height: number;
  steps: number;
  guidance: number;
  scheduler: string;
  strength?: number;
  /** SHA-256 of the image, and of the mask, that it was made from. */
  input_sha256?: string;
  mask_sha256?: string;
  loras?: { name: string; weight: number; sha256: string }[];
}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * The receipt in a PNG file, or null in one without. Fails (`invalid_request`) for what is no PNG, is cut off, or has a
 * receipt that nobody can read.
 */
export function readReceipt(png: Uint8Array): ImageReceipt | null {
  const text = textOf(png, "ayni");
  if (text === null) return null;
  let found: Partial<ImageReceipt> | null = null;
  try {
    found = JSON.parse(text) as Partial<ImageReceipt>;
  } catch {
    // Said below.
  }
  if (typeof found?.prompt !== "string" || typeof found.model !== "string" || typeof found.seed !== "number") {
    throw errorOf("invalid_request", "the receipt in the image is damaged");
  }
  return found as ImageReceipt;
}

function textOf(png: Uint8Array, key: string): string | null {
  if (SIGNATURE.some((byte, at) => png[at] !== byte)) throw errorOf("invalid_request", "the file is no PNG image");
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  let found: string | null = null;
  for (let at = 8; at + 12 <= png.length; ) {
    const end = at + 8 + view.getUint32(at);
    const kind = latin(png.subarray(at + 4, at + 8));
    if (end + 4 > png.length) break;
    if (kind === "IEND") return found;
    if (kind === "tEXt" || kind === "iTXt") found ??= textIn(png.subarray(at + 8, end), key, kind === "iTXt");
    at = end + 4;
  }
  throw errorOf("invalid_request", "the PNG image is cut off");
}

/** The text of a chunk with this key. Compressed ones are not ours. */
function textIn(chunk: Uint8Array, key: string, isInternational: boolean): string | null {
  const named = chunk.indexOf(0);
  if (latin(chunk.subarray(0, named)) !== key) return null;
  if (!isInternational) return latin(chunk.subarray(named + 1));
  if (chunk[named + 1] !== 0) return null;
  const translated = chunk.indexOf(0, chunk.indexOf(0, named + 3) + 1);
  return new TextDecoder().decode(chunk.subarray(translated + 1));
}

function latin(bytes: Uint8Array): string {
  let text = "";
  // In pieces, because a call takes so many arguments.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}

/** Bytes in base64, as the routes take them. */
export function base64Of(bytes: Uint8Array): string {
  return btoa(latin(bytes));
}

/** The bytes of base64, as the routes answer it. */
export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  } catch (cause) {
    throw errorOf("response_invalid", "the image is no base64", { cause });
  }
}

/** What kind of file an image is, by its first bytes. */
export function mediaTypeOf(image: Uint8Array): string {
  const first = latin(image.subarray(0, 12));
  if (first.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (/^RIFF[^]{4}WEBP/.test(first)) return "image/webp";
  return "image/png";
}

/** SHA-256 in hex, by which receipts name images; undefined where the browser has none: on `http:` beyond this machine. */
export async function sha256Of(bytes: Uint8Array<ArrayBuffer>): Promise<string | undefined> {
  const { subtle } = globalThis.crypto;
  if (subtle === undefined) return undefined;
  const hash = new Uint8Array(await subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
