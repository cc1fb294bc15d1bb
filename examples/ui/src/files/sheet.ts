/** A table as CSV and as an Excel workbook. */

/** A number stays one in both files; a text is never read as a formula. */
export type Cell = string | number | { decimal: string } | null | undefined;

export interface Sheet {
  name: string;
  head: readonly string[];
  rows: readonly (readonly Cell[])[];
}

function csvCell(cell: Cell, comma: string): string {
  if (cell == null) return "";
  if (typeof cell === "number") return String(cell).replace(".", comma);
  if (typeof cell === "object") return cell.decimal.replace(".", comma);
  // A spreadsheet would run a text that begins so.
  const text = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[";\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Separated by semicolons, with decimal commas and a byte order mark: as spreadsheets in Chile open it by a click. */
export function csv({ head, rows }: Sheet): string {
  const lines = [head, ...rows].map((row) => row.map((cell) => csvCell(cell, ",")).join(";"));
  return `\uFEFF${lines.join("\r\n")}\r\n`;
}

const escaped = (text: string) =>
  // Characters that XML cannot hold are left out.
  text.replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** The letters of a column: A, …, Z, AA. */
export function columnName(index: number): string {
  const last = String.fromCharCode(65 + (index % 26));
  return index < 26 ? last : columnName(Math.floor(index / 26) - 1) + last;
}

function xmlCell(cell: Cell, reference: string, style = ""): string {
  if (cell == null || cell === "") return "";
  if (typeof cell === "number") return `<c r="${reference}"><v>${cell}</v></c>`;
  if (typeof cell === "object") return `<c r="${reference}" s="2"><v>${escaped(cell.decimal)}</v></c>`;
  return `<c r="${reference}"${style} t="inlineStr"><is><t xml:space="preserve">${escaped(cell.slice(0, 32_767))}</t></is></c>`;
}

const HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';
const MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE = "http://schemas.openxmlformats.org/package/2006";

function worksheet({ head, rows }: Sheet): string {
  const lines = [head, ...rows].map((row, y) => {
    const cells = row.map((cell, x) => xmlCell(cell, columnName(x) + (y + 1), y ? "" : ' s="1"'));
    return `<row r="${y + 1}">${cells.join("")}</row>`;
  });
  const widths = head.map((title, x) => {
    const longest = Math.max(title.length, ...rows.slice(0, 200).map((row) => shownLength(row[x])));
    return `<col min="${x + 1}" max="${x + 1}" width="${Math.min(Math.max(longest + 2, 8), 60)}" customWidth="1"/>`;
  });
  const last = `${columnName(Math.max(head.length - 1, 0))}${rows.length + 1}`;
  return (
    `${HEAD}<worksheet xmlns="${MAIN}"><sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>` +
    `<cols>${widths.join("")}</cols><sheetData>${lines.join("")}</sheetData><autoFilter ref="A1:${last}"/></worksheet>`
  );
}

function shownLength(cell: Cell): number {
  if (cell == null) return 0;
  return (typeof cell === "object" ? cell.decimal : String(cell)).length;
}

const STYLES =
  `${HEAD}<styleSheet xmlns="${MAIN}"><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts>` +
  '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border/></borders>' +
  '<cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="3"><xf xfId="0"/><xf xfId="0" fontId="1" applyFont="1"/><xf xfId="0" numFmtId="4" applyNumberFormat="1"/></cellXfs></styleSheet>';

/** The bytes of an .xlsx file with one sheet. */
export function xlsx(sheet: Sheet): Uint8Array<ArrayBuffer> {
  const title = escaped(sheet.name.replace(/[\\/?*[\]:]/g, " ").slice(0, 31)).replaceAll('"', "&quot;");
  const type = (part: string, kind: string) => `<Override PartName="/xl/${part}" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.${kind}+xml"/>`;
  const relation = (id: number, kind: string, target: string) => `<Relationship Id="rId${id}" Type="${OFFICE}/${kind}" Target="${target}"/>`;
  const relations = (inner: string) => `${HEAD}<Relationships xmlns="${PACKAGE}/relationships">${inner}</Relationships>`;
  return zip({
    "[Content_Types].xml":
      `${HEAD}<Types xmlns="${PACKAGE}/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>` +
      `${type("workbook.xml", "sheet.main")}${type("worksheets/sheet1.xml", "worksheet")}${type("styles.xml", "styles")}</Types>`,
    "_rels/.rels": relations(relation(1, "officeDocument", "xl/workbook.xml")),
    "xl/workbook.xml": `${HEAD}<workbook xmlns="${MAIN}" xmlns:r="${OFFICE}"><sheets><sheet name="${title}" sheetId="1" r:id="rId1"/></sheets></workbook>`,
    "xl/_rels/workbook.xml.rels": relations(relation(1, "worksheet", "worksheets/sheet1.xml") + relation(2, "styles", "styles.xml")),
    "xl/worksheets/sheet1.xml": worksheet(sheet),
    "xl/styles.xml": STYLES,
  });
}

const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
  let crc = value;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function crcOf(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC[(crc ^ byte) & 255] ?? 0);
  return (crc ^ 0xffffffff) >>> 0;
}

/** A zip archive of texts, stored as they are. */
export function zip(files: Record<string, string>): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const [parts, central]: [Uint8Array[], Uint8Array[]] = [[], []];
  let offset = 0;
  for (const [path, text] of Object.entries(files)) {
    const [name, bytes] = [encoder.encode(path), encoder.encode(text)];
    // Version 2.0, names in UTF-8, stored, 1 January 1980.
    const common = [20, 0, 0x00, 0x08, 0, 0, 0, 0, 0x21, 0, ...u32(crcOf(bytes)), ...u32(bytes.length), ...u32(bytes.length), ...u16(name.length), 0, 0];
    const local = Uint8Array.from([0x50, 0x4b, 3, 4, ...common]);
    const entry = Uint8Array.from([0x50, 0x4b, 1, 2, 20, 0, ...common, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...u32(offset)]);
    parts.push(local, name, bytes);
    central.push(entry, name);
    offset += local.length + name.length + bytes.length;
  }
  const size = central.reduce((sum, part) => sum + part.length, 0);
  const many = u16(Object.keys(files).length);
  const end = Uint8Array.from([0x50, 0x4b, 5, 6, 0, 0, 0, 0, ...many, ...many, ...u32(size), ...u32(offset), 0, 0]);
  return joined([...parts, ...central, end]);
}

const u16 = (value: number) => [value & 255, (value >>> 8) & 255];
const u32 = (value: number) => [...u16(value & 0xffff), ...u16(value >>> 16)];

export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
