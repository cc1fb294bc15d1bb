// Written by `make gen` from the code. Change the code, not this file.

/** The decision about a tender. */
export interface Award {
  /** The kind of act. */
  act?: AwardAct | undefined | null;
  /** The act's number. */
  number?: string | undefined | null;
  /** The act's date. */
  date?: Timestamp | undefined | null;
  /** The source's number of bidders. One official text says that it counts awarded suppliers. */
  bidders?: number | undefined | null;
  /** The web page of the act. */
  page?: string | undefined | null;
  /** The total amount, if the source has it. */
  value?: Money | undefined | null;
  /** The winners, if the source names them for the whole tender and not by line. */
  suppliers: readonly Supplier[];
}

/** By which act a tender was decided. */
export type AwardAct = string;

/**
 * A public buyer. Do not confuse its three codes: that of the body, that of the unit, and the prefix of its
 * records' codes.
 */
export interface Buyer {
  /** The source's code of the body. */
  code: string;
  /** Its name. */
  name: string;
  /** Its tax number, as the source writes it. */
  tax_number?: string | undefined | null;
  /** The code of the buying unit. */
  unit_code?: string | undefined | null;
  /** The name of the buying unit. */
  unit_name?: string | undefined | null;
  /** Its address. */
  address?: string | undefined | null;
  /** Its commune. */
  commune?: string | undefined | null;
  /** Its region, as the source names it. */
  region?: string | undefined | null;
  /** The contact person; personal data. */
  contact?: Contact | undefined | null;
  /** The origin of the record; `null` inside another record. */
  origin?: Origin | undefined | null;
}

/** The calls that a listing made, and its ceiling. */
export interface CallCount {
  /** The calls that it made, with retries. */
  made: number;
  /** The most that it could make. A listing that needs more ends there with a cursor. */
  max: number;
}

/** A kind of change. */
export type Change = "opened" | "amended" | "closed" | "awarded" | "cancelled";

/** A change of a record. A store keeps one event for each revision of a record. */
export interface ChangeEvent {
  /** The kind of record. */
  kind: RecordKind;
  /** Its code. */
  code: string;
  /** What happened to it. */
  change: Change;
  /** The new state and closing time. */
  fingerprint: string;
  /** When the sync noticed it, to the millisecond, as stores keep it. */
  noticed: Timestamp;
}

/** How complete a day of a listing is. */
export type Completeness = "complete" | "partial" | "failed";

/** A contact person. Personal data. */
export interface Contact {
  /** The person's name. */
  name?: string | undefined | null;
  /** The person's role. */
  role?: string | undefined | null;
  /** The telephone number. */
  telephone?: string | undefined | null;
  /** The mail address. */
  mail?: string | undefined | null;
}

/** The code of a currency or unit of account: `CLP`, `CLF`, `UTM`, `USD`, `EUR`, or what the source said. */
export type Currency = string;

/** A calendar day. */
export type Date = string;

/** How complete one day of a listing is. */
export interface DayReport {
  /** The day. */
  day: Date;
  /** How complete it is. */
  completeness: Completeness;
  /** The number of the source's rows, before filtering. */
  rows: number;
  /** Whether the rows are from the store. */
  from_store: boolean;
  /** Why it failed, in one sentence. */
  problem?: string | undefined | null;
}

/** How an order is delivered. */
export type Dispatch = string;

/** A document that the source lists. */
export interface Document {
  /** The source's id of the document. */
  id: string;
  /** Its name. */
  name: string;
  /** The URL, if the source has it. */
  url?: string | undefined | null;
}

/** What an estimated amount is. */
export type Estimation = string;

/** Events of all syncs, in the order in which they were written. */
export interface EventPage {
  /** The events. */
  events: readonly ChangeEvent[];
  /** The position of the last one, after which to go on. */
  position: number;
}

/** A record, or the list of a day, that a sync could not read. */
export interface FailedRead {
  /** The code of the record, or the day. */
  name: string;
  /** Why, in one sentence. */
  problem: string;
  /** How often it failed. */
  attempts: number;
  /** From when on a sync tries again. */
  retry_at: Timestamp;
}

/** The form of a record: the row of a list, the detail, or an embedding of one of them. */
export type Form = "row" | "detail";

