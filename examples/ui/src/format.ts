/** Numbers, amounts and times as people in Chile write them, in both languages. */

import type { Language } from "./settings.tsx";

const LOCALES = { es: "es-CL", en: "en-GB" } as const;
const ZONE = "America/Santiago";

const made = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

// Making a format takes longer than using it.
function once<F extends Intl.NumberFormat | Intl.DateTimeFormat>(key: string, make: () => F): F {
  let found = made.get(key);
  if (!found) made.set(key, (found = make()));
  return found as F;
}

export function count(language: Language, value: number): string {
  return once(`n${language}`, () => new Intl.NumberFormat(LOCALES[language])).format(value);
}

export function percent(language: Language, share: number): string {
  const options = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 } as const;
  return once(`p${language}`, () => new Intl.NumberFormat(LOCALES[language], options)).format(share);
}

/** A decimal text, such as a quantity; with so many digits after the comma, or as many as it has. */
export function decimal(language: Language, text: string, digits?: number): string {
  if (!/^-?\d+(\.\d+)?$/.test(text)) return text;
  const options = { minimumFractionDigits: digits ?? 0, maximumFractionDigits: digits ?? 4 };
  return once(`d${language}${digits}`, () => new Intl.NumberFormat(LOCALES[language], options)).format(text as Intl.StringNumericLiteral);
}

const SIGNS: Record<string, string> = { CLP: "$", CLF: "UF ", UTM: "UTM ", USD: "US$", EUR: "€" };

/** An amount: `$1.250.000`, `UF 12,5`. Its digits are those of the text. */
export function money(language: Language, value: { amount: string; currency: string }, compact = false): string {
  const sign = SIGNS[value.currency] ?? `${value.currency} `;
  const options: Intl.NumberFormatOptions = compact
    ? { notation: "compact", maximumFractionDigits: 1 }
    : { minimumFractionDigits: value.currency === "CLP" ? 0 : 2, maximumFractionDigits: value.currency === "CLP" ? 0 : 2 };
  const format = once(`m${language}${compact}${value.currency === "CLP"}`, () => new Intl.NumberFormat(LOCALES[language], options));
  // A text is formatted with all its digits.
  return sign + format.format(value.amount as Intl.StringNumericLiteral);
}

const STYLES = {
  day: { day: "2-digit", month: "short", year: "numeric" },
  short: { day: "2-digit", month: "2-digit" },
  time: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  moment: { day: "2-digit", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
} as const satisfies Record<string, Intl.DateTimeFormatOptions>;

/** A moment in Santiago; a day without a time is that day. */
export function time(language: Language, value: string, style: keyof typeof STYLES = "moment"): string {
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(value);
  const date = new Date(isDay ? `${value}T12:00:00Z` : value);
  if (Number.isNaN(date.getTime())) return value;
  const [zone, chosen] = isDay ? ["UTC", style === "moment" ? "day" : style] as const : [ZONE, style] as const;
  const format = once(`t${language}${chosen}${zone}`, () => new Intl.DateTimeFormat(LOCALES[language], { ...STYLES[chosen], timeZone: zone }));
  return format.format(date);
}

/** Today in Santiago, some days back: `2026-11-29`. */
export function santiagoDay(daysBack = 0, now = Date.now()): string {
  const format = once("day", () => new Intl.DateTimeFormat("en-CA", { timeZone: ZONE }));
  return format.format(new Date(now - daysBack * 86_400_000));
}

/** The time until a moment, in its two largest units: `2 d 4 h`; null when it has passed. */
export function timeLeft(until: string, now: number): string | null {
  const minutes = Math.floor((new Date(until).getTime() - now) / 60_000);
  if (!(minutes >= 0)) return null;
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor((minutes % 1440) / 60)];
  if (days > 9) return `${days} d`;
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}

/** A text without accents and case, for comparing: `Ñuñoa` is found by `nunoa`. */
export function folded(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}
