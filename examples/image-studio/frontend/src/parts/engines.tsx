/** Whether each engine can be reached, and what it says of itself. */

import type { EngineName, EngineState, EngineStatus } from "ayni/browser/images";
import { Badge, Button, Skeleton, type Tone, count, useSettings, useToast } from "ayni-ui";
import { type FormEvent, useState } from "react";

import { type Keys, NAMES, settings, type Statuses } from "../lib/engines.ts";
import { useWords } from "../lib/words.ts";

const TONES: Record<EngineState, Tone> = {
  ready: "ok", loading: "info", asleep: "info", slow: "warn", origin_refused: "warn", mixed_content: "warn", unreachable: "danger",
  failing: "danger", not_configured: "neutral",
};

interface PanelProps {
  statuses: Statuses;
  keys: Keys;
  onKey: (name: EngineName, key: string) => void;
}

export function EnginePanel({ statuses, keys, onKey }: PanelProps) {
  const words = useWords();
  return (
    <section aria-label={words.engines} className="panel engines">
      <div className="panel-head">
        <h2>{words.engines}</h2>
        <Button icon="refresh" label={words.tryAgain} look="quiet" onClick={() => NAMES.forEach((name) => statuses[name].again())} />
      </div>
      {NAMES.map((name) => {
        const status = statuses[name].data;
        const state = status?.state;
        return (
          <div className="engine panel-body" data-engine={name} key={name}>
            <div className="row">
              <h3>{words[name]}</h3>
              <Badge tone={state ? TONES[state] : "neutral"}>{words.states[state ?? "asking"]}</Badge>
            </div>
            {settings.bases[name] ? <span className="mono muted address">{settings.bases[name]}</span> : null}
            {status ? <Explained name={name} status={status} /> : <Skeleton height={24} label={words.states.asking} rows={3} />}
            {status?.diagnostics ? <Diagnostics status={status} /> : null}
            {state === "not_configured" ? null : <Key isSet={Boolean(keys[name])} onKey={(key) => onKey(name, key)} />}
          </div>
        );
      })}
    </section>
  );
}

/** What is wrong with an engine and what mends it. */
export function Explained({ name, status }: { name: EngineName; status: EngineStatus }) {
  const words = useWords();
  const { state, base = "" } = status;
  const variable = name === "cloud" ? "VITE_CLOUD_ENGINE_URL=https://owner-aura-engine.hf.space" : "VITE_LOCAL_ENGINE_URL=http://localhost:8000";
  const text = words.engineText;
  switch (state) {
    case "ready":
      return null;
    case "not_configured":
      return (
        <>
          <p>{text.not_configured[name]}</p>
          <Code>{variable}</Code>
        </>
      );
    case "origin_refused":
      return (
        <>
          <p>{text.origin_refused}</p>
          <Code>{`ALLOW_ORIGINS=${window.location.origin}`}</Code>
          <p className="muted">{text.origin_hint}</p>
          {new URL(base).hostname.endsWith(".hf.space") ? <p className="muted">{text.space_hint}</p> : null}
        </>
      );
    case "unreachable":
      return (
        <>
          <p>{text.unreachable}</p>
          {name === "local" ? (
            <>
              <p className="muted">{text.start}</p>
              <Code>{`ALLOW_ORIGINS=${window.location.origin} ayni serve image --port ${new URL(base).port || 80}`}</Code>
            </>
          ) : null}
        </>
      );
    default:
      return (
        <>
          <p>{text[state]}</p>
          {status.error ? <p className="muted">{status.error.message}</p> : null}
        </>
      );
  }
}

function Code({ children }: { children: string }) {
  const words = useWords();
  const toast = useToast();
  // Browsers have no clipboard on `http:` beyond this machine.
  const copy = async () => {
    await navigator.clipboard.writeText(children);
    toast(words.copied);
  };
  return (
    <div className="code">
      <code className="mono">{children}</code>
      {navigator.clipboard ? <Button icon="link" label={words.copy} look="quiet" onClick={() => void copy().catch(() => undefined)} /> : null}
    </div>
  );
}

interface Told {
  device?: string;
  model?: string;
  precision?: string | null;
  scheduler?: string | null;
  optimisations?: string[];
  recipe?: { name: string; steps: number };
  memory?: { weights_bytes: number };
}

const MEGABYTE = 1e6;

function Diagnostics({ status: { diagnostics, milliseconds } }: { status: EngineStatus }) {
  const words = useWords();
  const { language } = useSettings();
  const told = (diagnostics ?? {}) as Told;
  const { diagnostics: labels } = words;
  const rows: [string, string | null | undefined][] = [
    [labels.device, told.device],
    [labels.model, told.model],
    [labels.precision, told.precision],
    [labels.scheduler, told.scheduler],
    [labels.recipe, told.recipe && `${told.recipe.name}, ${told.recipe.steps} ${words.steps}`],
    [labels.memory, told.memory && `${count(language, Math.round(told.memory.weights_bytes / MEGABYTE))} MB`],
    [labels.milliseconds, milliseconds === undefined ? undefined : `${count(language, milliseconds)} ms`],
  ];
  return (
    <>
      <dl className="diagnostics">
        {rows.map(([label, value]) =>
          value ? (
            <div key={label}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          ) : null,
        )}
      </dl>
      {told.optimisations?.length ? (
        <details>
          <summary>{words.optimisations}</summary>
          <ul>
            {told.optimisations.map((one) => (
              <li key={one}>{one}</li>
            ))}
          </ul>
        </details>
      ) : null}
    </>
  );
}

export function Key({ isSet, onKey }: { isSet: boolean; onKey: (key: string) => void }) {
  const words = useWords();
  const [key, setKey] = useState("");
  function submit(event: FormEvent) {
    event.preventDefault();
    onKey(key.trim());
    setKey("");
  }
  return (
    <details>
      <summary>
        {words.key}
        {isSet ? " ✓" : ""}
      </summary>
      <form className="row" onSubmit={submit}>
        <input aria-label={words.key} autoComplete="off" className="input" onChange={(event) => setKey(event.target.value)} type="password" value={key} />
        <Button type="submit">{words.useKey}</Button>
      </form>
      <small className="muted">{words.keyText}</small>
    </details>
  );
}