/** The award of a line of a tender. */
export interface LineAward {
  /** The winner. */
  supplier: Supplier;
  /** The quantity. */
  quantity?: string | undefined | null;
  /** The price per unit. */
  unit_price?: Money | undefined | null;
}

/** A line of a tender, an order or a quick purchase. */
export interface LineItem {
  /** The line's number. */
  number?: number | undefined | null;
  /** The product or service. */
  name: string;
  /** The buyer's description. */
  description?: string | undefined | null;
  /** The supplier's description. */
  supplier_description?: string | undefined | null;
  /** The product's UNSPSC code. */
  product_code?: string | undefined | null;
  /** The category's code. */
  category_code?: string | undefined | null;
  /** The category: `level 1 / level 2 / level 3`. */
  category?: string | undefined | null;
  /** The quantity. */
  quantity?: string | undefined | null;
  /** The unit of the quantity. */
  unit?: string | undefined | null;
  /** The price per unit, before taxes. */
  unit_price?: Money | undefined | null;
  /** The price of the line. */
  total?: Money | undefined | null;
  /** The award of the line. */
  award?: LineAward | undefined | null;
}

/** A request for a list of records. An empty request lists what the source considers current. */
export interface ListRequest {
  /** The first day. The source decides which day a record belongs to. */
  from?: Date | undefined | null;
  /** The last day. */
  to?: Date | undefined | null;
  /**
   * Words that the name or description must contain, whole: case, accents and number do not matter. Lists without
   * descriptions are searched by name.
   */
  text?: string | undefined | null;
  /** The state: a name of the source, whatever its case and accents, or a number. */
  state?: string | undefined | null;
  /** The buyer's code. */
  buyer?: string | undefined | null;
  /** The supplier's code or tax number. */
  supplier?: string | undefined | null;
  /** The region: its name, number or Roman number. */
  region?: string | undefined | null;
  /** Kinds of records, by the letters in their codes: `LE`, `LP`, `SE`. Empty for all. */
  kinds?: readonly string[] | undefined;
  /** The lowest amount. Records in another currency, or without an amount, do not match. */
  min_amount?: Money | undefined | null;
  /** The highest amount. Records in another currency, or without an amount, do not match. */
  max_amount?: Money | undefined | null;
  /**
   * The source, if there are several: `v1`, `ocds`, `ocds_direct` (direct awards), `ocds_framework` (orders under
   * framework agreements).
   */
  source?: string | undefined | null;
  /** The order. */
  sorting?: Sorting | undefined;
  /** The most rows to return. */
  limit?: number | undefined | null;
  /** The most calls to make. When they are made, the listing ends with what it found and a cursor. */
  max_calls?: number | undefined | null;
  /** The cursor of an earlier listing. */
  cursor?: string | undefined | null;
}

/** An amount with its currency. Converting it needs the rate of a day. */
export interface Money {
  /** The amount. */
  amount: string;
  /** The currency. */
  currency: Currency;
}

/** A calendar month: `2026-06`. */
export type Month = string;

/** A line and its month. */
export interface MonthLine {
  /** The month. */
  month: Month;
  /** The line. */
  line: StoredLine;
}

/** When an order is paid. */
export type OrderPayment = string;

/** The state of a purchase order: the source's name, or a number that ayni does not know. */
export type OrderState = string;

/** By which mechanism: the letters of an order's code. */
export type OrderType = string;

/** The source of a record, the time as of which it is valid, and the source's own text. */
export interface Origin {
  /** The source. */
  source: Source;
  /** The time as of which it is valid. */
  as_of: Timestamp;
  /** Whether it is an old answer, used because the source was unavailable. */
  stale: boolean;
  /** The record exactly as the source wrote it. */
  raw: Raw;
}

/** When a buyer pays. */
export type PaymentTerm = string;

