/** Dates as a calendar file (iCalendar, RFC 5545). */

export interface CalendarEvent {
  id: string;
  title: string;
  /** When it is; it lasts no time. */
  at: string;
  description?: string;
  url?: string;
}

const escaped = (text: string) => text.replace(/[\\;,]/g, "\\$&").replace(/\r\n|\r|\n/g, "\\n");

const stamp = (moment: Date) => `${moment.toISOString().replace(/[-:]/g, "").slice(0, 15)}Z`;

/** Lines have at most 75 bytes; what is longer goes on after a blank. */
function fold(line: string): string {
  const [lines, limit]: [string[], number] = [[""], 74];
  const encoder = new TextEncoder();
  let used = 0;
  for (const letter of line) {
    const size = encoder.encode(letter).length;
    if (used + size > limit) {
      lines.push("");
      used = 1;
    }
    lines[lines.length - 1] += letter;
    used += size;
  }
  return lines.join("\r\n ");
}

export function calendar(events: readonly CalendarEvent[], now = new Date()): string {
  const lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//ayni//procurement//ES", "CALSCALE:GREGORIAN"];
  for (const { id, title, at, description, url } of events) {
    const moment = new Date(at);
    if (Number.isNaN(moment.getTime())) continue;
    lines.push("BEGIN:VEVENT", `UID:${escaped(id)}`, `DTSTAMP:${stamp(now)}`, `DTSTART:${stamp(moment)}`, `SUMMARY:${escaped(title)}`);
    if (description) lines.push(`DESCRIPTION:${escaped(description)}`);
    if (url) lines.push(`URL:${url}`);
    lines.push("BEGIN:VALARM", "ACTION:DISPLAY", `DESCRIPTION:${escaped(title)}`, "TRIGGER:-P1D", "END:VALARM", "END:VEVENT");
  }
  lines.push("END:VCALENDAR");
  return `${lines.map(fold).join("\r\n")}\r\n`;
}
