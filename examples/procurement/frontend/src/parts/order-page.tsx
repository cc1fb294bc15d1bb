"use client";

import { money } from "ayni-ui";
import type { records } from "ayni";
import Link from "next/link";

import { pageOf } from "../lib/records.ts";
import { RecordPage } from "./record-page.tsx";

/** The page of a purchase order. */
export function OrderPage({ code }: { code: string }) {
  return (
    <RecordPage<records.PurchaseOrder>
      code={code}
      kind="order"
      shownOf={(order, words, language) => ({
        code: order.row.code,
        name: order.row.name.trim(),
        state: order.row.state,
        description: order.description,
        facts: [
          [words.buyer, order.buyer?.name],
          [words.region, order.buyer?.region],
          [words.supplier, order.supplier?.name],
          [words.net, order.net ? money(language, order.net) : null],
          [words.taxes, order.taxes ? money(language, order.taxes) : null],
          [words.total, order.total ? money(language, order.total) : null],
          [words.payment, order.payment],
          [words.fromTender, order.tender_code ? <Link href={pageOf("tender", order.tender_code)}>{order.tender_code}</Link> : null],
        ],
        dates: [
          [words.created, order.created],
          [words.sent, order.sent],
          [words.accepted, order.accepted],
          [words.cancelled, order.cancelled],
          [words.changed, order.changed],
        ],
        items: order.items,
        more: null,
      })}
    />
  );
}
