/** The time until a deadline, warmer the nearer it is. */

"use client";

import { Badge, time, timeLeft, useNow, useSettings } from "ayni-ui";

import { useWords } from "../lib/words.ts";

/** How often deadlines are looked at again: they are shown to the minute. */
export const DEADLINES_MS = 30_000;

export function TimeLeft({ until }: { until: string | undefined }) {
  const words = useWords();
  const { language } = useSettings();
  const now = useNow(DEADLINES_MS);
  if (!until) return <span className="muted">–</span>;
  const left = timeLeft(until, now);
  if (left === null) return <span className="muted">{words.closed}</span>;
  const hours = (new Date(until).getTime() - now) / 3_600_000;
  return (
    <span title={time(language, until)}>
      <Badge tone={hours < 24 ? "danger" : hours < 72 ? "warn" : "neutral"}>
        <span className="number">{left}</span>
      </Badge>
    </span>
  );
}
