/** The models and the health of hosted services, and the chat modes of an environment. */

import { type CallOptions, run, split } from "./calls.js";
import { Chat } from "./chat.js";
import type { Hardware, KnownModel, ModeInfo } from "./generated/answers.js";
import type { ChatConfig, EmbedderConfig, ImageConfig } from "./generated/configs.js";
import { InvalidRequest } from "./generated/errors.js";
import { type OpenOptions, configText, variablesText } from "./handle.js";
import { type NativeModes, native, unwrap } from "./native.js";

/** The chat modes that an environment sets up (`DEFAULT_LLM_MODE` and its companions). */
export class ChatModes {
  readonly #native: NativeModes;
  readonly #open = new Map<string | undefined, Promise<Chat>>();

  private constructor(found: NativeModes) {
    this.#native = found;
  }

  /** Reads the modes of an environment. */
  static async fromEnv(env?: OpenOptions["env"]): Promise<ChatModes> {
    return new ChatModes(unwrap(await native().Modes.open(variablesText({ env }))));
  }

  /** The mode of requests that name none. */
  get defaultMode(): string | null {
    return this.#native.defaultMode();
  }

  /** How every mode is set up. Opens nothing. */
  describe(): ModeInfo[] {
    return JSON.parse(unwrap(this.#native.describe())) as ModeInfo[];
  }

  /** The backend of a mode, or of the default one: opened once and shared. */
  open(mode?: string): Promise<Chat> {
    if (mode !== undefined && typeof mode !== "string") return Promise.reject(new InvalidRequest("the mode is no string"));
    const known = this.#open.get(mode);
    if (known) return known;
    const chat = this.#native.chat(mode).then((found) => new Chat(unwrap(found)));
    this.#open.set(mode, chat);
    // A mode that cannot be opened now may be later.
    chat.catch(() => this.#open.delete(mode));
    return chat;
  }

  /** Prepares what a service needs at its start. Fails if the default mode cannot be used. */
  async warmUp(options?: CallOptions): Promise<void> {
    await run(split(options)[1], (call) => this.#native.warmUp(call));
  }
}

/** The models that the vendor of an `openai` configuration lists. */
export async function models(
  config: ChatConfig,
  options?: CallOptions & OpenOptions,
): Promise<({ id: string } & Record<string, unknown>)[]> {
  const [{ env }, call] = split(options);
  const [fields, variables] = [configText(config), variablesText({ env: env as OpenOptions["env"] })];
  return JSON.parse(await run(call, (running) => native().models(fields, variables, running)));
}

/** What the service of a `clip_service` or `image_engine` configuration reports about itself. */
export async function health(
  config: EmbedderConfig | ImageConfig,
  options?: CallOptions & OpenOptions,
): Promise<Record<string, unknown>> {
  const [{ env }, call] = split(options);
  const [fields, variables] = [configText(config), variablesText({ env: env as OpenOptions["env"] })];
  return JSON.parse(await run(call, (running) => native().health(fields, variables, running)));
}

/** What models in this process compute with where nothing else is configured. */
export async function hardware(env?: OpenOptions["env"]): Promise<Hardware> {
  return JSON.parse(unwrap(await native().hardware(variablesText({ env })))) as Hardware;
}

/** The well-known embedding models. Others of the `embeddingArchitectures` run too. */
export function knownModels(): KnownModel[] {
  return (JSON.parse(unwrap(native().knownModels())) as [string[], KnownModel[]])[1];
}

/** The architectures of embedding models that run in this process, as `model_type` names them. */
export function embeddingArchitectures(): string[] {
  return (JSON.parse(unwrap(native().knownModels())) as [string[], KnownModel[]])[0];
}

/** A model that comes with the package, or a short name for one that is fetched. */
export interface SampleModel {
  /** What to open: `tiny:clip`. */
  reference: string;
  /** What it does, in a sentence. */
  what: string;
  /** How large its files are; null for what does not come with the package. */
  bytes: number | null;
  /** The model on the Hub that it stands for, if it does not come with the package. */
  fetched_from: string | null;
}

/** The sample models. Those of the package need no network. */
export function sampleModels(): SampleModel[] {
  return (JSON.parse(unwrap(native().knownModels())) as [unknown, unknown, SampleModel[]])[2];
}

/** The counters of all calls of this process, as Prometheus reads them. */
export function prometheusText(): string {
  return native().prometheusText();
}
