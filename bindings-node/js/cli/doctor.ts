/** `ayni doctor`. */

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";

import { version } from "../generated/version.js";
import { native } from "../native.js";
import { ChatModes, hardware } from "../services.js";
import { cacheFolder } from "./models.js";
import { type Command, variable } from "./options.js";

const SECRETS = [
  "HF_API_TOKEN", "HF_TOKEN", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GROQ_API_KEY",
  "FEATHERLESS_API_KEY", "MERCADO_PUBLICO_TICKET", "CLIP_API_KEY", "API_KEY", "DATABASE_URL",
];
const PLAIN = [
  "EMBEDDING_PROVIDER", "EMBEDDING_MODEL", "CLIP_SERVICE_URL", "CLOUD_ENGINE_URL", "IMAGE_ENGINE_MODE", "SD_MODEL_ID",
  "DEFAULT_LLM_MODE", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "AYNI_THREADS", "AYNI_ISA", "ALLOW_ORIGINS",
];
const HOSTS = [
  "huggingface.co", "router.huggingface.co", "api.mercadopublico.cl", "api2.mercadopublico.cl",
  "generativelanguage.googleapis.com", "api.groq.com", "api.featherless.ai",
];
const FLAGS = ["avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "asimddp", "bf16"];

type Row = [name: string, value: string];

function nativePart(): string {
  try {
    return native().version() === version ? "loaded" : `of version ${native().version()}, which is another`;
  } catch (error) {
    return (error as Error).message;
  }
}

function instructionSets(): string {
  try {
    const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.split(/\s+/) ?? [];
    return FLAGS.filter((flag) => flags.includes(flag)).join(" ") || "unknown";
  } catch {
    return "unknown";
  }
}

/** What the kernels use, and the precision that `auto` means. */
async function kernels(): Promise<Row[]> {
  try {
    const { instruction_set, threads, precision, precision_reason } = await hardware();
    return [["kernels", `${instruction_set}, ${threads} threads`], ["precision auto", `${precision}: ${precision_reason}`]];
  } catch (error) {
    return [["kernels", (error as Error).message]];
  }
}

async function machine(): Promise<Row[]> {
  return [
    ["ayni", version],
    ["native part", nativePart()],
    ["node", `${process.version} at ${process.execPath}`],
    ["system", `${process.platform} ${process.arch}`],
    ["threads", `${availableParallelism()} processors`],
    ["instruction sets", instructionSets()],
    ...(await kernels()),
  ];
}

function cache(): Row[] {
  const folder = cacheFolder();
  if (!existsSync(folder)) return [[folder, "is not there yet"]];
  return [[folder, `${readdirSync(folder).filter((name) => name.startsWith("models--")).length} models`]];
}

function variables(): Row[] {
  const secrets = SECRETS.map((name): Row => [name, variable(name) ? "set" : "not set"]);
  const plain = PLAIN.map((name): Row => {
    const value = variable(name) ?? "not set";
    // Only the host of an address, because the address may hold a credential.
    return [name, URL.canParse(value) && value.includes("://") ? new URL(value).hostname : value];
  });
  return [...secrets, ...plain];
}

async function modes(): Promise<Row[]> {
  try {
    const found = (await ChatModes.fromEnv()).describe();
    return found.map(({ mode, model, problem }): Row => [mode, problem ?? `ready${model ? `: ${model}` : ""}`]);
  } catch (error) {
    return [["problem", (error as Error).message]];
  }
}

function reachable(host: string): Promise<Row> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: 443, timeout: 5000 });
    const done = (text: string): void => {
      socket.destroy();
      resolve([host, text]);
    };
    socket.once("connect", () => done("reachable"));
    socket.once("timeout", () => done("not reachable (no answer)"));
    socket.once("error", (error: NodeJS.ErrnoException) => done(`not reachable (${error.code ?? error.name})`));
  });
}

export const doctor: Command = {
  usage: "doctor [--offline]",
  what: "shows what this machine and its environment offer; no secret is shown, nothing is sent to the hosts",
  async run(given) {
    const { values } = parseArgs({ args: given, options: { offline: { type: "boolean" } } });
    const isOffline = values.offline || variable("HF_HUB_OFFLINE");
    const parts: [string, Row[]][] = [
      ["machine", await machine()],
      ["cache", cache()],
      ["variables", variables()],
      ["chat modes", await modes()],
      ["hosts", isOffline ? [] : await Promise.all(HOSTS.map(reachable))],
    ];
    for (const [title, rows] of parts) {
      console.log(title);
      for (const [name, value] of rows) console.log(`  ${name.padEnd(36)} ${value}`);
    }
    return 0;
  },
};
