/** One search over tenders and quick purchases. */

import { folded } from "ayni-ui";
import type { records } from "ayni";

import type { Client } from "./api.tsx";
import { type Listing, type Opportunity, ofQuick, ofTender } from "./records.ts";
import { REGIONS } from "./words.ts";

export const SEARCH = { q: "", kind: "", region: "", min: "", max: "", category: "", within: "", sort: "closes", down: "" };
export type Search = typeof SEARCH;

/** What the backend is asked; the rest is filtered among its rows. */
export const askedOf = ({ q, region, min, max }: Search) => JSON.stringify([q.trim(), region, min, max]);

export interface Found {
  tenders: Listing<records.TenderRow> | undefined;
  quick: Listing<records.QuickPurchaseRow> | undefined;
  /** Why one of the two lists is missing; if both failed, the search fails. */
  problem: unknown;
}

/** The most requests that one search may cost: filters by region and amount read the details of tenders. */
const MAX_CALLS = 40;

const isAmount = (text: string) => /^\d+(\.\d+)?$/.test(text);

export async function search(client: Client, wanted: Search, signal: AbortSignal): Promise<Found> {
  const query = {
    text: wanted.q.trim() || undefined,
    region: wanted.region || undefined,
    min_amount: isAmount(wanted.min) ? wanted.min : undefined,
    max_amount: isAmount(wanted.max) ? wanted.max : undefined,
    max_calls: MAX_CALLS,
  };
  const [tenders, quick] = await Promise.allSettled([
    client.get<Listing<records.TenderRow>>("/api/tenders", query, { signal }),
    client.get<Listing<records.QuickPurchaseRow>>("/api/quick-purchases", { ...query, state: "publicada" }, { signal }),
  ]);
  if (tenders.status === "rejected" && quick.status === "rejected") throw tenders.reason;
  return {
    tenders: tenders.status === "fulfilled" ? tenders.value : undefined,
    quick: quick.status === "fulfilled" ? quick.value : undefined,
    problem: tenders.status === "rejected" ? tenders.reason : quick.status === "rejected" ? quick.reason : undefined,
  };
}

const regionName = (number: number) => REGIONS.find(([one]) => one === String(number))?.[1];

export function opportunities(
  found: Found,
  tender: (code: string) => records.Tender | undefined,
  quick: (code: string) => records.QuickPurchase | undefined,
): Opportunity[] {
  return [
    ...(found.tenders?.rows ?? []).map((row) => ofTender(row, tender(row.code))),
    ...(found.quick?.rows ?? []).map((row) => ofQuick(row, quick(row.code), regionName)),
  ];
}

/** The filters that need no request. */
export function matches(wanted: Search, now: number): (one: Opportunity) => boolean {
  const days = Number(wanted.within);
  return (one) => {
    if (wanted.kind && one.kind !== wanted.kind) return false;
    if (wanted.category && !one.categories.some((category) => folded(category) === folded(wanted.category))) return false;
    if (!days) return true;
    const closes = new Date(one.closes ?? "").getTime();
    return closes >= now && closes <= now + days * 86_400_000;
  };
}
