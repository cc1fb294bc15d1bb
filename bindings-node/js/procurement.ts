/** Public procurement: tenders, purchase orders, quick purchases, buyers, suppliers. Reads only. */

import { type CallOptions, jsonOf, reading, run, split } from "./calls.js";
import type { ProcurementInfo, Route } from "./generated/answers.js";
import type { ProcurementConfig } from "./generated/configs.js";
import { InvalidRequest } from "./generated/errors.js";
import type {
  Buyer,
  DayReport,
  EventPage,
  Money,
  MonthLine,
  Plan,
  PurchaseOrder,
  PurchaseOrderRow,
  QuickPurchase,
  QuickPurchaseRow,
  Quota,
  StoredMonth,
  StoredRecord,
  Supplier,
  SyncReport,
  Tender,
  TenderRow,
} from "./generated/records.js";
import { Handle, type OpenOptions, configText, opened, variablesText } from "./handle.js";
import { type NativeProcurement, native } from "./native.js";

/** The kinds of records that are listed in full. */
export type RecordKind = "tender" | "purchase_order" | "quick_purchase";

/** Which records to list. Without options, those that the source calls current. Days are `2026-11-20`. */
export interface ListOptions extends CallOptions {
  /** One day: the same as `from` and `to`. */
  on?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
  /** Words that the name or description must contain. */
  text?: string | undefined;
  state?: string | undefined;
  buyer?: string | undefined;
  supplier?: string | undefined;
  region?: string | undefined;
  /** Kinds of records, as the letters of their codes: `LE`, `LP`, `SE`. */
  kinds?: readonly string[] | undefined;
  min_amount?: Money | undefined;
  max_amount?: Money | undefined;
  /** The source, where there are several: `v1`, `ocds`. */
  source?: string | undefined;
  sorting?: "newest_first" | "oldest_first" | undefined;
  limit?: number | undefined;
  /** The `next_cursor` of an earlier listing. */
  cursor?: string | undefined;
}

/** How to read one record. */
export interface GetOptions extends CallOptions {
  source?: string | undefined;
}

/** Rows of a list, and their source. Amounts are texts with every digit of the source. */
export interface Listing<R> {
  rows: R[];
  next_cursor: string | null;
  total: number | null;
  /** How complete each day of the range is; empty where the source does not list by day. */
  days?: DayReport[];
  source: string;
  as_of: string;
  route: Route;
  /** The whole answer as JSON text, with every digit of the source. */
  json: string;
}

/** One full record, and its source. */
export interface Answer<R> {
  record: R;
  source: string;
  as_of: string;
  /** Whether it is outdated because the source was unavailable. */
  stale: boolean;
  route: Route;
  /** The whole answer as JSON text, with every digit of the source. */
  json: string;
}

/** The portal's monthly files: every line of purchase orders, tenders with every offer, quotes of quick purchases. */
export type BulkSet = "order_lines" | "tender_offers" | "quotes";

/** How to download a monthly file, and what to keep of it. */
export interface MonthOptions extends CallOptions {
  folder?: string | undefined;
  most_bytes?: number | undefined;
  /** Whether to download it although it has not changed. */
  anew?: boolean | undefined;
  unknown_columns?: "refuse" | "keep" | undefined;
  raw?: boolean | undefined;
  keep_file?: boolean | undefined;
}

/** Which lines of imported months to read. */
export interface LineOptions extends CallOptions {
  /** The first and the last month: `2026-06`. */
  from?: string | undefined;
  to?: string | undefined;
  code?: string | undefined;
  product?: string | undefined;
  /** The supplier's tax number, as the source writes it. */
  supplier?: string | undefined;
  /** Month and position of the last line of the page before. */
  after?: readonly [month: string, position: number] | undefined;
  limit?: number | undefined;
}

