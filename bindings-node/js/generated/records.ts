// Written by `make gen` from the code. Change the code, not this file.

/** How a tender was decided. */
export interface Award {
  /** By which act. */
  act?: AwardAct | undefined | null;
  /** The act's number. */
  number?: string | undefined | null;
  /** The act's date. */
  date?: Timestamp | undefined | null;
  /** What the source calls the number of bidders; one official text says awarded suppliers. */
  bidders?: number | undefined | null;
  /** The page of the act. */
  page?: string | undefined | null;
  /** The amount, where the source sums it up. */
  value?: Money | undefined | null;
  /** Who won, where the source says so for the whole and not by line. */
  suppliers: readonly Supplier[];
}

/** By which act a tender was decided. */
export type AwardAct = string;

/**
 * A public buyer. It has three codes that are easily mistaken: of the body, of the unit, and the prefix of its
 * records' codes.
 */
export interface Buyer {
  /** The body's code at the source. */
  code: string;
  /** Its name. */
  name: string;
  /** Its tax number, as the source writes it. */
  tax_number?: string | undefined | null;
  /** The code of the unit that buys. */
  unit_code?: string | undefined | null;
  /** The name of the unit that buys. */
  unit_name?: string | undefined | null;
  /** Its address. */
  address?: string | undefined | null;
  /** Its commune. */
  commune?: string | undefined | null;
  /** Its region, as the source names it. */
  region?: string | undefined | null;
  /** Whom to ask: personal data. */
  contact?: Contact | undefined | null;
  /** Where the record is from; `None` inside another record. */
  origin?: Origin | undefined | null;
}

/** What happened to a record. */
export type Change = "opened" | "amended" | "closed" | "awarded" | "cancelled";

/**
 * One change of one record. The store keeps an event once: two with the same kind, code, change and fingerprint are
 * the same event.
 */
export interface ChangeEvent {
  /** What kind of record. */
  kind: RecordKind;
  /** Its code. */
  code: string;
  /** What happened to it. */
  change: Change;
  /** What it changed to: state and closing time. */
  fingerprint: string;
  /** When it was noticed. */
  noticed: Timestamp;
}

/** How complete a day of a listing is. */
export type Completeness = "complete" | "partial" | "failed";

/** A person to ask. Personal data. */
export interface Contact {
  /** The person's name. */
  name?: string | undefined | null;
  /** What the person does. */
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
  /** How many rows the source gave, before filtering. */
  rows: number;
  /** Whether the rows came out of the store. */
  from_store: boolean;
  /** Why it failed, in one sentence. */
  problem?: string | undefined | null;
}

/** How an order is delivered. */
export type Dispatch = string;

/** A document that a source lists. */
export interface Document {
  /** The document's id at the source. */
  id: string;
  /** Its name. */
  name: string;
  /** Where it is, where the source says so. */
  url?: string | undefined | null;
}

/** What an estimated amount is. */
export type Estimation = string;

/** Who won a line of a tender. */
export interface LineAward {
  /** Who won it. */
  supplier: Supplier;
  /** How much of it. */
  quantity?: string | undefined | null;
  /** At which price of one unit. */
  unit_price?: Money | undefined | null;
}

/** A line of a tender, an order or a quick purchase. */
export interface LineItem {
  /** The line's number. */
  number?: number | undefined | null;
  /** What it is. */
  name: string;
  /** What the buyer says of it. */
  description?: string | undefined | null;
  /** What the supplier says of it. */
  supplier_description?: string | undefined | null;
  /** The product's code in the classification of the United Nations (UNSPSC). */
  product_code?: string | undefined | null;
  /** The category's code. */
  category_code?: string | undefined | null;
  /** The category: `level 1 / level 2 / level 3`. */
  category?: string | undefined | null;
  /** How much of it. */
  quantity?: string | undefined | null;
  /** In which unit. */
  unit?: string | undefined | null;
  /** The price of one unit, before taxes. */
  unit_price?: Money | undefined | null;
  /** The price of the line. */
  total?: Money | undefined | null;
  /** Who won the line. */
  award?: LineAward | undefined | null;
}

/** Which records to list. An empty request lists what the source calls current. */
export interface ListRequest {
  /** The first day, by the source's own reckoning of a record's day. */
  from?: Date | undefined | null;
  /** The last day. */
  to?: Date | undefined | null;
  /** Words that the name or description must hold. */
  text?: string | undefined | null;
  /** The state, as the source names it. */
  state?: string | undefined | null;
  /** The buyer's code. */
  buyer?: string | undefined | null;
  /** The supplier's code or tax number. */
  supplier?: string | undefined | null;
  /** The region, as the source names it. */
  region?: string | undefined | null;
  /** Kinds of records, as the letters of their codes: `LE`, `LP`, `SE`. Empty for all. */
  kinds?: readonly string[] | undefined;
  /** The least amount. Records in another currency, or without an amount, do not match. */
  min_amount?: Money | undefined | null;
  /** The greatest amount. Records in another currency, or without an amount, do not match. */
  max_amount?: Money | undefined | null;
  /**
   * The source, where there are several: `v1`, `ocds`, `ocds_direct` (direct awards), `ocds_framework` (orders
   * under framework agreements).
   */
  source?: string | undefined | null;
  /** Which end comes first. */
  sorting?: Sorting | undefined;
  /** Most rows to give. */
  limit?: number | undefined | null;
  /** Where an earlier listing ended. */
  cursor?: string | undefined | null;
}

