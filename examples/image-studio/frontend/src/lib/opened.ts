/** PNG files that a person drops on the page. */

import { AyniError } from "ayni/browser";
import { readReceipt, sha256Of } from "ayni/browser/images";

import { type Picture, freshId, sizeOf } from "./gallery.ts";
import type { Words } from "./words.ts";

/** As base64 it still fits into what an engine takes. */
const MOST_BYTES = 15 << 20;

/** Why a file is not opened, in the page's words. */
export class NotOpened extends Error {}

export async function opened(file: File, words: Words): Promise<Picture> {
  if (file.size > MOST_BYTES) throw new NotOpened(words.tooLarge);
  const bytes = new Uint8Array(await file.arrayBuffer());
  let receipt: Picture["receipt"];
  try {
    receipt = readReceipt(bytes);
  } catch (error) {
    const { message } = error as AyniError;
    throw new NotOpened(/no PNG/.test(message) ? words.notPng : /receipt/.test(message) ? words.damagedReceipt : words.cutOff);
  }
  const png = new Blob([bytes], { type: "image/png" });
  const size = await sizeOf(png);
  if (!size) throw new NotOpened(words.cutOff);
  const { model, prompt = file.name } = receipt ?? {};
  return { id: freshId(), at: Date.now(), kind: "opened", prompt, png, size, receipt, sha256: await sha256Of(bytes), model };
}
