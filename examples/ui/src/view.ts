/** The state of a view in the address: a link restores it, and back and forward go through it. */

"use client";

import { useSearchParams } from "next/navigation";
import { useCallback, useEffect, useMemo, useState } from "react";

/** `push` makes a step for the back button; typing replaces the step it is in. */
export type SetView<V> = (change: Partial<V>, how?: "push" | "replace") => void;

/** The view: texts by name. What equals the default is not in the address. */
export function useView<V extends Record<string, string>>(defaults: V): [V, SetView<V>] {
  const params = useSearchParams();
  const told = params.toString();
  // What was just written into the address. The router tells it later, and until then a field would show the text before it
  // and lose what is typed meanwhile.
  const [written, setWritten] = useState<string>();
  useEffect(() => {
    if (written === undefined) return;
    const isOver = written === told || written !== new URLSearchParams(window.location.search).toString();
    if (isOver) setWritten(undefined);
  }, [written, told]);
  useEffect(() => {
    const forget = () => setWritten(undefined);
    window.addEventListener("popstate", forget);
    return () => window.removeEventListener("popstate", forget);
  }, []);

  const text = written ?? told;
  const view = useMemo(() => {
    const found = new URLSearchParams(text);
    return Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, found.get(name) ?? value])) as V;
  }, [text, defaults]);

  const setView = useCallback<SetView<V>>(
    (change, how = "push") => {
      const next = new URLSearchParams(window.location.search);
      for (const [name, value] of Object.entries(change)) {
        if (value === undefined || value === defaults[name]) next.delete(name);
        else next.set(name, value);
      }
      const search = next.toString();
      const address = window.location.pathname + (search ? `?${search}` : "");
      if (address === window.location.pathname + window.location.search) return;
      setWritten(search);
      if (how === "push") window.history.pushState(null, "", address);
      else window.history.replaceState(null, "", address);
    },
    [defaults],
  );
  return [view, setView];
}
