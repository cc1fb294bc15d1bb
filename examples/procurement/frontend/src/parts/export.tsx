/** Exports a table as it is shown: CSV, Excel, PDF, and dates as a calendar. What writes a file is loaded when it is wanted. */

"use client";

import { Menu, type MenuItem, useSettings, useToast } from "ayni-ui";
import type { CalendarEvent } from "ayni-ui/files/calendar";
import type { Block } from "ayni-ui/files/pdf";
import type { Cell, Sheet } from "ayni-ui/files/sheet";

import { useWords } from "../lib/words.ts";

interface Props {
  /** The file's name without its ending. */
  name: string;
  title: string;
  sheet: () => Sheet;
  /** Widths of the columns in the PDF. */
  widths: readonly number[];
  ends: readonly number[];
  footer: string;
  events?: () => readonly CalendarEvent[];
}

const asText = (cell: Cell): string => (cell == null ? "" : typeof cell === "object" ? cell.decimal : String(cell));

export function ExportMenu(props: Props) {
  const words = useWords();
  const { language } = useSettings();
  const toast = useToast();

  async function write(form: "csv" | "xlsx" | "pdf" | "ics") {
    const { save } = await import("ayni-ui/files/save");
    if (form === "csv") {
      const { csv } = await import("ayni-ui/files/sheet");
      save(csv(props.sheet()), "text/csv;charset=utf-8", `${props.name}.csv`);
    } else if (form === "xlsx") {
      const { xlsx } = await import("ayni-ui/files/sheet");
      save(xlsx(props.sheet()), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", `${props.name}.xlsx`);
    } else if (form === "ics") {
      const { calendar } = await import("ayni-ui/files/calendar");
      save(calendar(props.events?.() ?? []), "text/calendar;charset=utf-8", `${props.name}.ics`);
    } else {
      const { pdf } = await import("ayni-ui/files/pdf");
      const { head, rows } = props.sheet();
      const table: Block = { kind: "table", head, rows: rows.map((row) => row.map(asText)), widths: props.widths, ends: props.ends };
      const blocks: Block[] = [{ kind: "title", text: props.title }, { kind: "small", text: props.footer }, table];
      save(pdf(blocks, { title: props.title, footer: props.footer, language }), "application/pdf", `${props.name}.pdf`);
    }
    toast(words.exported);
  }

  const items: MenuItem[] = [
    { label: "CSV", icon: "table", onSelect: () => void write("csv") },
    { label: "Excel (XLSX)", icon: "table", onSelect: () => void write("xlsx") },
    { label: "PDF", icon: "document", onSelect: () => void write("pdf") },
  ];
  if (props.events) items.push({ label: words.calendar, icon: "calendar", onSelect: () => void write("ics") });
  return <Menu icon="download" items={items} label={words.export} />;
}
