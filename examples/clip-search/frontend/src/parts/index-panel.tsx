/** How far the index is, and which model made it. */

"use client";

import { Badge, count, Meter, Skeleton, useSettings } from "ayni-ui";

import type { Index } from "../lib/api.ts";
import { useWords } from "../lib/words.ts";

export function IndexPanel({ index }: { index: Index }) {
  const words = useWords();
  const { language } = useSettings();
  const { state } = index;
  return (
    <section aria-label={words.index} className="panel">
      <div className="panel-head">
        <h2>{words.index}</h2>
        {state ? <Phase index={index} /> : null}
      </div>
      {state ? (
        <div className="panel-body stack">
          <div className="index-count">
            <span className="number" data-testid="indexed">
              {count(language, state.indexed)} {words.of} {count(language, state.images)} {words.indexed}
            </span>
            <Meter label={`${words.index}: ${state.indexed} ${words.of} ${state.images}`} max={Math.max(state.images, 1)} value={state.indexed} />
          </div>
          <dl className="facts">
            <dt>{words.model}</dt>
            <dd>
              <span className="mono">{state.model ?? words.noModel}</span>
              <br />
              <span className="muted">{state.backend === "local" ? words.local : words.hosted}</span>
              {state.replaced ? (
                <>
                  <br />
                  <span className="muted">
                    {words.before} <span className="mono">{state.replaced}</span>
                  </span>
                </>
              ) : null}
            </dd>
          </dl>
          {state.unreadable.length ? (
            <details>
              <summary>
                {words.unreadable}: {count(language, state.unreadable.length)}
              </summary>
              <ul>
                {state.unreadable.map(({ name, reason }) => (
                  <li key={name}>
                    <span className="mono">{name}</span>: {reason}
                  </li>
                ))}
              </ul>
            </details>
          ) : null}
        </div>
      ) : index.error ? null : (
        <Skeleton height={36} label={words.index} rows={3} />
      )}
    </section>
  );
}

function Phase({ index: { state } }: { index: Index }) {
  const words = useWords();
  if (state?.running) return <Badge tone="info">{words.indexing}</Badge>;
  if (state?.problem) return <Badge tone="warn">{words.failedIndex}</Badge>;
  if (state && state.indexed + state.unreadable.length >= state.images) return <Badge tone="ok">{words.complete}</Badge>;
  return null;
}
