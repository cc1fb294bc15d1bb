/** The time until a deadline, warmer the nearer it is. */

"use client";

import { Badge, time, timeLeft, useSettings } from "ayni-ui";
import { useEffect, useState } from "react";

import { useWords } from "../lib/words.ts";

/** The time, renewed every half minute. */
export function useNow(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 30_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

export function TimeLeft({ until }: { until: string | undefined }) {
  const words = useWords();
  const { language } = useSettings();
  const now = useNow();
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
