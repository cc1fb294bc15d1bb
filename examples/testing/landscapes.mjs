// Images for the tests and the demo: small landscapes, drawn here, each another one; and the same as a PNG.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

/** A PNG whose pixels `colour(x, y)` gives as [red, green, blue], with texts by their keys. */
export function png(width, height, colour, texts = {}) {
  const rows = Buffer.alloc(height * (1 + 3 * width));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) rows.set(colour(x, y), y * (1 + 3 * width) + 1 + 3 * x);
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const told = Object.entries(texts).map(([key, text]) => chunk("tEXt", Buffer.from(`${key}\0${text}`, "latin1")));
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", head), ...told, chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

const mix = (a, b, share) => a.map((value, at) => Math.round(value + (b[at] - value) * share));
function hue(degrees, light, strength = 0.6) {
  const channel = (n) => {
    const k = (n + degrees / 30) % 12;
    return Math.round(255 * (light - strength * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** A landscape: sky, sun, three rows of hills; `light` changes its colours. */
export function landscape(seed, width = 240, height = 180, light = (colour) => colour) {
  const random = (at) => ((seed * 9301 + at * 49297 + 233) % 7919) / 7919;
  const [sky, ground] = [360 * random(1), 360 * random(2)];
  const sun = [width * (0.15 + 0.7 * random(3)), height * (0.15 + 0.3 * random(4)), 10 + 16 * random(5)];
  const hill = (row, x) => height * (0.45 + 0.16 * row + 0.09 * Math.sin(x / (18 + 30 * random(6 + row)) + 6 * random(9 + row)));
  const colour = (x, y) => {
    for (const row of [2, 1, 0]) if (y > hill(row, x)) return hue(ground + 25 * row, 0.5 - 0.13 * row);
    if (Math.hypot(x - sun[0], y - sun[1]) < sun[2]) return [255, 236, 190];
    return mix(hue(sky, 0.62), hue(sky + 40, 0.88), y / height);
  };
  return png(width, height, (x, y) => light(colour(x, y)));
}

const PLACES = ["valle", "laguna", "quebrada", "cordillera", "desierto", "costa", "altiplano", "bosque"];

/** Writes landscapes into a folder; gives their names. */
export function drawLandscapes(folder, count, from = 1) {
  return Array.from({ length: count }, (_, at) => {
    const seed = from + at;
    const name = `${PLACES[seed % PLACES.length]}-${String(seed).padStart(2, "0")}.png`;
    writeFileSync(join(folder, name), landscape(seed));
    return name;
  });
}
