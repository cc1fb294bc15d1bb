/** The page for people at `/`, complete in itself. */

import { front } from "../generated/pages.js";
import type { Part } from "./router.js";

/** One field of a form. */
export interface Input {
  name: string;
  label: string;
  kind: "line" | "text" | "image" | "number" | "choice";
  value?: string;
  choices?: readonly string[];
  required?: boolean;
}

/** Something that people can try: `body` is the JSON to send, with `$name` where an input's value belongs; null is a GET. */
export interface Form {
  title: string;
  path: string;
  inputs: readonly Input[];
  shows: "text" | "images" | "vector" | "rows";
  body: unknown;
}

const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/** The page of a service. */
export function frontPage(parts: readonly Part[], needsKey: boolean): Response {
  const forms = parts.flatMap((part) => part.forms?.() ?? []);
  const filled = forms.map((form) => ({
    ...form,
    inputs: form.inputs.map((input) => ({ value: "", choices: [], required: true, ...input })),
  }));
  // `<` would end the script.
  const data = JSON.stringify({ forms: filled, needsKey }).replaceAll("<", "\\u003c");
  const page = front.replaceAll("{{title}}", "ayni").replace('"{{data}}"', () => data);
  const headers = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
  };
  return new Response(page, { headers });
}
