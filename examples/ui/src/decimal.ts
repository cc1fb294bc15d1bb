/** Sums of decimal texts, exact: amounts arrive as texts because a number would round them. */

const PLACES = 6;
const UNIT = 10n ** BigInt(PLACES);

/** A decimal text in millionths; digits after the sixth place are cut. */
export function toUnits(text: string): bigint | null {
  const found = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text.trim());
  if (!found) return null;
  const [, sign = "", whole = "0", fraction = ""] = found;
  const units = BigInt(whole) * UNIT + BigInt(fraction.slice(0, PLACES).padEnd(PLACES, "0"));
  return sign ? -units : units;
}

export function fromUnits(units: bigint): string {
  const [sign, size] = units < 0n ? ["-", -units] : ["", units];
  const fraction = (size % UNIT).toString().padStart(PLACES, "0").replace(/0+$/, "");
  return `${sign}${size / UNIT}${fraction ? `.${fraction}` : ""}`;
}

/** The sum of decimal texts, as one. */
export function sumOf(texts: Iterable<string>): string {
  let sum = 0n;
  for (const text of texts) sum += toUnits(text) ?? 0n;
  return fromUnits(sum);
}
