/** The procurement dashboard's backend: records, analyses, files. */

import { randomUUID } from "node:crypto";

import { Chat, openChat } from "../chat.js";
import { type FileForm, analyse, exportRecords, tenderFile } from "../documents.js";
import type { ChatConfig, ProcurementConfig } from "../generated/configs.js";
import { InvalidRequest, Unsupported } from "../generated/errors.js";
import { type ListOptions, type RecordKind, Procurement, openProcurement } from "../procurement.js";
import { HandlePart, Opening } from "./handles.js";
import type { Form } from "./pages.js";
import { type Exchange, Fields, type Route, type Router, jsonText, objectOf } from "./router.js";
import { malformed } from "./failures.js";

const CODE = /^[0-9A-Za-z-]{1,64}$/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const KINDS = ["tender", "purchase_order", "quick_purchase"] as const;
const FILES = {
  csv: ["text/csv; charset=utf-8", "csv"],
  json_lines: ["application/x-ndjson", "jsonl"],
  ocds: ["application/json", "json"],
  pdf: ["application/pdf", "pdf"],
} as const;

class ProcurementPart extends HandlePart<Procurement> {
  readonly name = "procurement";

  /** Whether there is a ticket whose requests are counted. */
  override isPaid(): boolean {
    return this.opening.handle?.info().backend === "mercado_publico";
  }

  async health(): Promise<Record<string, unknown>> {
    return { procurement: (await this.handle()).info().backend };
  }

  forms(): Form[] {
    const text = { name: "text", label: "Words", kind: "line", value: "ambulancia" } as const;
    return [
      { title: "Search tenders", path: "/api/tenders", inputs: [text], shows: "rows", body: null },
      { title: "Search purchase orders", path: "/api/purchase-orders", inputs: [text], shows: "rows", body: null },
    ];
  }
}

function listed(exchange: Exchange): ListOptions {
  const fields = Fields.ofQuery(exchange.query);
  const day = (name: string): string | undefined => fields.optionalText(name, 10, DAY);
  const text = (name: string, longest: number): string | undefined => fields.optionalText(name, longest);
  const found = {
    on: day("on"),
    from: day("from"),
    to: day("to"),
    text: text("text", 200),
    state: text("state", 64),
    buyer: text("buyer", 64),
    supplier: text("supplier", 64),
    region: text("region", 64),
    source: text("source", 32),
    sorting: fields.choice("sorting", ["newest_first", "oldest_first"]),
    limit: fields.number("limit", 1, 10_000, true),
    cursor: text("cursor", 2000),
    signal: exchange.signal,
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

function codeOf({ params }: Exchange): string {
  const code = params["code"] ?? "";
  if (!CODE.test(code)) throw malformed("`code` has the wrong form", "code");
  return code;
}

function attachment(content: BodyInit, form: keyof typeof FILES, name: string): Response {
  const [type, ending] = FILES[form];
  const headers = { "content-type": type, "content-disposition": `attachment; filename="${name}.${ending}"` };
  return new Response(content, { headers });
}

/** The pieces as a body, once the header and the first rows are there: until then a failure can still set the status. */
async function started(pieces: AsyncGenerator<Buffer, void, undefined>): Promise<ReadableStream<Uint8Array>> {
  const first = [await pieces.next(), await pieces.next()].flatMap(({ value }) => (value ? [value] : []));
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const ready = first.shift();
        if (ready) return controller.enqueue(ready);
        const { done, value } = await pieces.next();
        if (done) return controller.close();
        controller.enqueue(value);
      },
      async cancel() {
        await pieces.return();
      },
    },
    { highWaterMark: 0 },
  );
}

/**
 * Purchase orders, tenders, quick purchases, buyers, suppliers; analyses and files of them, under `/api`. Without a client it
 * is Mercado Público with the ticket of the environment; without a chat it is the one whose key is set there, opened when
 * the first analysis is asked for.
 */
export function procurementRoutes(
  procurement?: Procurement | Promise<Procurement> | ProcurementConfig,
  chat?: Chat | Promise<Chat> | ChatConfig,
): Router {
  const isOpen = procurement instanceof Procurement || procurement instanceof Promise;
  const open = () => (procurement === undefined ? Procurement.fromEnv() : openProcurement(procurement as ProcurementConfig));
  const part = new ProcurementPart(isOpen ? procurement : open);
  const hasChat = chat instanceof Chat || chat instanceof Promise;
  const chats = new Opening<Chat>(hasChat ? chat : () => (chat === undefined ? Chat.fromEnv() : openChat(chat)));
  return { part, routes: [...lists(part), ...records(part), ...accounts(part), ...analyses(part, chats)] };
}