/** The cost of a request, known before anything is sent. It never takes more calls than this, apart from retries. */
export interface Plan {
  /** The most calls that the request makes, without retries. */
  calls: number;
  /** Whether it makes exactly that many. It may make fewer if that depends on details or on the number of pages. */
  exact: boolean;
  /** The ceiling of the request: when it is reached, the listing ends with a cursor. */
  max_calls: number;
  /** The calls of the whole list over all its cursors; `null` if that depends on details or on the number of pages. */
  total_calls?: number | undefined | null;
  /** The number of these that count against the ticket's daily quota. */
  quota_calls: number;
  /** The calls left in the daily quota. */
  quota_left: number;
  /** The request's share of the whole daily quota, in per cent. */
  quota_percent: number;
  /** The shortest time that it takes, because of the gap between calls. */
  least_seconds: number;
  /** The days of the request, in its order. */
  days_asked: readonly Date[];
  /** The days that are already in the store. */
  days_known: readonly Date[];
  /** Whether it is large enough that the source asks to run it at night, between 22:00 and 07:00 in Chile. */
  better_at_night: boolean;
}

/** The details of a purchase order. */
export interface PurchaseOrder {
  /** The part that is in lists too. */
  row: PurchaseOrderRow;
  /** The description. */
  description: string;
  /** The mechanism. */
  kind?: OrderType | undefined | null;
  /** The tender that led to it. */
  tender_code?: string | undefined | null;
  /** The buyer. */
  buyer?: Buyer | undefined | null;
  /** The supplier. */
  supplier?: Supplier | undefined | null;
  /** The total before taxes. */
  net?: Money | undefined | null;
  /** The taxes. */
  taxes?: Money | undefined | null;
  /** The rate of the value-added tax, in per cent. */
  tax_percent?: string | undefined | null;
  /** The discounts. */
  discounts?: Money | undefined | null;
  /** The additional charges. */
  charges?: Money | undefined | null;
  /** The total, taxes included. */
  total?: Money | undefined | null;
  /** The payment term. */
  payment?: OrderPayment | undefined | null;
  /** The way of delivery. */
  dispatch?: Dispatch | undefined | null;
  /** When it was created. */
  created?: Timestamp | undefined | null;
  /** When it was sent. */
  sent?: Timestamp | undefined | null;
  /** When the supplier accepted it. */
  accepted?: Timestamp | undefined | null;
  /** When it was cancelled. */
  cancelled?: Timestamp | undefined | null;
  /** When it was last changed. This can be before it was sent. */
  changed?: Timestamp | undefined | null;
  /** The lines. */
  items: readonly LineItem[];
}

/** A purchase order in a list. */
export interface PurchaseOrderRow {
  /** The order's code. */
  code: string;
  /** Its title. */
  name: string;
  /** Its state. */
  state: OrderState;
  /** The origin of the row. */
  origin: Origin;
}

/** The details of a quick purchase. */
export interface QuickPurchase {
  /** The part that is in lists too. */
  row: QuickPurchaseRow;
  /** The description. */
  description: string;
  /** The buyer. */
  buyer?: Buyer | undefined | null;
  /** When the call to small firms closes. */
  first_call_closes?: Timestamp | undefined | null;
  /** When the call to all closes. */
  second_call_closes?: Timestamp | undefined | null;
  /** The delivery address. */
  delivery_address?: string | undefined | null;
  /** The days until delivery. */
  delivery_days?: number | undefined | null;
  /** The resulting purchase order. */
  order_code?: string | undefined | null;
  /** The lines. */
  items: readonly LineItem[];
  /** The offers, if the source shows them. */
  quotes: readonly Quote[];
  /** The documents that the source lists. */
  documents: readonly Document[];
  /** Why it was cancelled, in the buyer's words. */
  cancel_reason?: string | undefined | null;
  /** Why no offer was accepted. */
  deserted_reason?: string | undefined | null;
  /** Why the supplier was chosen. */
  choice_reason?: string | undefined | null;
}

/** A quick purchase in a list. */
export interface QuickPurchaseRow {
  /** The purchase's code. */
  code: string;
  /** Its title. */
  name: string;
  /** Its state. It may be out of date: still published after closing. */
  state: QuickPurchaseState;
  /** When it was published. */
  published?: Timestamp | undefined | null;
  /** When offers close. */
  closes?: Timestamp | undefined | null;
  /** When it was last changed. */
  changed?: Timestamp | undefined | null;
  /** The call: 1 for small firms, 2 for all. */
  call?: number | undefined | null;
  /** The budget. */
  budget?: Money | undefined | null;
  /** The budget in pesos, if the source has it. */
  budget_in_pesos?: Money | undefined | null;
  /** The buyer's name. */
  buyer_name?: string | undefined | null;
  /** The buyer's tax number. */
  buyer_tax_number?: string | undefined | null;
  /** The region's number, 1 to 16. */
  region?: number | undefined | null;
  /** The number of offers. */
  offers?: number | undefined | null;
  /** The origin of the row. */
  origin: Origin;
}

