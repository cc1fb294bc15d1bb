/** What a place shows when a request failed: each kind of failure says what it is and what can be done. */

"use client";

import { AyniError } from "ayni/browser";
import { Button, Field, Notice, State, time, useSettings } from "ayni-ui";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";

import { useApi } from "../lib/api.tsx";
import { useWords } from "../lib/words.ts";

const AWAY = new Set(["unavailable", "cold_start", "offline"]);

interface Props {
  error: unknown;
  again: () => void;
}

/** In place of the data. */
export function Problem({ error, again }: Props) {
  const words = useWords();
  const code = error instanceof AyniError ? error.code : "unexpected";
  const [status, message] = error instanceof AyniError ? [error.status, error.message] : [undefined, String(error)];
  const retry = (
    <Button icon="refresh" onClick={again}>
      {words.tryAgain}
    </Button>
  );
  // A failure of the source behind the backend has a sentence of its own; one without status or JSON is the backend's.
  if (AWAY.has(code) && (status === undefined || !(error as AyniError).backend)) return <Asleep again={again} />;
  if (status === 401) return <NeedsKey again={again} />;
  if (code === "quota_exceeded") return <QuotaSpent retry={retry} />;
  if (code === "rate_limited") return <Limited again={again} error={error as AyniError} />;
  if (code === "unauthenticated" || code === "permission_denied") return <Failed icon="key" message={message} retry={retry} title={words.ticketRefused} />;
  if (code === "not_found") return <State icon="empty" title={words.notFound}>{words.notFoundText}</State>;
  return <Failed icon="warning" message={message} retry={retry} title={words.failed} />;
}

function Failed(props: { icon: "key" | "warning"; title: string; message: string; retry: ReactNode }) {
  return (
    <State actions={props.retry} icon={props.icon} title={props.title} tone="danger">
      {props.message}
    </State>
  );
}

/** Above data that is still there. */
export function ProblemNotice({ error, again }: Props) {
  const words = useWords();
  const code = error instanceof AyniError ? error.code : "unexpected";
  const text = code === "quota_exceeded" ? `${words.quotaSpent}. ${words.quotaNoted}` : AWAY.has(code) ? words.down : `${words.failed}: ${error instanceof Error ? error.message : error}`;
  return (
    <Notice
      action={
        <Button icon="refresh" onClick={again}>
          {words.tryAgain}
        </Button>
      }
      icon="warning"
      tone={code === "quota_exceeded" ? "warn" : "danger"}
    >
      {text}
    </Notice>
  );
}

/** Goes on by itself once the backend answers. */
function Asleep({ again }: { again: () => void }) {
  const words = useWords();
  const { client } = useApi();
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    const began = Date.now();
    const timer = setInterval(() => setSeconds(Math.floor((Date.now() - began) / 1000)), 1000);
    client?.awake({ signal: stop.signal }).then(again, () => undefined);
    return () => {
      clearInterval(timer);
      stop.abort();
    };
  }, [client, again]);
  return (
    <State
      actions={
        <Button icon="refresh" onClick={again}>
          {words.tryAgain}
        </Button>
      }
      busy
      icon="sleep"
      title={seconds < 3 ? words.down : words.waking}
      tone="warn"
    >
      {words.wakingText} <span className="number">{seconds}</span> {words.waited}.
    </State>
  );
}

function NeedsKey({ again }: { again: () => void }) {
  const words = useWords();
  const { giveKey } = useApi();
  const [key, setKey] = useState("");
  function submit(event: FormEvent) {
    event.preventDefault();
    giveKey(key.trim());
    again();
  }
  return (
    <State
      actions={
        <form className="row" onSubmit={submit} style={{ alignItems: "end" }}>
          <Field label={words.key}>
            <input autoComplete="off" className="input" onChange={(event) => setKey(event.target.value)} required type="password" value={key} />
          </Field>
          <Button icon="key" look="main" type="submit">
            {words.use}
          </Button>
        </form>
      }
      icon="key"
      title={words.needsKey}
      tone="warn"
    >
      {words.needsKeyText}
    </State>
  );
}

function QuotaSpent({ retry }: { retry: ReactNode }) {
  const words = useWords();
  const { language } = useSettings();
  // Santiago's midnight, which is when the count starts again.
  const midnight = new Date(Date.now() + 86_400_000).toISOString();
  return (
    <State actions={retry} icon="clock" title={words.quotaSpent} tone="warn">
      {words.quotaSpentText} 00:00 ({time(language, midnight, "day")}).
    </State>
  );
}

function Limited({ error, again }: { error: AyniError; again: () => void }) {
  const words = useWords();
  const [left, setLeft] = useState(Math.max(1, Math.ceil((error.retryAfterMs ?? 5000) / 1000)));
  useEffect(() => {
    const timer = setTimeout(() => (left <= 1 ? again() : setLeft(left - 1)), 1000);
    return () => clearTimeout(timer);
  }, [left, again]);
  return (
    <State
      actions={
        <Button icon="refresh" onClick={again}>
          {words.tryAgain}
        </Button>
      }
      icon="clock"
      title={words.limited}
      tone="warn"
    >
      {words.limitedText} {words.limitedFor} <span className="number">{left}</span> s.
    </State>
  );
}
