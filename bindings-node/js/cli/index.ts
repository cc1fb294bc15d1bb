/** The command line: `npx ayni`. */

import { AyniError } from "../failure.js";
import { version } from "../generated/version.js";
import { chat } from "./chat.js";
import { doctor } from "./doctor.js";
import { models, pull } from "./models.js";
import type { Command } from "./options.js";
import { serve } from "./serve.js";

const COMMANDS: Record<string, Command> = { doctor, models, pull, serve, chat };

function help(): string {
  const rows = Object.values(COMMANDS).map(({ usage, what }) => `  ayni ${usage}\n      ${what}`);
  return `Local and hosted models behind one typed interface.\n\n${rows.join("\n")}\n  ayni --version\n`;
}

/** Runs a command and gives the exit status of the process. */
export async function main(given: string[]): Promise<number> {
  const [name = "--help", ...rest] = given;
  if (name === "--version") {
    console.log(`ayni ${version}`);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined || rest.includes("--help")) {
    const known = command !== undefined || name === "--help" || name === "help";
    (known ? console.log : console.error)(help());
    return known ? 0 : 2;
  }
  try {
    return await command.run(rest);
  } catch (error) {
    if (error instanceof AyniError) {
      console.error(`ayni: ${error.code}: ${error.message}`);
      return 1;
    }
    if ((error as NodeJS.ErrnoException).code?.startsWith("ERR_PARSE_ARGS")) {
      console.error(`ayni: ${(error as Error).message}\nusage: ayni ${command.usage}`);
      return 2;
    }
    throw error;
  }
}
