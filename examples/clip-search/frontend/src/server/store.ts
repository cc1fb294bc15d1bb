/**
 * Vectors on disk, by the SHA-256 of the image that each is of. One file: a line that says which model made them, then rows
 * of one size, which are only appended. A row that was cut short, by kill -9 or a full disk, fails its check and is dropped.
 */

import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/** Which model made vectors. Those of equal `key` and width may be compared. */
export interface Model {
  name: string;
  key: string;
  dimensions: number;
}

const FORMAT = "ayni vectors 1 ";
const LONGEST_HEADER = 4096;
const HASH_BYTES = 32;
const CHECK_BYTES = 8;

type Rows = Iterable<readonly [hash: string, vector: Float32Array]>;

export class VectorStore {
  readonly #path: string;
  #model: Model | undefined;
  #vectors = new Map<string, Float32Array>();
  /** Changes of the file go one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(path: string) {
    this.#path = path;
  }

  /** Opens the file; one that is not there, or is none of ours, counts as empty. */
  static async open(path: string): Promise<VectorStore> {
    const store = new VectorStore(path);
    await mkdir(dirname(path), { recursive: true });
    const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (bytes) await store.#read(bytes);
    return store;
  }

  async #read(bytes: Buffer): Promise<void> {
    const end = bytes.subarray(0, LONGEST_HEADER).indexOf("\n");
    this.#model = end < 0 ? undefined : modelIn(bytes.toString("utf8", 0, end));
    if (!this.#model) return;
    const size = rowBytes(this.#model);
    let at = end + 1;
    for (; at + size <= bytes.length; at += size) {
      const row = bytes.subarray(at, at + size);
      const content = row.subarray(0, size - CHECK_BYTES);
      if (!checkOf(content).equals(row.subarray(size - CHECK_BYTES))) break;
      // A copy: the numbers of a row may lie at any byte.
      const numbers = new Float32Array(Uint8Array.from(content.subarray(HASH_BYTES)).buffer);
      this.#vectors.set(content.toString("hex", 0, HASH_BYTES), numbers);
    }
    if (at === bytes.length) return;
    // What follows must begin at a whole row.
    const file = await open(this.#path, "r+");
    await file.truncate(at).finally(() => file.close());
  }

  /** Which model made the vectors; undefined before the first. */
  get model(): Model | undefined {
    return this.#model;
  }

  get(hash: string): Float32Array | undefined {
    return this.#vectors.get(hash);
  }

  /**
   * Adds vectors of a model. Those of another model are dropped, because the two cannot be compared; that model is the
   * answer then. What is added is on the disk when this returns.
   */
  add(model: Model, rows: Rows): Promise<Model | undefined> {
    return this.#alone(async () => {
      const before = this.#model;
      const isOther = before?.key !== model.key || before.dimensions !== model.dimensions;
      if (isOther) await this.#write(model, new Map());
      const fresh = [...rows].filter(([hash]) => !this.#vectors.has(hash));
      if (fresh.length > 0) {
        const file = await open(this.#path, "a");
        try {
          await file.appendFile(Buffer.concat(fresh.map(([hash, vector]) => rowOf(hash, vector))));
          await file.datasync();
        } finally {
          await file.close();
        }
        for (const [hash, vector] of fresh) this.#vectors.set(hash, vector);
      }
      return isOther ? before : undefined;
    });
  }

  /** Writes the file anew without the vectors of images that are gone, once they are more than those that are left. */
  keep(hashes: ReadonlySet<string>): Promise<void> {
    return this.#alone(async () => {
      const left = new Map([...this.#vectors].filter(([hash]) => hashes.has(hash)));
      if (this.#model && left.size * 2 < this.#vectors.size) await this.#write(this.#model, left);
    });
  }

  /** Replaces the file in one step. */
  async #write(model: Model, vectors: Map<string, Float32Array>): Promise<void> {
    const next = `${this.#path}.next`;
    const rows = [...vectors].map(([hash, vector]) => rowOf(hash, vector));
    try {
      await writeFile(next, Buffer.concat([Buffer.from(`${FORMAT}${JSON.stringify(model)}\n`), ...rows]), { flush: true });
      await rename(next, this.#path);
    } catch (error) {
      await rm(next, { force: true });
      throw error;
    }
    this.#model = model;
    this.#vectors = vectors;
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work, work);
    this.#last = mine.catch(() => undefined);
    return mine;
  }
}

function rowBytes({ dimensions }: Model): number {
  return HASH_BYTES + 4 * dimensions + CHECK_BYTES;
}

function checkOf(content: Uint8Array): Buffer {
  return createHash("sha256").update(content).digest().subarray(0, CHECK_BYTES);
}

function rowOf(hash: string, vector: Float32Array): Buffer {
  const content = Buffer.concat([Buffer.from(hash, "hex"), Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength)]);
  return Buffer.concat([content, checkOf(content)]);
}

function modelIn(header: string): Model | undefined {
  if (!header.startsWith(FORMAT)) return undefined;
  try {
    const { name, key, dimensions } = JSON.parse(header.slice(FORMAT.length)) as Record<string, unknown>;
    const fits = typeof name === "string" && typeof key === "string" && Number.isInteger(dimensions) && Number(dimensions) > 0;
    return fits ? { name, key, dimensions: Number(dimensions) } : undefined;
  } catch {
    return undefined;
  }
}
