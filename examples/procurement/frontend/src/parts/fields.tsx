/** The fields of a record, flat, each with an anchor that claims link to. */

"use client";

import { useSettings } from "ayni-ui";
import { useEffect, useMemo, useState } from "react";

import { pathName, useWords } from "../lib/words.ts";
import { Section } from "./record-page.tsx";

export const anchorOf = (path: string) => `campo${path.replace(/[^\w-]/g, "-")}`;

interface Flat {
  path: string;
  value: string;
}

/** Texts, numbers and amounts of a record with their JSON pointers. What the source wrote itself is left out: it says the same. */
function flat(value: unknown, path = ""): Flat[] {
  if (value === null || value === undefined || path === "/row/origin") return [];
  if (typeof value === "object" && "amount" in value && "currency" in value) return [{ path, value: `${value.amount} ${value.currency}` }];
  if (Array.isArray(value)) return value.flatMap((one, index) => flat(one, `${path}/${index}`));
  if (typeof value === "object") return Object.entries(value).flatMap(([name, one]) => flat(one, `${path}/${name}`));
  return [{ path, value: String(value) }];
}

/** `cited` adds what was derived from the record, such as the days left. */
export function Fields({ record, cited, lit }: { record: unknown; cited: readonly Flat[]; lit: string | undefined }) {
  const words = useWords();
  const { language } = useSettings();
  const rows = useMemo(() => {
    const own = flat(record);
    const known = new Set(own.map(({ path }) => path));
    const extra = cited.filter(({ path }, index) => !known.has(path) && cited.findIndex((one) => one.path === path) === index);
    return [...own, ...extra];
  }, [record, cited]);
  const [shown, setShown] = useState<string>();
  useEffect(() => {
    setShown(lit);
    if (lit) document.getElementById(anchorOf(lit))?.scrollIntoView({ block: "nearest" });
  }, [lit]);
  return (
    <Section title={words.fields}>
      <dl className="fields" tabIndex={0}>
        {rows.map(({ path, value }) => (
          <div data-lit={path === shown ? "" : undefined} id={anchorOf(path)} key={path}>
            <dt>{pathName(path, language)}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </Section>
  );
}
