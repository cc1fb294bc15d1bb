/** Answers that follow a schema of the caller's: anything that speaks Standard Schema. */

import type { ChatResponse } from "./generated/answers.js";
import { reading } from "./calls.js";
import { ConfigInvalid, ResponseInvalid } from "./generated/errors.js";

interface Validated<T> {
  readonly value?: T;
  readonly issues?: readonly unknown[] | undefined;
}

/** What every Standard Schema has; some know their JSON Schema as well. */
export interface StandardSchema<T> {
  readonly "~standard": {
    readonly vendor: string;
    readonly validate: (value: unknown) => Validated<T> | Promise<Validated<T>>;
    readonly types?: { readonly output: T } | undefined;
    readonly jsonSchema?: { input(options: { target: string }): object } | undefined;
  };
}

/** A Standard Schema, with its JSON Schema beside it where it does not know it. */
export type Schema<T> = StandardSchema<T> | { readonly schema: StandardSchema<T>; readonly jsonSchema: object };

/** The output option that asks for it. */
export function outputFormat(schema: Schema<unknown>): { json_schema: { name: string; schema: object; strict: boolean } } {
  const found = reading("the schema", () => {
    if ("jsonSchema" in schema) return schema.jsonSchema;
    const { vendor, jsonSchema } = schema["~standard"];
    // The input's schema: the model writes it, and validating makes the output of it.
    if (jsonSchema) return jsonSchema.input({ target: "draft-07" });
    throw new ConfigInvalid(
      `schemas of '${vendor}' don't know their JSON Schema; give both as { schema, jsonSchema }`,
    );
  });
  return { json_schema: { name: "answer", schema: found, strict: false } };
}

/** The validated answer. The error does not repeat the answer. */
export async function validated<T>(schema: Schema<T>, response: ChatResponse): Promise<T> {
  const { backend, request_id: requestId } = response.route;
  const text = response.text.trim().replace(/^```\w*\n([\s\S]*)```$/, "$1");
  const standard = ("schema" in schema ? schema.schema : schema)["~standard"];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ResponseInvalid(`the answer is no JSON; its finish reason is '${response.finish}'`, { backend, requestId });
  }
  const found = await standard.validate(value);
  if (found.issues) {
    const count = found.issues.length;
    const message = `the answer does not follow the schema: ${count} faults; its finish reason is '${response.finish}'`;
    throw new ResponseInvalid(message, { backend, requestId });
  }
  return found.value as T;
}