/** The state of a quick purchase: the source's name, or a number that ayni does not know. */
export type QuickPurchaseState = string;

/** How much of a day's quota is used. */
export interface Quota {
  /** The day, in Santiago. */
  day: Date;
  /** Requests that were sent, or are about to be. */
  used: number;
  /** Requests that are reserved and not sent yet. */
  reserved: number;
  /** The most requests that ayni sends: the soft limit. */
  limit: number;
  /** Whether the service has said that the quota is used up. */
  spent: boolean;
  /** When the count starts again: Santiago's midnight. */
  resets_at: Timestamp;
}

/** An offer for a quick purchase. */
export interface Quote {
  /** The supplier. */
  supplier: Supplier;
  /** The description. */
  description?: string | undefined | null;
  /** The price before taxes. */
  net?: Money | undefined | null;
  /** The price with taxes. */
  total?: Money | undefined | null;
  /** Whether it was chosen. */
  chosen?: boolean | undefined | null;
  /** When the offer was made. */
  made?: Timestamp | undefined | null;
  /** Until when it holds. */
  valid_until?: Timestamp | undefined | null;
  /** The taxes. */
  taxes?: Money | undefined | null;
  /** The price of the delivery. */
  shipping?: Money | undefined | null;
  /** Why the buyer did not admit it. */
  inadmissible?: string | undefined | null;
  /** The lines. */
  items: readonly LineItem[];
}

/** A record exactly as its source wrote it: any JSON. */
export type Raw = unknown;

/** The kind of a record. */
export type RecordKind = "tender" | "purchase_order" | "quick_purchase";

/** A process that another one belongs to. */
export interface RelatedProcess {
  /** The source's id of the relation. */
  id: string;
  /** The code of the other process. */
  identifier?: string | undefined | null;
  /** Its title. */
  title?: string | undefined | null;
  /** The kinds of relation, in OCDS's words: `framework`, `prior`. */
  relationships: readonly string[];
}

/** The order of a listing. */
export type Sorting = "newest_first" | "oldest_first";

/** Where a record is from: `v1`, `compra_agil_v2`, `ocds`, `bulk`, `scripted`. */
export type Source = string;

/** A line of an order, an offer for a line of a tender, or a quote for a product of a quick purchase. */
export interface StoredLine {
  /** The position in the month's files, from 1. */
  position: number;
  /** The code of the order, tender or quick purchase. */
  code: string;
  /** The source's number of the line. */
  line_id?: number | undefined | null;
  /** The day on which it was sent or published. */
  day?: Date | undefined | null;
  /** The state of the order, tender or quick purchase. */
  state: string;
  /** The buyer's code; for quick purchases its tax number. */
  buyer?: string | undefined | null;
  /** The supplier's tax number, as the source writes it. */
  supplier?: string | undefined | null;
  /** The supplier's name. */
  supplier_name?: string | undefined | null;
  /** The product's UNSPSC code. */
  product?: string | undefined | null;
  /** The product or service. */
  name: string;
  /** The buyer's description. */
  description?: string | undefined | null;
  /** The quantity. */
  quantity?: string | undefined | null;
  /** The unit of the quantity. */
  unit?: string | undefined | null;
  /** The price per unit. */
  unit_price?: Money | undefined | null;
  /** The price of the line. */
  total?: Money | undefined | null;
  /** Whether the offer or quote was chosen. */
  chosen?: boolean | undefined | null;
  /** The whole row as JSON; empty if it was not stored. */
  body: Raw;
}

/** A published month, and its number of lines. */
export interface StoredMonth {
  /** The month. */
  month: Month;
  /** Its number of lines. */
  lines: number;
}

