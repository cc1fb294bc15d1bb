/** Sums of the orders in view by buyer, region, day or product: a chart, and the same numbers as a table. */

"use client";

import { BAR, Bars, Columns, count, DataTable, type Datum, money, percent, Segments, Skeleton, State, time, useSettings } from "ayni-ui";
import { useMemo } from "react";

import { type Grouping, groups, type OrderLine } from "../lib/records.ts";
import { useWords } from "../lib/words.ts";

interface Props {
  orders: readonly OrderLine[];
  by: string;
  /** More of the orders' details is to come. */
  reading: boolean;
  onBy: (by: Grouping) => void;
  /** Filters the orders by a group. */
  onChoose: (change: { buyer?: string; region?: string }) => void;
}

const GROUPINGS: readonly Grouping[] = ["buyer", "region", "day", "product"];

export function Sums({ orders, by: wanted, reading, onBy, onChoose }: Props) {
  const words = useWords();
  const { language } = useSettings();
  const by = GROUPINGS.find((one) => one === wanted) ?? "buyer";
  const { groups: found, elsewhere } = useMemo(() => groups(orders, by), [orders, by]);
  const whole = found.reduce((sum, group) => sum + Number(group.pesos), 0);
  const label = (text: string) => (by === "day" ? time(language, text, "short") : text);
  const data: Datum[] = found.map((group) => ({ label: label(group.label), value: Number(group.pesos), shown: money(language, { amount: group.pesos, currency: "CLP" }, true) }));
  const caption = `${words.sums}: ${words[by]}`;

  return (
    <section aria-label={words.sums} className="panel">
      <div className="panel-head">
        <h2>
          {words.sums}
          {elsewhere ? <small className="muted"> + {elsewhere} {words.otherCurrencies}</small> : null}
        </h2>
        <Segments choices={GROUPINGS.map((value) => ({ value, label: words[value] }))} label={words.sumBy} onChange={onBy} value={by} />
      </div>
      <div className="panel-body" style={{ minHeight: 348 }}>
        {found.length ? (
          <div className="chart-pair">
            {by === "day" ? <Columns axis={(value) => money(language, { amount: value.toFixed(0), currency: "CLP" }, true)} data={data} /> : <Bars data={data} />}
            <DataTable
              caption={caption}
              changing={reading}
              head={[words[by], `${words.amountRead}`, words.share_]}
              rows={found.map((group) => ({
                label: group.label,
                middle: money(language, { amount: group.pesos, currency: "CLP" }),
                shown: whole > 0 ? percent(language, Number(group.pesos) / whole) : "–",
                action:
                  by === "buyer" || by === "region" ? (
                    <button className="link" onClick={() => onChoose({ [by]: group.label })} type="button">
                      {group.label}
                    </button>
                  ) : (
                    label(group.label)
                  ),
              }))}
            />
          </div>
        ) : reading ? (
          <div className="chart-pair">
            <Skeleton height={BAR} label={words.reading} />
            <div className="scroll-y" />
          </div>
        ) : (
          <State icon="table" title={words.read}>
            {count(language, 0)} / {count(language, orders.length)}
          </State>
        )}
      </div>
    </section>
  );
}
