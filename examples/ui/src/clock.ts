/** The time, for what is shown in seconds, minutes or days. */

"use client";

import { useEffect, useState } from "react";

/** The current time in milliseconds, renewed every so often while the component is shown. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const update = () => setNow(Date.now());
    update();
    const timer = setInterval(update, everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** Counts whole seconds down from a number, then calls `done`, once; without a number it does nothing. */
export function useCountdown(seconds: number | undefined, done: () => void): number {
  const [left, setLeft] = useState(Math.ceil(seconds ?? 0));
  useEffect(() => {
    if (seconds === undefined) return;
    const timer = setTimeout(() => (left <= 1 ? done() : setLeft(left - 1)), 1000);
    return () => clearTimeout(timer);
  }, [seconds, left, done]);
  return left;
}
