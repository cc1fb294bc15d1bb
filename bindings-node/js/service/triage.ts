/** The triage chat: one endpoint, selectable modes. */

import type { CallOptions } from "../calls.js";
import { AyniError } from "../failure.js";
import { InvalidRequest } from "../generated/errors.js";
import { ChatModes } from "../services.js";
import type { Form } from "./pages.js";
import { type Part, Fields, type Router, objectOf } from "./router.js";

const INSTRUCTION =
  "You answer a patient's question about their care, in plain words and from the summary only. " +
  "Say so if the summary does not hold the answer, and tell the patient to call for help in an emergency.";
const LONGEST_QUERY = 20_000;

/** Gives the summary of the patient with a medical record number; undefined where there is no such patient. */
export type Summary = (mrn: string) => string | undefined | Promise<string | undefined>;

class ModesPart implements Part {
  readonly name = "modes";
  readonly #given: ChatModes | Promise<ChatModes> | undefined;
  #modes: Promise<ChatModes> | undefined;
  #isPaid = false;
  #problem: string | undefined = "the modes are not warmed up";

  constructor(given: ChatModes | Promise<ChatModes> | undefined) {
    this.#given = given;
  }

  modes(): Promise<ChatModes> {
    if (this.#modes === undefined) {
      this.#modes = Promise.resolve(this.#given ?? ChatModes.fromEnv());
      this.#modes.catch(() => (this.#modes = undefined));
    }
    return this.#modes;
  }

  title(): string {
    return this.name;
  }

  /** Whether some mode can be used that runs elsewhere. */
  isPaid(): boolean {
    return this.#isPaid;
  }

  /** Prepares the default mode. The others serve even if that one cannot. */
  async load(call?: CallOptions): Promise<void> {
    const modes = await this.modes();
    this.#isPaid = modes.describe().some(({ endpoint, problem }) => endpoint !== undefined && problem === undefined);
    try {
      await modes.warmUp(call);
      this.#problem = undefined;
    } catch (error) {
      if (!(error instanceof AyniError)) throw error;
      this.#problem = error.message;
    }
  }

  async close(): Promise<void> {
    this.#modes = undefined;
  }

  async health(): Promise<Record<string, unknown>> {
    return { default_llm_mode: (await this.modes()).defaultMode };
  }

  problem(): string | undefined {
    return this.#problem;
  }

  forms(): Form[] {
    const mrn = { name: "mrn", label: "Medical record number", kind: "line", value: "P000123" } as const;
    const query = { name: "query", label: "Question", kind: "text", value: "What medications am I taking?" } as const;
    const mode = { name: "mode", label: "Mode (the default one without)", kind: "line", required: false } as const;
    const body = { patient_mrn: "$mrn", query: "$query", llm_mode: "$mode" };
    return [{ title: "Ask", path: "/triage", inputs: [mrn, query, mode], shows: "text", body }];
  }
}

/** A patient's question to the model of a mode. Without modes they are those of the environment. */
export function triageRoutes(modes?: ChatModes | Promise<ChatModes>, options: { summary?: Summary } = {}): Router {
  const part = new ModesPart(modes);
  return {
    part,
    routes: [
      {
        method: "GET",
        path: "/",
        handle: async () => {
          const found = await part.modes();
          return Response.json({ service: "triage", default_llm_mode: found.defaultMode, llm_modes: found.describe() });
        },
      },
      {
        method: "POST",
        path: "/triage",
        handle: async (exchange) => {
          const fields = new Fields(objectOf(exchange));
          const mrn = fields.text("patient_mrn", 128);
          const query = fields.text("query", LONGEST_QUERY);
          const wanted = fields.values["llm_mode"] === "" ? undefined : fields.optionalText("llm_mode", 128);
          if (!query.trim()) throw new InvalidRequest("`query` is empty");
          const began = performance.now();
          const found = await part.modes();
          const mode = wanted?.trim() || found.defaultMode;
          const described = found.describe().find((one) => one.mode === mode);
          // Neither the query nor the record number.
          Object.assign(exchange.told, { mode: described ? mode : "unknown" });
          if (described) Object.assign(exchange.told, { model: described.model, endpoint: described.endpoint });
          const chat = await found.open(wanted);
          const known = await options.summary?.(mrn);
          const instruction = known === undefined ? INSTRUCTION : `${INSTRUCTION}\n\nSummary:\n${known}`;
          const messages = [{ role: "system", content: instruction } as const, { role: "user", content: query } as const];
          const answer = await chat.chat(messages, { signal: exchange.signal });
          exchange.told["model"] = answer.route.model;
          return Response.json({
            answer: answer.text,
            reasoning: answer.reasoning,
            llm_mode: mode ?? "",
            model: answer.route.model,
            latency_ms: Math.round((performance.now() - began) * 10) / 10,
            finish: answer.finish,
          });
        },
      },
    ],
  };
}
