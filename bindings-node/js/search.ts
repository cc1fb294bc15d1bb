/** Cosine similarity, and the nearest of many vectors. */

import type { EmbeddingSpace, Match } from "./generated/answers.js";
import { MAX_ITEMS, reading } from "./calls.js";
import { EmbedResponse } from "./embedder.js";
import { InvalidRequest } from "./generated/errors.js";
import { native, unwrap } from "./native.js";

/** Numbers, or a response with one vector. */
export type Vector = ArrayLike<number> | EmbedResponse;

function numbers(what: string, vector: Vector): Float32Array {
  return reading(what, () => {
    if (vector instanceof EmbedResponse) {
      if (vector.count !== 1) throw new InvalidRequest(`the response has ${vector.count} vectors where one is compared`);
      return numbers(what, vector.vector);
    }
    if (vector instanceof Float32Array) return vector;
    if (typeof vector !== "object" || vector === null || typeof vector.length !== "number" || vector.length > MAX_ITEMS) {
      throw new InvalidRequest(`${what} is no list of numbers`);
    }
    return Float32Array.from(vector);
  });
}

/** Vectors of different spaces have no similarity. */
function checkSpaces(a: unknown, b: unknown): void {
  const areResponses = reading("the vectors", () => a instanceof EmbedResponse && b instanceof EmbedResponse);
  if (!areResponses || !(a instanceof EmbedResponse) || !(b instanceof EmbedResponse)) return;
  const identity = ({ fingerprint, dimensions, ...names }: EmbeddingSpace): string =>
    JSON.stringify(fingerprint === undefined ? [dimensions, names] : [dimensions, fingerprint]);
  if (identity(a.space) !== identity(b.space)) {
    throw new InvalidRequest(
      `the vectors are of different spaces (${a.space.model}, ${a.space.dimensions} numbers, and ${b.space.model}, ` +
        `${b.space.dimensions} numbers): embed both with the same model, prompts and dimensions`,
    );
  }
}

/**
 * The cosine of the angle between two vectors, from -1 to 1; for vectors of unit length their dot product. Responses must be of
 * one space.
 */
export function similarity(a: Vector, b: Vector): number {
  checkSpaces(a, b);
  return unwrap(native().similarity(numbers("the first vector", a), numbers("the second vector", b)));
}

/**
 * The `k` vectors most similar to a query, the best first, and of equals the one with the lower index. Responses must be of one
 * space.
 */
export function topK(vectors: EmbedResponse | readonly Vector[], query: Vector, k = 10): Match[] {
  checkSpaces(vectors, query);
  if (!Number.isInteger(k) || k < 0 || k > MAX_ITEMS) throw new InvalidRequest("`k` is no whole number from 0 up");
  const [flat, width] = reading("the vectors", () => block(vectors));
  return JSON.parse(unwrap(native().topK(flat, width, numbers("the query", query), k))) as Match[];
}

function block(vectors: EmbedResponse | readonly Vector[]): [Float32Array, number] {
  if (vectors instanceof EmbedResponse) {
    if (vectors.flat instanceof Float32Array) return [vectors.flat, vectors.width];
    throw new InvalidRequest("these vectors are encoded; embed without `encoding` to compare them");
  }
  if (!Array.isArray(vectors) || vectors.length > MAX_ITEMS) throw new InvalidRequest("the vectors are no list of vectors");
  const rows = vectors.map((row, index) => numbers(`vector ${index}`, row));
  const width = rows[0]?.length ?? 0;
  const wrong = rows.findIndex((row) => row.length !== width);
  if (wrong >= 0) throw new InvalidRequest(`vector ${wrong} has ${rows[wrong]?.length} numbers, the first has ${width}`);
  const flat = new Float32Array(rows.length * width);
  for (const [index, row] of rows.entries()) flat.set(row, index * width);
  return [flat, width];
}
