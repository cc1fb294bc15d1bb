/** A report as PDF: headings, paragraphs and tables on A4, in the reader's own Helvetica. */

import { joined } from "./sheet.ts";

export type Block =
  | { kind: "title" | "heading" | "text" | "small"; text: string }
  | { kind: "table"; head: readonly string[]; rows: readonly (readonly string[])[]; widths: readonly number[]; ends?: readonly number[] };

const [WIDTH, HEIGHT, MARGIN] = [595, 842, 48];
const SIZES = { title: 18, heading: 12, text: 10, small: 8 };

// Widths of Helvetica's glyphs in thousandths, from Adobe's metrics: space to tilde. Letters with accents are as wide as without.
const WIDTHS = (
  "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 584 584 584 556 " +
  "1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 469 556 " +
  "333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 260 334 584"
).split(" ").map(Number);

// What Windows-1252, the encoding of the standard fonts, has above Latin-1.
const WINDOWS = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ";

function glyph(letter: string): number {
  const code = letter.codePointAt(0) ?? 63;
  if ((code >= 32 && code < 127) || (code >= 160 && code < 256)) return code;
  const above = WINDOWS.indexOf(letter);
  return above < 0 ? 63 : 128 + above;
}

function widthOf(text: string, size: number): number {
  let sum = 0;
  for (const letter of text.normalize("NFD").replace(/\p{M}/gu, "")) sum += WIDTHS[(letter.codePointAt(0) ?? 0) - 32] ?? 556;
  return (sum * size) / 1000;
}

const literal = (text: string) =>
  `<${[...text.normalize("NFC")].map((letter) => glyph(letter).toString(16).padStart(2, "0")).join("")}>`;

/** Lines of words that fit; a word that is too long is cut. */
export function wrapped(text: string, size: number, room: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).flatMap((word) => pieces(word, size, room))) {
    const longer = line ? `${line} ${word}` : word;
    if (line && widthOf(longer, size) > room) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  if (line) lines.push(line);
  return lines;
}

function pieces(word: string, size: number, room: number): string[] {
  if (widthOf(word, size) <= room) return [word];
  const found = [""];
  for (const letter of word) {
    if (widthOf(found[found.length - 1] + letter, size) > room) found.push("");
    found[found.length - 1] += letter;
  }
  return found;
}

class Pages {
  readonly pages: string[][] = [[]];
  y = HEIGHT - MARGIN;

  room(height: number): boolean {
    if (this.y - height >= MARGIN) return false;
    this.pages.push([]);
    this.y = HEIGHT - MARGIN;
    return true;
  }

  text(text: string, x: number, size: number, bold = false): void {
    this.pages.at(-1)?.push(`BT /${bold ? "B" : "R"} ${size} Tf ${x.toFixed(1)} ${this.y.toFixed(1)} Td ${literal(text)} Tj ET`);
  }

  rule(): void {
    this.pages.at(-1)?.push(`0.8 G 0.5 w ${MARGIN} ${(this.y - 4).toFixed(1)} m ${WIDTH - MARGIN} ${(this.y - 4).toFixed(1)} l S`);
  }
}

function paragraph(pages: Pages, kind: "title" | "heading" | "text" | "small", text: string): void {
  const size = SIZES[kind];
  pages.y -= kind === "heading" ? 10 : 0;
  for (const line of wrapped(text, size, WIDTH - 2 * MARGIN)) {
    pages.room(size * 1.4);
    pages.y -= size * 1.4;
    pages.text(line, MARGIN, size, kind === "title" || kind === "heading");
  }
  pages.y -= 4;
}

function table(pages: Pages, block: Extract<Block, { kind: "table" }>): void {
  const size = 8;
  const unit = (WIDTH - 2 * MARGIN) / block.widths.reduce((sum, width) => sum + width, 0);
  const write = (cells: readonly string[], bold: boolean) => {
    const wrappedCells = block.widths.map((width, index) => wrapped(cells[index] ?? "", size, width * unit - 8));
    const lines = Math.max(1, ...wrappedCells.map((cell) => cell.length));
    if (pages.room(lines * 11 + 8) && !bold) write(block.head, true);
    const top = pages.y;
    let x = MARGIN;
    wrappedCells.forEach((cell, index) => {
      const width = (block.widths[index] ?? 0) * unit;
      cell.forEach((line, row) => {
        pages.y = top - 11 * (row + 1);
        pages.text(line, block.ends?.includes(index) ? x + width - 8 - widthOf(line, size) : x, size, bold);
      });
      x += width;
    });
    pages.y = top - 11 * lines;
    pages.rule();
    pages.y -= 5;
  };
  write(block.head, true);
  for (const row of block.rows) write(row, false);
}

/** The bytes of a PDF. `footer` stands at the foot of every page, before its number. */
export function pdf(blocks: readonly Block[], about: { title: string; footer: string; language: string }): Uint8Array<ArrayBuffer> {
  const pages = new Pages();
  for (const block of blocks) {
    if (block.kind === "table") table(pages, block);
    else paragraph(pages, block.kind, block.text);
  }
  const objects = [
    `<< /Type /Catalog /Pages 2 0 R /Lang (${about.language}) >>`,
    `<< /Type /Pages /Kids [${pages.pages.map((_, index) => `${6 + index * 2} 0 R`).join(" ")}] /Count ${pages.pages.length} >>`,
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
    `<< /Title ${literal(about.title)} /Producer (ayni) >>`,
  ];
  pages.pages.forEach((lines, index) => {
    const foot = `BT /R 7 Tf 0.4 g ${MARGIN} 28 Td ${literal(`${about.footer} · ${index + 1}/${pages.pages.length}`)} Tj ET`;
    const content = [...lines, foot].join("\n");
    objects.push(
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${WIDTH} ${HEIGHT}] /Resources << /Font << /R 3 0 R /B 4 0 R >> >> /Contents ${7 + index * 2} 0 R >>`,
      `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
    );
  });
  return assembled(objects);
}

function assembled(objects: readonly string[]): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const parts = [encoder.encode("%PDF-1.4\n")];
  const offsets: number[] = [];
  let at = parts[0]?.length ?? 0;
  objects.forEach((object, index) => {
    offsets.push(at);
    const bytes = encoder.encode(`${index + 1} 0 obj\n${object}\nendobj\n`);
    parts.push(bytes);
    at += bytes.length;
  });
  const table = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  const trailer = `trailer << /Size ${objects.length + 1} /Root 1 0 R /Info 5 0 R >>\nstartxref\n${at}\n%%EOF\n`;
  parts.push(encoder.encode(`xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table}${trailer}`));
  return joined(parts);
}