/** Which records in the store to read. */
export interface StoredOptions extends CallOptions {
  /** Words that title or description must have, whole; case, accents and Spanish endings do not matter. */
  text?: string | undefined;
  form?: "row" | "detail" | undefined;
  open?: boolean | undefined;
  /** The first and the last day: `2026-11-20`. */
  from?: string | undefined;
  to?: string | undefined;
  /** The code of the last record of the page before. */
  after?: string | undefined;
  limit?: number | undefined;
}

/** What the import of a month did. */
export interface ImportReport {
  set: BulkSet;
  month: string;
  changed: boolean;
  lines: number;
  unread: number;
  as_of: string;
}

/** A monthly file on disk: a zip of CSV files. */
export interface MonthFile {
  path: string;
  bytes: number;
  etag: string | null;
  last_modified: string | null;
  as_of: string;
  /** Whether it was downloaded just now; else it is from an earlier call. */
  changed: boolean;
}

/** The fields of a list as native code reads them. */
export function listRequest(options: Record<string, unknown>): Record<string, unknown> {
  const { on, ...request } = options;
  if (on === undefined) return request;
  if ("from" in request || "to" in request) {
    throw new InvalidRequest("`on` is one day; `from` and `to` are a range: give one of the two");
  }
  return { ...request, from: on, to: on };
}

function withText<A>(text: string): A {
  return Object.defineProperty(JSON.parse(text) as object, "json", { value: text }) as A;
}

function codeOf(code: string): string {
  if (typeof code !== "string") throw new InvalidRequest("the code is no string");
  return code;
}

/** Reads public-procurement records. */
export class Procurement extends Handle<NativeProcurement> {
  /** Mercado Público with the ticket of `MERCADO_PUBLICO_TICKET`. */
  static async fromEnv(env?: OpenOptions["env"]): Promise<Procurement> {
    return new Procurement(await opened(native().Procurement, undefined, variablesText({ env })));
  }

  /** Who the backend is, and what its sources can do. */
  override info(): ProcurementInfo {
    return super.info() as ProcurementInfo;
  }

