/** Metrics in the format of Prometheus. */

const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** Metrics of one service. No label holds what a caller sent: routes are named by their templates. */
export class Metrics {
  inFlight = 0;
  readonly #started = Date.now() / 1000;
  readonly #requests = new Map<string, number>();
  readonly #errors = new Map<string, number>();
  readonly #refused = new Map<string, number>();
  readonly #times = new Map<string, { buckets: number[]; sum: number }>();

  /** Counts a finished request. */
  observe(route: string, method: string, status: number, seconds: number, kind: string | undefined): void {
    count(this.#requests, `route="${route}",method="${method}",status="${status}"`);
    let times = this.#times.get(route);
    if (!times) this.#times.set(route, (times = { buckets: new Array<number>(BUCKETS.length + 1).fill(0), sum: 0 }));
    const bucket = BUCKETS.findIndex((bound) => seconds <= bound);
    const at = bucket < 0 ? BUCKETS.length : bucket;
    times.buckets[at] = (times.buckets[at] ?? 0) + 1;
    times.sum += seconds;
    if (kind !== undefined) count(this.#errors, `kind="${kind}"`);
  }

  /** Counts a request that the service refused. */
  refuse(why: string): void {
    count(this.#refused, `reason="${why}"`);
  }

  /** All metrics as text. */
  text(): string {
    return [
      ...counter("ayni_http_requests_total", "Finished requests.", this.#requests),
      ...this.#histogram(),
      ...counter("ayni_http_errors_total", "Requests that failed, by the kind of error.", this.#errors),
      ...counter("ayni_http_refused_total", "Refused requests.", this.#refused),
      ...gauge("ayni_http_requests_in_flight", "Running requests.", this.inFlight),
      ...gauge("ayni_uptime_seconds", "How long the process has served.", Date.now() / 1000 - this.#started),
      ...gauge("process_start_time_seconds", "When it began to.", this.#started),
      ...gauge("process_resident_memory_bytes", "Memory in use.", process.memoryUsage.rss()),
      "",
    ].join("\n");
  }

  *#histogram(): Generator<string> {
    const name = "ayni_http_request_seconds";
    yield* head(name, "histogram", "How long requests took.");
    for (const [route, { buckets, sum }] of this.#times) {
      let below = 0;
      for (const [index, found] of buckets.entries()) {
        below += found;
        yield `${name}_bucket{route="${route}",le="${BUCKETS[index] ?? "+Inf"}"} ${below}`;
      }
      yield `${name}_sum{route="${route}"} ${sum}`;
      yield `${name}_count{route="${route}"} ${below}`;
    }
  }
}

function count(counts: Map<string, number>, labels: string): void {
  counts.set(labels, (counts.get(labels) ?? 0) + 1);
}

function head(name: string, type: string, what: string): string[] {
  return [`# HELP ${name} ${what}`, `# TYPE ${name} ${type}`];
}

function counter(name: string, what: string, counts: Map<string, number>): string[] {
  return [...head(name, "counter", what), ...Array.from(counts, ([labels, found]) => `${name}{${labels}} ${found}`)];
}

function gauge(name: string, what: string, value: number): string[] {
  return [...head(name, "gauge", what), `${name} ${value}`];
}