/** An amount and its currency. Converting it needs a dated rate. */
export interface Money {
  /** How much. */
  amount: string;
  /** Of what. */
  currency: Currency;
}

/** When an order is paid. */
export type OrderPayment = string;

/** The state of a purchase order: the source's name, or a number that ayni does not know. */
export type OrderState = string;

/** By which mechanism: the letters of an order's code. */
export type OrderType = string;

/** Where a record is from, as of when it holds, and what the source itself wrote. */
export interface Origin {
  /** Where it is from. */
  source: Source;
  /** As of when it holds. */
  as_of: Timestamp;
  /** Whether it is older than it should be, because the source could not be asked. */
  stale: boolean;
  /** The record exactly as the source wrote it. */
  raw: Raw;
}

/** When a buyer pays. */
export type PaymentTerm = string;

/** What a request costs, told before anything is sent. */
export interface Plan {
  /** The calls, without repetitions of failed ones. */
  calls: number;
  /** Whether it will be exactly so many. It is not where details have to be read, or pages counted, to know. */
  exact: boolean;
  /** Of these, the calls that count against the ticket's quota of the day. */
  quota_calls: number;
  /** The calls that the quota of the day still allows. */
  quota_left: number;
  /** The share of the day's whole quota that the request takes, in per cent. */
  quota_percent: number;
  /** How long it will take at least, by the gap between calls. */
  least_seconds: number;
  /** The days that are asked for, in the order of the request. */
  days_asked: readonly Date[];
  /** The days that the store already has in full. */
  days_known: readonly Date[];
  /** Whether the source would rather have it at night, between 22:00 and 07:00 in Chile. */
  better_at_night: boolean;
}

/** A purchase order in full. */
export interface PurchaseOrder {
  /** What lists say of it. */
  row: PurchaseOrderRow;
  /** What is bought. */
  description: string;
  /** By which mechanism. */
  kind?: OrderType | undefined | null;
  /** The tender that it follows from. */
  tender_code?: string | undefined | null;
  /** Who buys. */
  buyer?: Buyer | undefined | null;
  /** Who sells. */
  supplier?: Supplier | undefined | null;
  /** The total before taxes. */
  net?: Money | undefined | null;
  /** The taxes. */
  taxes?: Money | undefined | null;
  /** The rate of the value-added tax, in per cent. */
  tax_percent?: string | undefined | null;
  /** What was taken off. */
  discounts?: Money | undefined | null;
  /** What was put on. */
  charges?: Money | undefined | null;
  /** The total, taxes included. */
  total?: Money | undefined | null;
  /** When it is paid. */
  payment?: OrderPayment | undefined | null;
  /** How it is delivered. */
  dispatch?: Dispatch | undefined | null;
  /** When it was drawn up. */
  created?: Timestamp | undefined | null;
  /** When it was sent. */
  sent?: Timestamp | undefined | null;
  /** When the supplier accepted it. */
  accepted?: Timestamp | undefined | null;
  /** When it was called off. */
  cancelled?: Timestamp | undefined | null;
  /** When it was last changed; this can precede its sending. */
  changed?: Timestamp | undefined | null;
  /** The lines of it. */
  items: readonly LineItem[];
}

/** A purchase order as lists give it. */
export interface PurchaseOrderRow {
  /** The order's code. */
  code: string;
  /** Its title. */
  name: string;
  /** Its state. */
  state: OrderState;
  /** Where the row is from. */
  origin: Origin;
}

/** A quick purchase in full. */
export interface QuickPurchase {
  /** What lists say of it. */
  row: QuickPurchaseRow;
  /** What is asked for. */
  description: string;
  /** Who buys. */
  buyer?: Buyer | undefined | null;
  /** When the call to small firms closes. */
  first_call_closes?: Timestamp | undefined | null;
  /** When the call to all closes. */
  second_call_closes?: Timestamp | undefined | null;
  /** Where to deliver. */
  delivery_address?: string | undefined | null;
  /** Within how many days. */
  delivery_days?: number | undefined | null;
  /** The purchase order that came of it. */
  order_code?: string | undefined | null;
  /** The lines of it. */
  items: readonly LineItem[];
  /** The offers, where the source shows them. */
  quotes: readonly Quote[];
  /** The documents that the source lists. */
  documents: readonly Document[];
}