  async #call(operation: string, request: unknown, options: CallOptions): Promise<string> {
    const fields = jsonOf("the request", request);
    return run(options, (call) => this.native.call(operation, fields, call));
  }

  async #list<R>(operation: string, options: ListOptions | undefined): Promise<Listing<R>> {
    const [request, call] = split(options);
    return withText(await this.#call(operation, listRequest(request), call));
  }

  async #get<R>(operation: string, code: string, options: GetOptions | undefined): Promise<Answer<R>> {
    const [request, call] = split(options);
    return withText(await this.#call(operation, { code: codeOf(code), ...request }, call));
  }

  /** Lists tenders. */
  tenders(options?: ListOptions): Promise<Listing<TenderRow>> {
    return this.#list("tenders", options);
  }

  /** Reads one tender. */
  tender(code: string, options?: GetOptions): Promise<Answer<Tender>> {
    return this.#get("tender", code, options);
  }

  /** Every one of the tenders, page after page; `limit` is the size of a page. */
  eachTender(options?: ListOptions): AsyncGenerator<TenderRow, void, undefined> {
    return each((more) => this.tenders(more), options);
  }

  /** Lists purchase orders. */
  purchaseOrders(options?: ListOptions): Promise<Listing<PurchaseOrderRow>> {
    return this.#list("purchase_orders", options);
  }

  /** Reads one purchase order. */
  purchaseOrder(code: string, options?: GetOptions): Promise<Answer<PurchaseOrder>> {
    return this.#get("purchase_order", code, options);
  }

  /** Every one of the purchase orders, page after page. */
  eachPurchaseOrder(options?: ListOptions): AsyncGenerator<PurchaseOrderRow, void, undefined> {
    return each((more) => this.purchaseOrders(more), options);
  }

  /** Lists quick purchases (Compra Ágil). */
  quickPurchases(options?: ListOptions): Promise<Listing<QuickPurchaseRow>> {
    return this.#list("quick_purchases", options);
  }

  /** Reads one quick purchase. */
  quickPurchase(code: string, options?: GetOptions): Promise<Answer<QuickPurchase>> {
    return this.#get("quick_purchase", code, options);
  }

  /** Every one of the quick purchases, page after page. */
  eachQuickPurchase(options?: ListOptions): AsyncGenerator<QuickPurchaseRow, void, undefined> {
    return each((more) => this.quickPurchases(more), options);
  }

  /** Lists public buyers. */
  buyers(options?: ListOptions): Promise<Listing<Buyer>> {
    return this.#list("buyers", options);
  }

  /** Lists suppliers. */
  suppliers(options?: ListOptions): Promise<Listing<Supplier>> {
    return this.#list("suppliers", options);
  }

  /** Estimates what listing records of a kind costs. Nothing is sent to the source. */
  async plan(kind: RecordKind, options?: ListOptions): Promise<Answer<Plan>> {
    const [request, call] = split(options);
    return withText(await this.#call("plan", { kind, list: listRequest(request) }, call));
  }

  /** Brings the store up to date and gives what changed: from `since` on, and later from where the last sync ended. */
  async sync(kind: RecordKind, options: CallOptions & { since: string; max_details?: number }): Promise<SyncReport> {
    const [request, call] = split(options);
    return JSON.parse(await this.#call("sync", { kind, ...request }, call)) as SyncReport;
  }

  /** What the syncs have noticed, also those that failed: at most `limit` events after a position. */
  async events(options?: CallOptions & { after?: number; limit?: number }): Promise<EventPage> {
    const [request, call] = split(options);
    return JSON.parse(await this.#call("events", request, call)) as EventPage;
  }

  /** How much of the ticket's daily quota is used. */
  async quota(options?: CallOptions): Promise<Quota> {
    return JSON.parse(await this.#call("quota", {}, split(options)[1])) as Quota;
  }

  /** Downloads a monthly file (`2026-06`) if it has changed, and writes its lines into the store. */
  async importMonth(set: BulkSet, month: string, options?: MonthOptions): Promise<ImportReport> {
    const [request, call] = split(options);
    return JSON.parse(await this.#call("import_month", { set, month, ...request }, call)) as ImportReport;
  }

  /** Records that syncs have stored, by code. Asks nobody. */
  async stored(kind: RecordKind, options?: StoredOptions): Promise<StoredRecord[]> {
    const [request, call] = split(options);
    return JSON.parse(await this.#call("stored", { kind, ...request }, call)) as StoredRecord[];
  }

  /** The imported months of a kind, each with its number of lines. */
  async months(kind: RecordKind, options?: CallOptions): Promise<StoredMonth[]> {
    return JSON.parse(await this.#call("months", { kind }, split(options)[1])) as StoredMonth[];
  }

  /** Lines of imported months, by month and position. */
  async lines(kind: RecordKind, options?: LineOptions): Promise<MonthLine[]> {
    const [request, call] = split(options);
    return JSON.parse(await this.#call("lines", { kind, ...request }, call)) as MonthLine[];
  }

  /** Downloads a monthly file unless the local one is current. */
  async downloadMonth(set: BulkSet, month: string, options?: MonthOptions): Promise<MonthFile> {
    const [request, call] = split(options);
    const text = await this.#call("download_month", { set, month, ...request }, call);
    const [[outcome, fields]] = Object.entries(JSON.parse(text) as object) as [[string, Omit<MonthFile, "changed">]];
    return { ...fields, changed: outcome === "fetched" };
  }
}

async function* each<R>(
  page: (options: ListOptions) => Promise<Listing<R>>,
  options: ListOptions | undefined,
): AsyncGenerator<R, void, undefined> {
  let next: ListOptions = reading("the options", () => ({ ...options }));
  for (;;) {
    const { rows, next_cursor: cursor } = await page(next);
    yield* rows;
    if (cursor === null || cursor === undefined) return;
    next = { ...next, cursor };
  }
}

/** Opens a procurement client. */
export async function openProcurement(config: ProcurementConfig, options?: OpenOptions): Promise<Procurement> {
  return new Procurement(await opened(native().Procurement, configText(config), variablesText(options)));
}