/** A record in the store: the source's own text, and the fields by which records are queried. */
export interface StoredRecord {
  /** The kind. */
  kind: RecordKind;
  /** The form. */
  form: Form;
  /** The code. */
  code: string;
  /** The state, as its `Display` writes it. */
  state: string;
  /** Whether it is open for offers, or may still change for another reason. */
  open: boolean;
  /** The day on which the source lists it. */
  day?: Date | undefined | null;
  /** When offers close. */
  closes?: Timestamp | undefined | null;
  /** The source. */
  source: Source;
  /** The time of the answer that it is from. */
  as_of: Timestamp;
  /** The revision: 1 at first, one more with each change. */
  revision: number;
  /** The source's own text. */
  body: Raw;
}

/** A supplier. */
export interface Supplier {
  /** The source's code of the company. */
  code: string;
  /** Its name. */
  name: string;
  /** Its tax number, as the source writes it. */
  tax_number?: string | undefined | null;
  /** The code of the branch. */
  branch_code?: string | undefined | null;
  /** Its commune. */
  commune?: string | undefined | null;
  /** Its region, as the source names it. */
  region?: string | undefined | null;
  /** The contact person; personal data. */
  contact?: Contact | undefined | null;
  /** The origin of the record; `null` inside another record. */
  origin?: Origin | undefined | null;
}

/** The result of a sync. */
export interface SyncReport {
  /** The changes, in the order in which they were written. They are in the store too. */
  events: readonly ChangeEvent[];
  /** Rows that were compared. */
  rows: number;
  /** Days or windows that were brought up to date. */
  steps: number;
  /** Tenders that vanished from the lists and were not read, because there were more than `max_details`. */
  left_over: number;
  /** What could not be read, now or earlier. Later syncs try again. */
  failed: readonly FailedRead[];
}

/** The details of a tender. */
export interface Tender {
  /** The part that is in lists too. */
  row: TenderRow;
  /** The description. */
  description: string;
  /** The type of tender, if the source says it. */
  kind?: TenderType | undefined | null;
  /** The buyer. */
  buyer?: Buyer | undefined | null;
  /** The buyer's estimate, if it is public. */
  estimated_amount?: Money | undefined | null;
  /** What the estimate is based on. */
  estimation?: Estimation | undefined | null;
  /** When the buyer pays. */
  payment?: PaymentTerm | undefined | null;
  /** The duration of the contract. */
  contract_duration?: [string, TimeUnit] | null | undefined;
  /** When it was published. */
  published?: Timestamp | undefined | null;
  /** The other dates. */
  dates: TenderDates;
  /** The decision; `null` while the tender is open, whatever the dates say. */
  award?: Award | undefined | null;
  /** The lines. */
  items: readonly LineItem[];
  /** All suppliers that made an offer, if the source names them (OCDS does, v1 does not). */
  bidders: readonly Supplier[];
  /** The documents that the source lists. */
  documents: readonly Document[];
  /** Other processes that it belongs to, as OCDS has them: the framework agreement of an order. */
  related: readonly RelatedProcess[];
}

/** The dates of a tender, as the source has them. */
export interface TenderDates {
  /** When it was created. */
  created?: Timestamp | undefined | null;
  /** When the period for questions starts. */
  questions_from?: Timestamp | undefined | null;
  /** When the period for questions ends. */
  questions_until?: Timestamp | undefined | null;
  /** When the answers are published. */
  answers?: Timestamp | undefined | null;
  /** When technical offers are opened. */
  technical_opening?: Timestamp | undefined | null;
  /** When economic offers are opened. */
  economic_opening?: Timestamp | undefined | null;
  /** When the buyer expects to decide. */
  expected_award?: Timestamp | undefined | null;
  /** When the buyer decided; `null` while the tender is open. */
  awarded?: Timestamp | undefined | null;
  /** When the site can be visited. */
  site_visit?: Timestamp | undefined | null;
  /** When the contract is expected to be signed. */
  expected_signature?: Timestamp | undefined | null;
}

/** A tender in a list. */
export interface TenderRow {
  /** The tender's code. */
  code: string;
  /** Its title. */
  name: string;
  /** Its state. */
  state: TenderState;
  /** When offers close. */
  closes?: Timestamp | undefined | null;
  /** The origin of the row. */
  origin: Origin;
}

/** The state of a tender: the source's name, or a number that ayni does not know. */
export type TenderState = string;

/** Which kind of tender: the letters of its code. */
export type TenderType = string;

/** The unit of a contract's duration. */
export type TimeUnit = string;

/** A moment, with the offset that Santiago has then. */
export type Timestamp = string;
