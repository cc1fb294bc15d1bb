// Many users of the dashboard's backend at once: each asks what the pages ask, and waits two seconds before the next request.

import { dayBefore } from "./procurement.mjs";

const THINK_MS = 2000;
/** One request in so many is for a record that nobody has opened, so that the source is asked meanwhile. */
const NEW_ONE_IN = 50;
const WORDS = ["aseo", "ambulancia", "alimentos", "notebook", "arriendo", "medicamentos"];

/** The same numbers each time, between 0 and 1. */
function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** What users ask for: addresses that were asked for before, and records that nobody has opened. */
async function addresses(api) {
  const rows = async (path) => (await (await fetch(api + path)).json()).rows;
  const days = [2, 3, 4].map((back) => `/api/purchase-orders?from=${dayBefore(back + 1)}&to=${dayBefore(back)}`);
  const orders = (await Promise.all(days.map(rows))).flat().map(({ code }) => `/api/purchase-orders/${code}`);
  const tenders = (await rows("/api/tenders")).map(({ code }) => `/api/tenders/${code}`);
  const words = WORDS.flatMap((word) => [`/api/tenders?text=${word}`, `/api/quick-purchases?text=${word}&state=publicada`]);
  const opened = [...orders.splice(0, 20), ...tenders.splice(0, 20)];
  const known = [...days, ...words, "/api/tenders", "/api/quota", "/api/models", ...opened];
  for (const path of known) await (await fetch(api + path)).arrayBuffer();
  return { known, fresh: [...orders, ...tenders] };
}

function percentile(sorted, share) {
  return sorted.length ? Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]) : null;
}

function summary(times) {
  const sorted = times.sort((a, b) => a - b);
  return { requests: sorted.length, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), most: percentile(sorted, 1) };
}

/** Milliseconds of stored answers and of those that the source was asked for; the failures; what the source saw meanwhile. */
export async function load(system, { users, seconds }) {
  const { known, fresh } = await addresses(system.api);
  const before = await system.world.control();
  const [stored, asked, failures] = [[], [], []];
  const end = performance.now() + seconds * 1000;
  async function ask(path, times) {
    const began = performance.now();
    try {
      const response = await fetch(system.api + path);
      await response.arrayBuffer();
      times.push(performance.now() - began);
      if (!response.ok) failures.push(`${path}: ${response.status}`);
    } catch (error) {
      failures.push(`${path}: ${error.cause ?? error}`);
    }
  }
  async function user(seed) {
    const next = random(seed);
    const pause = (most) => new Promise((resolve) => setTimeout(resolve, next() * most));
    await pause(THINK_MS);
    while (performance.now() < end) {
      const isNew = fresh.length > 0 && next() < 1 / NEW_ONE_IN;
      await (isNew ? ask(fresh.pop(), asked) : ask(known[Math.floor(next() * known.length)], stored));
      await pause(2 * THINK_MS);
    }
  }
  await Promise.all(Array.from({ length: users }, (_, at) => user(at + 1)));
  const after = await system.world.control();
  return {
    stored: summary(stored), asked: summary(asked), failures,
    source: { requests: after.requests - before.requests, atOnce: after.most_in_flight, violations: after.violations },
  };
}