/** A quick purchase as lists give it. */
export interface QuickPurchaseRow {
  /** The purchase's code. */
  code: string;
  /** Its title. */
  name: string;
  /** Its state. It may lag: still published after closing. */
  state: QuickPurchaseState;
  /** When it was published. */
  published?: Timestamp | undefined | null;
  /** When offers close. */
  closes?: Timestamp | undefined | null;
  /** When it was last changed. */
  changed?: Timestamp | undefined | null;
  /** Which call it is: 1 for small firms, 2 for all. */
  call?: number | undefined | null;
  /** The money set aside. */
  budget?: Money | undefined | null;
  /** The same in pesos, where the source says so. */
  budget_in_pesos?: Money | undefined | null;
  /** Who buys. */
  buyer_name?: string | undefined | null;
  /** The buyer's tax number. */
  buyer_tax_number?: string | undefined | null;
  /** The region's number, 1 to 16. */
  region?: number | undefined | null;
  /** How many offers there are. */
  offers?: number | undefined | null;
  /** Where the row is from. */
  origin: Origin;
}

/** The state of a quick purchase: the source's name, or a number that ayni does not know. */
export type QuickPurchaseState = string;

/** How much of a day's quota is used. */
export interface Quota {
  /** The day, in Santiago. */
  day: Date;
  /** Requests that left, or were about to. */
  used: number;
  /** Requests that jobs have reserved and not sent yet. */
  reserved: number;
  /** What ayni uses at most: the soft limit. */
  limit: number;
  /** Whether the service itself has said that the quota is spent. */
  spent: boolean;
  /** When the quota begins anew: Santiago's midnight. */
  resets_at: Timestamp;
}

/** An offer for a quick purchase. */
export interface Quote {
  /** Who offers. */
  supplier: Supplier;
  /** What is offered. */
  description?: string | undefined | null;
  /** The price before taxes. */
  net?: Money | undefined | null;
  /** The price with taxes. */
  total?: Money | undefined | null;
  /** Whether it was chosen. */
  chosen?: boolean | undefined | null;
  /** When it was made. */
  made?: Timestamp | undefined | null;
}

/** A record exactly as its source wrote it: any JSON. */
export type Raw = unknown;

/** What kind of record. */
export type RecordKind = "tender" | "purchase_order" | "quick_purchase";

/** Which end of a listing comes first. */
export type Sorting = "newest_first" | "oldest_first";

/** Where a record is from: `v1`, `compra_agil_v2`, `ocds`, `bulk`, `scripted`. */
export type Source = string;

/** A supplier. */
export interface Supplier {
  /** The company's code at the source. */
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
  /** Whom to ask: personal data. */
  contact?: Contact | undefined | null;
  /** Where the record is from; `None` inside another record. */
  origin?: Origin | undefined | null;
}

/** What a sync has done. */
export interface SyncReport {
  /** The changes, in the order in which they were written. The store keeps them too. */
  events: readonly ChangeEvent[];
  /** Rows that were looked at. */
  rows: number;
  /** Days or windows that were brought up to date. */
  steps: number;
  /** Tenders that vanished from the lists and were not looked at, because there were too many. */
  left_over: number;
}

/** A tender in full. */
export interface Tender {
  /** What lists say of it. */
  row: TenderRow;
  /** What is asked for. */
  description: string;
  /** Which kind of tender, where the source says so. */
  kind?: TenderType | undefined | null;
  /** Who asks. */
  buyer?: Buyer | undefined | null;
  /** The amount that the buyer expects, where it is public. */
  estimated_amount?: Money | undefined | null;
  /** What that amount is. */
  estimation?: Estimation | undefined | null;
  /** When the buyer pays. */
  payment?: PaymentTerm | undefined | null;
  /** How long the contract runs. */
  contract_duration?: [string, TimeUnit] | null | undefined;
  /** When it was published. */
  published?: Timestamp | undefined | null;
  /** Its other dates. */
  dates: TenderDates;
  /** How it was decided; `None` while it is open, whatever the dates say. */
  award?: Award | undefined | null;
  /** The lines of it. */
  items: readonly LineItem[];
  /** Everybody who made an offer, where the source says so (OCDS does, v1 does not). */
  bidders: readonly Supplier[];
  /** The documents that the source lists. */
  documents: readonly Document[];
}

/** The dates of a tender, each as the source gives it. */
export interface TenderDates {
  /** When it was drawn up. */
  created?: Timestamp | undefined | null;
  /** From when questions are taken. */
  questions_from?: Timestamp | undefined | null;
  /** Until when questions are taken. */
  questions_until?: Timestamp | undefined | null;
  /** When the answers are published. */
  answers?: Timestamp | undefined | null;
  /** When technical offers are opened. */
  technical_opening?: Timestamp | undefined | null;
  /** When economic offers are opened. */
  economic_opening?: Timestamp | undefined | null;
  /** When the buyer expects to decide. */
  expected_award?: Timestamp | undefined | null;
  /** When the buyer decided; `None` while the tender is open. */
  awarded?: Timestamp | undefined | null;
  /** When the site can be visited. */
  site_visit?: Timestamp | undefined | null;
  /** When the contract is expected to be signed. */
  expected_signature?: Timestamp | undefined | null;
}

/** A tender as lists give it. */
export interface TenderRow {
  /** The tender's code. */
  code: string;
  /** Its title. */
  name: string;
  /** Its state. */
  state: TenderState;
  /** When offers close. */
  closes?: Timestamp | undefined | null;
  /** Where the row is from. */
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
