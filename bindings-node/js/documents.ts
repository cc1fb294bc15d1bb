/** Analyses and files of procurement records. */

import { type CallOptions, RunningCall, jsonOf, reading, run, split } from "./calls.js";
import type { Chat } from "./chat.js";
import { type NativeAnalysis, native, unwrap } from "./native.js";
import { type ListOptions, type Procurement, type RecordKind, listRequest } from "./procurement.js";

/** What to ask about a tender: one of the prepared questions, or `question` of your own. */
export interface AnalyseOptions extends CallOptions {
  ask?: "summary" | "requirements" | "risks" | "go_no_go" | "deadlines" | undefined;
  question?: string | undefined;
  language?: "es" | "en" | undefined;
  most_claims?: number | undefined;
  source?: string | undefined;
}

/** A sentence of an analysis, with the fields that support it, or the reason why it was rejected. */
export interface Claim {
  text: string;
  [name: string]: unknown;
}

/** A model's analysis of a tender, checked against the record. */
export class Analysis {
  readonly #native: NativeAnalysis;
  /** The whole analysis as JSON text. */
  readonly json: string;
  /** The same, read. */
  readonly fields: { code: string; claims: Claim[]; rejected: Claim[]; verdict?: string | null; [name: string]: unknown };

  /** @internal */
  constructor(found: NativeAnalysis) {
    this.#native = found;
    this.json = unwrap(found.json());
    this.fields = JSON.parse(this.json) as Analysis["fields"];
  }

  /** Sentences, each with the fields that support it. */
  get claims(): Claim[] {
    return this.fields.claims;
  }

  /** Claims that the record does not support, with the reason. */
  get rejected(): Claim[] {
    return this.fields.rejected;
  }

  /** The tender and its analysis on one page. */
  async pdf(page: { language?: "es" | "en"; link?: string; made_by?: string } = {}): Promise<Buffer> {
    return unwrap(await this.#native.pdf(jsonOf("the page", page)));
  }
}

/**
 * Asks a model about a tender. Amounts, dates, codes and the like in the answer are checked against the record; claims that
 * fail are in `rejected`.
 */
export async function analyse(
  procurement: Procurement,
  code: string,
  chat: Chat,
  options?: AnalyseOptions,
): Promise<Analysis> {
  const [{ ask, question, source, ...rest }, call] = split(options);
  const wanted = jsonOf("the request", { code, source });
  const asked = jsonOf("the question", { ask: question === undefined ? (ask ?? "summary") : { free: question }, ...rest });
  const found = await run(call, (running) => native().analyse(procurement.native, wanted, chat.native, asked, running));
  return new Analysis(found);
}

/** The form of a file. Its settings stand beside it: `separator` of csv, `uri` and `publisher` of ocds … */
export type FileForm = { form: "csv" | "json_lines" | "ocds" | "pdf"; [setting: string]: unknown };

function formOf(form: FileForm | FileForm["form"]): string {
  return jsonOf("the form", typeof form === "string" ? { form } : form);
}

/** One tender as a file. */
export async function tenderFile(
  procurement: Procurement,
  code: string,
  form: FileForm | FileForm["form"],
  options?: CallOptions,
): Promise<Buffer> {
  const fields = jsonOf("the request", { code });
  const [, call] = split(options);
  return run(call, (running) => native().tenderFile(procurement.native, fields, formOf(form), running));
}

/** Records of a list, page after page, as a file (csv or json_lines) in pieces. */
export async function* exportRecords(
  procurement: Procurement,
  kind: RecordKind,
  form: FileForm | "csv" | "json_lines",
  options?: ListOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const [request, callOptions] = split(options);
  const fields = jsonOf("the request", listRequest(request));
  const call = new RunningCall(callOptions, true);
  call.check();
  try {
    const [what, how] = [jsonOf("the kind", kind), formOf(form)];
    const written = reading("the procurement client", () =>
      native().exportRecords(procurement.native, what, fields, how, call.native),
    );
    const pieces = await call.step(written);
    try {
      for (;;) {
        const piece = await call.step(pieces.next());
        if (piece === null) return;
        yield piece;
      }
    } finally {
      call.native?.cancel();
      pieces.close();
    }
  } finally {
    call.finish();
  }
}
