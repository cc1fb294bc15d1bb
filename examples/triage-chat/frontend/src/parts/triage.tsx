/** A patient's question to the model of a mode. */

"use client";

import { AyniError } from "ayni/browser";
import { Badge, Button, decimal, Field, KeyForm, Mark, Notice, Select, SettingsButtons, Skeleton, State, useQuery, useSettings, useTabKey } from "ayni-ui";
import { type FormEvent, useEffect, useState } from "react";

import { type Answer, type Client, type Mode, useAnswer, useClient } from "../lib/answer.ts";
import { useWords } from "../lib/words.ts";

interface Overview {
  default_llm_mode: string | null;
  llm_modes: Mode[];
}

export function Triage({ url }: { url: string | undefined }) {
  const words = useWords();
  const [key, giveKey] = useTabKey();
  const client = useClient(url, key);
  const overview = useQuery(client && `modes ${key ?? ""}`, (signal) => client!.get<Overview>("/", {}, { signal }));
  const { answer, ask, stop } = useAnswer(client);
  const busy = answer?.status === "asking" || answer?.status === "writing";
  return (
    <>
      <header className="frame-bar">
        <span className="frame-brand">
          <Mark />
          CarePath
        </span>
        <div className="frame-tools">
          <SettingsButtons />
        </div>
      </header>
      <main className="page">
        <div>
          <h1>{words.title}</h1>
          <p className="muted">{words.text}</p>
        </div>
        <Notice icon="warning" tone="warn">
          {words.disclaimer}
        </Notice>
        {overview.data || !overview.error ? null : isKeyWanted(overview.error) ? (
          <section className="panel">
            <State actions={<KeyForm label={words.key} onKey={giveKey} use={words.use} />} icon="key" title={words.needsKey} tone="warn">
              {words.needsKeyText}
            </State>
          </section>
        ) : (
          <Away again={overview.again} client={client} />
        )}
        <div className="triage">
          <div className="stack">
            <Question busy={busy} onAsk={ask} onStop={stop} overview={overview.data} />
            <section aria-busy={busy} aria-label={words.answer} className="panel">
              {answer ? (
                <Shown answer={answer} />
              ) : (
                <State icon="spark" title={words.empty}>
                  {words.emptyText}
                </State>
              )}
            </section>
          </div>
          <Modes overview={overview.data} />
        </div>
      </main>
    </>
  );
}

const isKeyWanted = (error: unknown) => error instanceof AyniError && error.status === 401;

/** Goes on by itself once the backend answers. */
function Away({ client, again }: { client: Client | null; again: () => void }) {
  const words = useWords();
  useEffect(() => {
    const stop = new AbortController();
    client?.awake({ signal: stop.signal }).then(again, () => undefined);
    return () => stop.abort();
  }, [client, again]);
  return (
    <Notice icon="sleep" tone="danger">
      <strong>{words.down}</strong>. {words.waking}
    </Notice>
  );
}

interface QuestionProps {
  overview: Overview | undefined;
  busy: boolean;
  onAsk: (body: { patient_mrn: string; query: string; llm_mode: string }) => void;
  onStop: () => void;
}

function Question({ overview, busy, onAsk, onStop }: QuestionProps) {
  const words = useWords();
  const [mrn, setMrn] = useState("");
  const [query, setQuery] = useState("");
  const [chosen, setChosen] = useState("");
  const mode = chosen || overview?.default_llm_mode || "";
  const label = (one: Mode) => `${one.mode}${one.mode === overview?.default_llm_mode ? ` (${words.default})` : ""}${one.problem ? ` – ${one.problem}` : ""}`;
  function submit(event: FormEvent) {
    event.preventDefault();
    if (busy) onStop();
    else onAsk({ patient_mrn: mrn.trim(), query: query.trim(), llm_mode: mode });
  }
  return (
    <form className="panel" onSubmit={submit}>
      <div className="pair">
        <Field label={words.mrn}>
          <input autoComplete="off" className="input mono" maxLength={128} onChange={(event) => setMrn(event.target.value)} placeholder="P000123" required value={mrn} />
        </Field>
        <Select
          choices={(overview?.llm_modes ?? []).map((one) => ({ value: one.mode, label: label(one), disabled: one.problem !== null }))}
          label={words.mode}
          onChange={setChosen}
          value={mode}
        />
      </div>
      <Field label={words.question}>
        <textarea
          className="input"
          maxLength={20_000}
          onChange={(event) => setQuery(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey) {
              event.preventDefault();
              event.currentTarget.form?.requestSubmit();
            }
          }}
          placeholder={words.placeholder}
          required
          value={query}
        />
      </Field>
      <div className="row">
        <Button icon={busy ? "stop" : "spark"} look={busy ? "plain" : "main"} type="submit">
          {busy ? words.stop : words.ask}
        </Button>
      </div>
    </form>
  );
}

function Shown({ answer }: { answer: Answer }) {
  const words = useWords();
  const { failure } = answer;
  const title = failure ? (words.failed[failure.code as keyof typeof words.failed] ?? words.failed.other) : words.cut;
  return (
    <div className="panel-body" style={{ paddingTop: 16 }}>
      {answer.reasoning ? (
        <details>
          <summary>{words.reasoning}</summary>
          <p style={{ whiteSpace: "pre-wrap" }}>{answer.reasoning}</p>
        </details>
      ) : null}
      {answer.text ? (
        <p aria-live="polite" className="answer">
          {answer.text}
        </p>
      ) : answer.status === "asking" || answer.status === "writing" ? (
        <Skeleton height={28} label={words.thinking} rows={3} />
      ) : null}
      {answer.status === "failed" || answer.status === "cut" ? (
        <Notice icon="warning" tone="danger">
          <strong>{title}</strong>. {failure?.message ?? words.cutText}
        </Notice>
      ) : null}
      {answer.status === "stopped" ? <Badge>{words.stopped}</Badge> : null}
      {answer.done ? <Measures done={answer.done} /> : null}
    </div>
  );
}

function Measures({ done }: { done: NonNullable<Answer["done"]> }) {
  const words = useWords();
  const { language } = useSettings();
  const rows = [
    [words.route, done.llm_mode],
    [words.model, done.model],
    [words.latency, done.latency_ms < 1000 ? `${Math.round(done.latency_ms)} ms` : `${decimal(language, `${done.latency_ms / 1000}`, 1)} s`],
    [words.speed, done.tokens_per_second === null ? words.unknown : `${decimal(language, `${done.tokens_per_second}`, 1)} ${words.perSecond}`],
    [words.finish, done.finish],
  ];
  return (
    <dl className="measures">
      {rows.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd className="number">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Modes({ overview }: { overview: Overview | undefined }) {
  const words = useWords();
  return (
    <section aria-label={words.modes} className="panel">
      <div className="panel-head">
        <h2>{words.modes}</h2>
      </div>
      <ul className="modes panel-body">
        {overview?.llm_modes.map((one) => (
          <li key={one.mode}>
            <span>
              <strong className="mono">{one.mode}</strong>
              <Badge tone={one.problem ? "warn" : "ok"}>{one.problem ? words.missing : words.ready}</Badge>
            </span>
            <span className="muted">{one.what}</span>
            {one.problem ? <span>{one.problem}</span> : one.model ? <span className="muted mono">{one.model}</span> : null}
          </li>
        )) ?? <Skeleton height={36} label={words.modes} rows={4} />}
      </ul>
    </section>
  );
}
