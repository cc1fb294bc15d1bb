/** Records of public procurement as the pages show them. */

import { folded, sumOf } from "ayni-ui";
import type { records } from "ayni";
import type { RequestOptions } from "ayni/browser";

import type { Client } from "./api.tsx";
import { shortRegion } from "./words.ts";

export type Money = records.Money;

export interface Listing<R> {
  rows: R[];
  next_cursor: string | null;
  source: string;
  as_of: string;
  stale?: boolean;
  calls?: { made: number; max: number } | null;
}

export interface Full<R> {
  record: R;
  source: string;
  as_of: string;
  stale: boolean;
}

export interface Quota {
  day: string;
  used: number;
  reserved: number;
  limit: number;
  spent: boolean;
  resets_at: string;
}

export type Kind = "tender" | "quick" | "order";

export const PATHS: Record<Kind, string> = { tender: "tenders", quick: "quick-purchases", order: "purchase-orders" };
export const PAGES: Record<Kind, string> = { tender: "tenders", quick: "quick", order: "orders" };

export const pageOf = (kind: Kind, code: string) => `/${PAGES[kind]}/${encodeURIComponent(code)}`;

export function readFull<R>(client: Client, kind: Kind, code: string, options: RequestOptions): Promise<Full<R>> {
  return client.get<Full<R>>(`/api/${PATHS[kind]}/${encodeURIComponent(code)}`, {}, options);
}

/** A purchase order as the monitor shows it: the row of the list, and the details once they are read. */
export interface OrderLine {
  code: string;
  name: string;
  state: string;
  detail: records.PurchaseOrder | undefined;
}

export const buyerOf = (order: OrderLine) => order.detail?.buyer?.name.trim();
export const regionOf = (order: OrderLine) => (order.detail?.buyer?.region ? shortRegion(order.detail.buyer.region) : undefined);
export const supplierOf = (order: OrderLine) => order.detail?.supplier?.name.trim();
export const sentOf = (order: OrderLine) => order.detail?.sent ?? order.detail?.created ?? undefined;
export const totalOf = (order: OrderLine) => order.detail?.total ?? order.detail?.net ?? undefined;

export type Grouping = "buyer" | "region" | "day" | "product";

export interface Group {
  label: string;
  orders: number;
  /** The sum in pesos, exact. */
  pesos: string;
}

/** What an order counts towards: its buyer and so on with its total; for products each line with its own. */
function shares(order: OrderLine, by: Grouping): { label: string; amount: Money | null | undefined }[] {
  if (!order.detail) return [];
  if (by === "product") {
    return order.detail.items.map((item) => ({ label: item.name.trim(), amount: item.total }));
  }
  const label = { buyer: buyerOf, region: regionOf, day: (one: OrderLine) => sentOf(one)?.slice(0, 10) }[by](order);
  return [{ label: label ?? "–", amount: totalOf(order) }];
}

/** Sums of orders whose details are read, the largest first; days in their order. Other currencies are counted apart. */
export function groups(orders: readonly OrderLine[], by: Grouping): { groups: Group[]; elsewhere: number } {
  const found = new Map<string, { codes: Set<string>; amounts: string[] }>();
  const elsewhere = new Set<string>();
  for (const order of orders) {
    for (const { label, amount } of shares(order, by)) {
      const group = found.get(label) ?? { codes: new Set(), amounts: [] };
      found.set(label, group);
      group.codes.add(order.code);
      if (amount?.currency === "CLP") group.amounts.push(amount.amount);
      else if (amount) elsewhere.add(order.code);
    }
  }
  const made = [...found].map(([label, { codes, amounts }]) => ({ label, orders: codes.size, pesos: sumOf(amounts) }));
  made.sort((a, b) => (by === "day" ? a.label.localeCompare(b.label) : Number(b.pesos) - Number(a.pesos) || a.label.localeCompare(b.label)));
  return { groups: made, elsewhere: elsewhere.size };
}

/** An opportunity: a tender or a quick purchase in one list. */
export interface Opportunity {
  kind: "tender" | "quick";
  code: string;
  name: string;
  state: string;
  closes: string | undefined;
  buyer: string | undefined;
  region: string | undefined;
  amount: Money | undefined;
  categories: readonly string[];
}

export function ofTender(row: records.TenderRow, detail: records.Tender | undefined): Opportunity {
  return {
    kind: "tender", code: row.code, name: row.name.trim(), state: row.state, closes: row.closes ?? undefined,
    buyer: detail?.buyer?.name.trim(), region: detail?.buyer?.region ? shortRegion(detail.buyer.region) : undefined,
    amount: detail?.estimated_amount ?? undefined, categories: categoriesOf(detail?.items ?? []),
  };
}

export function ofQuick(row: records.QuickPurchaseRow, detail: records.QuickPurchase | undefined, regionName: (number: number) => string | undefined): Opportunity {
  return {
    kind: "quick", code: row.code, name: row.name.trim(), state: row.state, closes: row.closes ?? undefined,
    buyer: row.buyer_name?.trim(), region: row.region ? regionName(row.region) : undefined,
    amount: row.budget_in_pesos ?? row.budget ?? undefined, categories: categoriesOf(detail?.items ?? []),
  };
}

function categoriesOf(items: readonly records.LineItem[]): string[] {
  return [...new Set(items.flatMap(({ category }) => (category ? [category.split(" / ")[0] ?? category] : [])))];
}

const COMMON = new Set("para del las los con por una que servicio servicios adquisicion suministro compra contratacion the and".split(" "));

const wordsOf = (name: string) => new Set(folded(name).match(/[a-z0-9ñ]{4,}/g)?.filter((word) => !COMMON.has(word)) ?? []);

/** The rows whose titles share most with this one. A word counts the more, the fewer titles have it. */
export function similar<R extends { code: string; name: string }>(rows: readonly R[], code: string, name: string, most = 5): R[] {
  const titles = rows.filter((row) => row.code !== code).map((row) => ({ row, words: wordsOf(row.name) }));
  const spread = new Map<string, number>();
  for (const { words } of titles) for (const word of words) spread.set(word, (spread.get(word) ?? 0) + 1);
  const own = wordsOf(name);
  const scored = titles.map(({ row, words }) => {
    let score = 0;
    for (const word of words) if (own.has(word)) score += Math.log(1 + titles.length / (spread.get(word) ?? 1));
    return { row, score };
  });
  return scored.filter(({ score }) => score > 0).sort((a, b) => b.score - a.score).slice(0, most).map(({ row }) => row);
}
