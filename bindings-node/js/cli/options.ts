/** What several commands take. */

import { readFileSync } from "node:fs";

import { ConfigInvalid } from "../generated/errors.js";

/** A command: what it is called with, what it does, and its work, which gives the exit status. */
export interface Command {
  readonly usage: string;
  readonly what: string;
  run(arguments_: string[]): Promise<number>;
}

/** A JSON object in a file. */
export function configOf(path: string | undefined): Record<string, unknown> | undefined {
  if (path === undefined) return undefined;
  let found: unknown;
  try {
    found = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new ConfigInvalid(`${path} cannot be read as JSON (${(error as Error).name})`);
  }
  if (typeof found === "object" && found !== null && !Array.isArray(found)) return found as Record<string, unknown>;
  throw new ConfigInvalid(`${path} holds no JSON object`);
}

/** A variable, unless it is unset or empty. */
export function variable(name: string): string | undefined {
  return process.env[name]?.trim() || undefined;
}
