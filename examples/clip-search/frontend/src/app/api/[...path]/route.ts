import { AyniError } from "ayni";

import { app } from "../../../server/app.ts";

// Answers are made when they are asked for.
export const dynamic = "force-dynamic";

async function answer(request: Request): Promise<Response> {
  try {
    return await (await app()).handle(request);
  } catch (error) {
    // There is no service, because its settings are wrong; it would have answered in this form.
    const [kind, message] = error instanceof AyniError ? [error.code, error.message] : ["unexpected", "the index cannot be opened; see the log"];
    return Response.json({ detail: message, error: { kind, message, retryable: false } }, { status: kind === "config_invalid" ? 501 : 500 });
  }
}

export { answer as GET, answer as HEAD, answer as OPTIONS, answer as POST };
