/** What a place shows when a request failed: each kind of failure says what it is and what can be done. */

"use client";

import { AyniError } from "ayni/browser";
import { Button, Icon, KeyForm, Notice, State, time, useCountdown, useNow, useSettings } from "ayni-ui";
import Link from "next/link";
import { type ReactNode, useEffect, useState } from "react";

import { useApi } from "../lib/api.tsx";
import { useWords } from "../lib/words.ts";

const AWAY = new Set(["unavailable", "cold_start", "offline"]);

interface Props {
  error: unknown;
  again: () => void;
}

/** Whether the backend itself does not answer: a failure of the source behind it names that source. */
const isBackendAway = (error: unknown) => error instanceof AyniError && AWAY.has(error.code) && (error.status === undefined || !error.backend);

/** Goes on once the backend answers. */
function useAwake(isAway: boolean, again: () => void) {
  const { client } = useApi();
  useEffect(() => {
    if (!isAway) return;
    const stop = new AbortController();
    client?.awake({ signal: stop.signal }).then(again, () => undefined);
    return () => stop.abort();
  }, [isAway, client, again]);
}

function Again({ onClick }: { onClick: () => void }) {
  const words = useWords();
  return (
    <Button icon="refresh" onClick={onClick}>
      {words.tryAgain}
    </Button>
  );
}

/** In place of the data. */
export function Problem({ error, again }: Props) {
  const words = useWords();
  const code = error instanceof AyniError ? error.code : "unexpected";
  const [status, message] = error instanceof AyniError ? [error.status, error.message] : [undefined, String(error)];
  const retry = <Again onClick={again} />;
  if (isBackendAway(error)) return <Asleep again={again} />;
  if (status === 401) return <NeedsKey again={again} />;
  if (code === "quota_exceeded") return <QuotaSpent retry={retry} />;
  if (code === "rate_limited") return <Limited again={again} error={error as AyniError} />;
  if (code === "unauthenticated" || code === "permission_denied") return <Failed icon="key" message={message} retry={retry} title={words.ticketRefused} />;
  if (code === "not_found") return <Missing />;
  return <Failed icon="warning" message={message} retry={retry} title={words.failed} />;
}

function Missing() {
  const words = useWords();
  const search = (
    <Link className="button" href="/tenders">
      <Icon name="search" />
      {words.searchTitle}
    </Link>
  );
  return (
    <State actions={search} icon="empty" title={words.notFound}>
      {words.notFoundText}
    </State>
  );
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
  useAwake(isBackendAway(error), again);
  const code = error instanceof AyniError ? error.code : "unexpected";
  const text = code === "quota_exceeded" ? `${words.quotaSpent}. ${words.quotaNoted}` : isBackendAway(error) ? words.down : `${words.failed}: ${error instanceof Error ? error.message : error}`;
  return (
    <Notice
      action={<Again onClick={again} />}
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
  const [began] = useState(Date.now);
  const seconds = Math.max(0, Math.floor((useNow(1000) - began) / 1000));
  useAwake(true, again);
  return (
    <State
      actions={<Again onClick={again} />}
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
  function onKey(key: string) {
    giveKey(key);
    again();
  }
  return (
    <State
      actions={<KeyForm label={words.key} onKey={onKey} use={words.use} />}
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
  const left = useCountdown(Math.max(1, (error.retryAfterMs ?? 5000) / 1000), again);
  return (
    <State
      actions={<Again onClick={again} />}
      icon="clock"
      title={words.limited}
      tone="warn"
    >
      {words.limitedText} {words.limitedFor} <span className="number">{left}</span> s.
    </State>
  );
}
