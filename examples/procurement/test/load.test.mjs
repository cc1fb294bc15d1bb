// Many users of the backend at once: `scripts/pages load` does it for a minute, the tests for ten seconds.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { load } from "../../testing/load.mjs";
import { startProcurement } from "../../testing/procurement.mjs";

const USERS = 200;
const SECONDS = Number(process.env.SECONDS_OF_LOAD ?? 10);
/** How long the source takes to answer. */
const SOURCE_MS = 50;

let system;
before(async () => {
  system = await startProcurement();
});
after(() => system?.stop());

test(`${USERS} users: no request fails, and the source is asked one thing at a time`, async (t) => {
  await system.world.control({ behaviour: { latency_ms: SOURCE_MS } });
  const { stored, asked, failures, source } = await load(system, { users: USERS, seconds: SECONDS });
  for (const [name, times] of Object.entries({ stored, asked })) t.diagnostic(`${name}: ${times.requests} requests, p50 ${times.p50} ms, p99 ${times.p99} ms, the slowest ${times.most} ms`);
  t.diagnostic(`source: ${source.requests} requests, ${source.atOnce} at once; ${USERS} users, ${SECONDS} s`);
  assert.deepEqual(failures, []);
  // On an idle machine each user asks every two seconds.
  assert.ok(stored.requests > USERS, `${stored.requests} requests`);
  assert.ok(asked.requests > 0 && source.requests >= asked.requests, `${source.requests} for ${asked.requests}`);
  assert.deepEqual([source.atOnce, source.violations], [1, 0]);
});
