// A chat model that is none: speaks OpenAI's protocol and answers with what it is told to. For the demo and the tests.

import { createServer } from "node:http";

// The fields of the record are numbered in the prompt: code, title, state, closing time. The last claim has a value that no field bears out.
export const CLAIMS = ["La licitación {1} está {3} y cierra el {4}.", "Su título es {2}.", "Cierra el 3 de febrero de 1999."];

/** The answers can be changed while it runs: `claims`, `verdict`, `delayMs`, `status`. */
export async function startModels(behaviour = {}) {
  const state = { claims: CLAIMS, delayMs: 0, status: 200, ...behaviour };
  const seen = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    seen.push({ path: request.url, body });
    await new Promise((resolve) => setTimeout(resolve, state.delayMs));
    response.setHeader("content-type", "application/json");
    if (state.status !== 200) {
      response.statusCode = state.status;
      response.end(JSON.stringify({ error: { message: "the mock refuses", type: "mock" } }));
      return;
    }
    const wantsVerdict = body.includes("verdict");
    const content = JSON.stringify({ claims: state.claims, ...(wantsVerdict ? { verdict: state.verdict ?? "unclear" } : {}) });
    const message = { role: "assistant", content };
    response.end(
      JSON.stringify({
        id: "mock", object: "chat.completion", created: Math.floor(Date.now() / 1000), model: JSON.parse(body).model,
        choices: [{ index: 0, message, finish_reason: "stop" }], usage: { prompt_tokens: 900, completion_tokens: 60, total_tokens: 960 },
      }),
    );
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    state,
    seen,
    url: `http://127.0.0.1:${server.address().port}`,
    stop: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  };
}
