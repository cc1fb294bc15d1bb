// The contrast of the design's colours as WCAG 2.2 counts it, in light and dark, read from the tokens themselves.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const css = readFileSync(new URL("../src/tokens.css", import.meta.url), "utf8");
const tokens = Object.fromEntries([...css.matchAll(/--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);/g)].map(([, name, light, dark]) => [name, { light, dark }]));

function luminance(hex) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

export function contrast(one, other) {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

const GROUNDS = ["bg", "surface", "sunken", "hover"];
const TEXT = 4.5;
const SHAPE = 3;
const PAIRS = [
  ...GROUNDS.flatMap((ground) => ["text", "text-2", "text-3"].map((text) => [text, ground, TEXT])),
  ...["bg", "surface", "hover"].flatMap((ground) => ["accent", "accent-strong", "danger", "warn", "ok", "info"].map((text) => [text, ground, TEXT])),
  ["on-accent", "accent", TEXT], ["on-accent", "accent-strong", TEXT], ["accent-strong", "accent-soft", TEXT], ["text", "accent-soft", TEXT],
  ...["danger", "warn", "ok", "info"].map((tone) => [tone, `${tone}-soft`, TEXT]),
  ["bg", "text", TEXT],
  ["line-strong", "surface", SHAPE], ["line-strong", "bg", SHAPE], ["accent", "sunken", SHAPE],
  ...[1, 2, 3, 4].map((number) => [`series-${number}`, "surface", SHAPE]),
];

test("the formula is WCAG's", () => {
  assert.equal(contrast("#000000", "#ffffff"), 21);
  assert.equal(contrast("#777777", "#ffffff").toFixed(2), "4.48");
});

for (const theme of ["light", "dark"]) {
  test(`text and shapes stand out: ${theme}`, () => {
    for (const [front, back, least] of PAIRS) {
      const found = contrast(tokens[front][theme], tokens[back][theme]);
      assert.ok(found >= least, `${front} on ${back}: ${found.toFixed(2)} is less than ${least}`);
    }
  });
}
