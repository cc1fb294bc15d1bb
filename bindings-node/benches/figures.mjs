// Figures of a benchmark: printed as they come, judged at the end, and written as a section of the documentation.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";

const HEAD = "# What Node.js costs\n\nEach section names the command that wrote it.\n";

export function median(numbers) {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1];
}

export class Figures {
  rows = [];
  missed = [];

  /** A figure, and the most that it should be. */
  figure(name, value, unit, most, what = name) {
    const isMet = most === undefined || value <= most;
    this.#keep(`figure ${name} ${value.toFixed(3)} ${unit}`, name, isMet, most === undefined ? undefined : `≤ ${most}`);
    this.rows.push({ name, what, value, unit, target: most === undefined ? "" : `≤ ${most} ${unit}`, isMet });
  }

  /** A ratio, and what it should be at least or, with `atLeast` false, at most. */
  ratio(name, value, bound, atLeast = true) {
    const isMet = atLeast ? value >= bound : value <= bound;
    const target = `${atLeast ? "≥" : "≤"} ${bound}`;
    this.#keep(`ratio ${name} ${value.toFixed(3)}`, name, isMet, target);
    this.rows.push({ name, what: name, value, unit: "×", target, isMet });
  }

  #keep(line, name, isMet, target) {
    if (!isMet) this.missed.push(name);
    console.log(line + (target === undefined ? "" : `  (target ${target})`) + (isMet ? "" : "  MISSED"));
  }

  /** Writes the section of a page, and fails if a target was missed. */
  finish({ file, title, command, about, table }) {
    if (file !== undefined) {
      const when = `${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model}, Node.js ${process.version}.`;
      section(file, title, `Written by \`${command}\`. ${when} ${about}\n\n${table ?? this.table()}`);
    }
    if (this.missed.length === 0) return;
    console.error(`error: targets missed: ${this.missed.join(", ")}`);
    process.exitCode = 1;
  }

  /** Only what has a target. */
  ratios() {
    return this.table(this.rows.filter(({ target }) => target));
  }

  table(of = this.rows) {
    const rows = of.map(({ what, value, unit, target, isMet }) => {
      const shown = `${value >= 100 ? value.toFixed(0) : value.toFixed(2)} ${unit}`;
      return `| ${what} | ${shown} | ${target || "–"}${isMet ? "" : " (missed)"} |`;
    });
    return `| | | target |\n| --- | --- | --- |\n${rows.join("\n")}\n`;
  }
}

/** Puts a section in the place of the one with the same title, or at the end. */
function section(file, title, text) {
  const page = existsSync(file) ? readFileSync(file, "utf8") : HEAD;
  const [head, ...parts] = page.split(/^(?=## )/m);
  const others = parts.filter((part) => !part.startsWith(`## ${title}\n`));
  const all = [head, ...others, `## ${title}\n\n${text}`].map((part) => `${part.trim()}\n`);
  writeFileSync(file, all.join("\n"));
}