function lists(part: ProcurementPart): Route[] {
  const list = (path: string, read: (client: Procurement, options: ListOptions) => Promise<{ json: string }>): Route => ({
    method: "GET",
    path: `/api/${path}`,
    handle: async (exchange) => jsonText((await read(await part.handle(), listed(exchange))).json),
  });
  return [
    list("purchase-orders", (client, options) => client.purchaseOrders(options)),
    list("tenders", (client, options) => client.tenders(options)),
    list("quick-purchases", (client, options) => client.quickPurchases(options)),
    list("buyers", (client, options) => client.buyers(options)),
    list("suppliers", (client, options) => client.suppliers(options)),
    {
      method: "GET",
      path: "/api/export",
      handle: async (exchange) => {
        const fields = Fields.ofQuery(exchange.query);
        const kind: RecordKind = fields.choice("kind", KINDS) ?? "tender";
        const form = fields.choice("form", ["csv", "json_lines"] as const) ?? "csv";
        const { signal: _, ...options } = listed(exchange);
        const pieces = exportRecords(await part.handle(), kind, form, options);
        const name = `${kind}s-${new Date().toISOString().slice(0, 10)}`;
        return attachment(await started(pieces), form, name);
      },
    },
  ];
}

function records(part: ProcurementPart): Route[] {
  type Read = (client: Procurement, code: string, options: { signal: AbortSignal }) => Promise<{ json: string }>;
  const record = (path: string, read: Read): Route => ({
    method: "GET",
    path: `/api/${path}/:code`,
    handle: async (exchange) => {
      const code = codeOf(exchange);
      return jsonText((await read(await part.handle(), code, { signal: exchange.signal })).json);
    },
  });
  return [
    record("purchase-orders", (client, code, options) => client.purchaseOrder(code, options)),
    record("tenders", (client, code, options) => client.tender(code, options)),
    record("quick-purchases", (client, code, options) => client.quickPurchase(code, options)),
    {
      method: "GET",
      path: "/api/tenders/:code/export",
      handle: async (exchange) => {
        const code = codeOf(exchange);
        const forms = ["pdf", "csv", "json_lines", "ocds"] as const;
        const form = Fields.ofQuery(exchange.query).choice("form", forms) ?? "pdf";
        let whole: FileForm = { form };
        if (form === "ocds") {
          const published = `${new Date().toISOString().slice(0, 19)}+00:00`;
          whole = { form, uri: `urn:uuid:${randomUUID()}`, publisher: "ChileCompra", published };
        }
        const written = await tenderFile(await part.handle(), code, whole, { signal: exchange.signal });
        return attachment(new Uint8Array(written), form, code);
      },
    },
  ];
}

function accounts(part: ProcurementPart): Route[] {
  return [
    {
      method: "GET",
      path: "/api/plan",
      handle: async (exchange) => {
        const kind: RecordKind = Fields.ofQuery(exchange.query).choice("kind", KINDS) ?? "tender";
        return jsonText((await (await part.handle()).plan(kind, listed(exchange))).json);
      },
    },
    {
      method: "GET",
      path: "/api/quota",
      handle: async ({ signal }) => {
        const client = await part.handle();
        if (client.info().backend !== "mercado_publico") throw new Unsupported("only Mercado Público counts a quota");
        return Response.json(await client.quota({ signal }));
      },
    },
  ];
}

function analyses(part: ProcurementPart, chats: Opening<Chat>): Route[] {
  const analysed = async (exchange: Exchange) => {
    const code = codeOf(exchange);
    const fields = new Fields(objectOf(exchange));
    const asked = {
      ask: fields.choice("ask", ["summary", "requirements", "risks", "go_no_go", "deadlines"]),
      question: fields.optionalText("question", 4000),
      language: fields.choice("language", ["es", "en"]) ?? ("es" as const),
      most_claims: fields.number("most_claims", 1, 50, true),
      signal: exchange.signal,
    };
    if (asked.ask !== undefined && asked.question !== undefined) {
      throw new InvalidRequest("`ask` and `question` exclude each other: give one of the two");
    }
    return analyse(await part.handle(), code, await chats.get(), asked);
  };
  return [
    {
      method: "POST",
      path: "/api/tenders/:code/analysis",
      handle: async (exchange) => jsonText((await analysed(exchange)).json),
    },
    {
      method: "POST",
      path: "/api/tenders/:code/analysis.pdf",
      handle: async (exchange) => {
        const pdf = await (await analysed(exchange)).pdf();
        return attachment(new Uint8Array(pdf), "pdf", codeOf(exchange));
      },
    },
  ];
}
