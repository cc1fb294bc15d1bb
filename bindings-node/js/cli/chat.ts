/** `ayni chat`. */

import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";

import { Chat, type Message, openChat } from "../chat.js";
import type { ChatConfig } from "../generated/configs.js";
import { type Command, configOf } from "./options.js";

async function answered(chat: Chat, messages: Message[]): Promise<string> {
  let text = "";
  for await (const event of chat.stream(messages)) {
    if (event.type !== "text") continue;
    text += event.text;
    process.stdout.write(event.text);
  }
  process.stdout.write("\n");
  return text;
}

export const chat: Command = {
  usage: "chat [--model MODEL | --config FILE] [QUESTION]",
  what: "answers a question, or talks line by line; without a model by the chat whose key is set",
  async run(given) {
    const options = { model: { type: "string" }, config: { type: "string" } } as const;
    const { values, positionals } = parseArgs({ args: given, options, allowPositionals: true });
    const config = values.model ?? (configOf(values.config) as ChatConfig | undefined);
    await using handle = config === undefined ? await Chat.fromEnv() : await openChat(config);
    const messages: Message[] = [];
    if (positionals.length > 0) {
      await answered(handle, [{ role: "user", content: positionals.join(" ") }]);
      return 0;
    }
    const prompt = process.stdin.isTTY ? "> " : "";
    const lines = createInterface({ input: process.stdin, output: process.stdout, prompt, terminal: process.stdin.isTTY });
    lines.prompt();
    for await (const line of lines) {
      if (line.trim()) {
        messages.push({ role: "user", content: line });
        messages.push({ role: "assistant", content: await answered(handle, messages) });
      }
      lines.prompt();
    }
    return 0;
  },
};
