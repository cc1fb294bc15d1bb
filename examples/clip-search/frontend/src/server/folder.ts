/** The folder of images: which there are, their bytes, new ones. */

import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join, parse, sep } from "node:path";
import { pipeline } from "node:stream/promises";

import { InvalidRequest, NotFound } from "ayni";

export interface ImageFile {
  /** The path inside the folder, with `/`. */
  name: string;
  bytes: number;
  /** When it last changed, in milliseconds. */
  changed: number;
  /** SHA-256 of its content. */
  hash: string;
}

/** What uploads begin with, and the endings that the folder is searched for. */
const TYPES = [
  { type: "image/jpeg", endings: [".jpg", ".jpeg"], begins: /^\xff\xd8\xff/ },
  { type: "image/png", endings: [".png"], begins: /^\x89PNG\r\n\x1a\n/ },
  { type: "image/webp", endings: [".webp"], begins: /^RIFF[^]{4}WEBP/ },
  { type: "image/gif", endings: [".gif"], begins: /^GIF8[79]a/ },
  { type: "image/bmp", endings: [".bmp"], begins: /^BM/ },
];
const ENDINGS = new Set(TYPES.flatMap(({ endings }) => endings));
const TEMPORARY = ".upload-";
const LONGEST_NAME = 100;

/** The media type of an image by its first bytes; undefined for what the model's decoder would not read either. */
export function typeOf(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.subarray(0, 16)).toString("latin1");
  return TYPES.find(({ begins }) => begins.test(head))?.type;
}

export function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function hashOfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

export class Folder {
  readonly path: string;
  #images = new Map<string, ImageFile>();

  constructor(path: string) {
    this.path = path;
  }

  async open(): Promise<void> {
    await mkdir(this.path, { recursive: true });
    // What an upload left that was killed.
    const left = (await readdir(this.path)).filter((name) => name.startsWith(TEMPORARY));
    await Promise.all(left.map((name) => rm(join(this.path, name), { force: true })));
  }

  get images(): ReadonlyMap<string, ImageFile> {
    return this.#images;
  }

  /** Looks again. Whether anything is new, changed or gone. Only files whose size or time changed are read. */
  async scan(): Promise<boolean> {
    const found = new Map<string, ImageFile>();
    const entries = await readdir(this.path, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      if (!entry.isFile() || !ENDINGS.has(parse(entry.name).ext.toLowerCase())) continue;
      const path = join(entry.parentPath ?? entry.path, entry.name);
      const name = path.slice(this.path.length + 1).split(sep).join("/");
      if (name.split("/").some((part) => part.startsWith("."))) continue;
      const image = await this.#look(path, name);
      if (image) found.set(name, image);
    }
    const isSame = found.size === this.#images.size && [...found].every(([name, { hash }]) => this.#images.get(name)?.hash === hash);
    this.#images = found;
    return !isSame;
  }

  /** Undefined where the file went away meanwhile or may not be read. */
  async #look(path: string, name: string): Promise<ImageFile | undefined> {
    try {
      const { size: bytes, mtimeMs: changed } = await stat(path);
      const known = this.#images.get(name);
      if (known && known.bytes === bytes && known.changed === changed) return known;
      return { name, bytes, changed, hash: await hashOfFile(path) };
    } catch {
      return undefined;
    }
  }

  async read(name: string): Promise<Buffer> {
    // Only names that a scan found: no path leads out of the folder.
    if (!this.#images.has(name)) throw new NotFound("there is no image of this name in the folder");
    try {
      return await readFile(join(this.path, name));
    } catch (cause) {
      throw new NotFound("the image is no longer in the folder", { cause });
    }
  }

  /** Stores an image under a name like the wished one. One that is there already is not stored twice. */
  async add(wished: string, bytes: Uint8Array): Promise<string> {
    const type = TYPES.find((one) => one.type === typeOf(bytes));
    if (!type) throw new InvalidRequest("this is no image that can be read: JPEG, PNG, WebP, GIF or BMP");
    const hash = hashOf(bytes);
    for (const one of this.#images.values()) if (one.hash === hash) return one.name;
    const { name, ext } = parse(wished.replaceAll("\\", "/"));
    const stem = name.normalize("NFC").replace(/[^\p{L}\p{N} ._-]+/gu, "-").replace(/^[.\s]+/, "").slice(0, LONGEST_NAME).trim() || "image";
    const ending = type.endings.includes(ext.toLowerCase()) ? ext.toLowerCase() : (type.endings[0] ?? "");
    const temporary = join(this.path, `${TEMPORARY}${randomUUID()}`);
    await writeFile(temporary, bytes, { flush: true });
    const free = await this.#reserve(stem, ending);
    await rename(temporary, join(this.path, free));
    const { mtimeMs: changed } = await stat(join(this.path, free));
    this.#images.set(free, { name: free, bytes: bytes.byteLength, changed, hash });
    return free;
  }

  /** A name that is not taken, also where systems don't tell small from large letters; an empty file holds it. */
  async #reserve(stem: string, ending: string): Promise<string> {
    const taken = new Set((await readdir(this.path)).map((one) => one.toLowerCase()));
    for (let copy = 1; ; copy++) {
      const name = copy === 1 ? `${stem}${ending}` : `${stem} (${copy})${ending}`;
      if (taken.has(name.toLowerCase())) continue;
      try {
        await writeFile(join(this.path, name), "", { flag: "wx" });
        return name;
      } catch (error) {
        // Another upload was faster.
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
    }
  }
}
