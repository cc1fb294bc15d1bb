"use client";

import { Badge, money, useSettings } from "ayni-ui";
import type { records } from "ayni";
import Link from "next/link";

import { pageOf } from "../lib/records.ts";
import { useWords } from "../lib/words.ts";
import { Documents, RecordPage, Section } from "./record-page.tsx";

/** The page of a quick purchase (Compra Ágil). */
export function QuickPage({ code }: { code: string }) {
  return (
    <RecordPage<records.QuickPurchase>
      code={code}
      kind="quick"
      shownOf={(quick, words, language) => ({
        code: quick.row.code,
        name: quick.row.name.trim(),
        state: quick.row.state,
        description: quick.description,
        closes: quick.row.closes ?? quick.second_call_closes ?? quick.first_call_closes,
        facts: [
          [words.buyer, quick.buyer?.name ?? quick.row.buyer_name],
          [words.region, quick.buyer?.region],
          [words.amount, quick.row.budget ? money(language, quick.row.budget) : null],
          [words.delivery, [quick.delivery_days ? `${quick.delivery_days} ${words.days}` : "", quick.delivery_address ?? ""].filter(Boolean).join(" · ")],
          [words.resultingOrder, quick.order_code ? <Link href={pageOf("order", quick.order_code)}>{quick.order_code}</Link> : null],
        ],
        dates: [
          [words.published, quick.row.published],
          [words.changed, quick.row.changed],
          [words.firstCall, quick.first_call_closes],
          [words.secondCall, quick.second_call_closes],
        ],
        items: quick.items,
        more: (
          <>
            <Offers quotes={quick.quotes} />
            <Documents documents={quick.documents} />
          </>
        ),
      })}
    />
  );
}

function Offers({ quotes }: { quotes: readonly records.Quote[] }) {
  const words = useWords();
  const { language } = useSettings();
  return (
    <Section title={words.offers}>
      {quotes.length ? (
        <table className="plain-table">
          <thead>
            <tr>
              <th scope="col">{words.supplier}</th>
              <th className="end" scope="col">
                {words.net}
              </th>
              <th className="end" scope="col">
                {words.total}
              </th>
            </tr>
          </thead>
          <tbody>
            {quotes.map((quote, index) => (
              <tr key={index}>
                <td>
                  {quote.supplier.name} {quote.chosen ? <Badge tone="ok">{words.chosen}</Badge> : null}
                  {quote.inadmissible ? <p className="muted">{quote.inadmissible}</p> : null}
                </td>
                <td className="end">{quote.net ? money(language, quote.net) : "–"}</td>
                <td className="end">{quote.total ? money(language, quote.total) : "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <p className="muted">{words.noOffers}</p>
      )}
    </Section>
  );
}
