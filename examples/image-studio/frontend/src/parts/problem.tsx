/** Why no image was made, and what can be done about it. */

import { Button, count, Icon, useNow, useSettings } from "ayni-ui";
import { type FormEvent, useEffect, useState } from "react";

import { settings, type Statuses } from "../lib/engines.ts";
import { failureTitle, useWords } from "../lib/words.ts";
import type { Failed, Work } from "../lib/work.ts";
import { Explained } from "./engines.tsx";

interface ProblemProps {
  failed: Failed;
  status: Statuses["local"];
  onRetry: (change: Partial<Work>) => void;
  onKey: (key: string) => void;
  onClose: () => void;
}

export function Problem({ failed, status, onRetry, onKey, onClose }: ProblemProps) {
  const words = useWords();
  const { language } = useSettings();
  const { error, engine, work } = failed;
  const wait = Math.max(0, Math.ceil((failed.at + (error.retryAfterMs ?? 0) - useNow(500)) / 1000));
  const { again } = status;
  // What the browser calls a failed fetch has many causes: the engine is asked how it is.
  useEffect(() => again(), [failed.at, again]);
  const isAway = error.code === "unavailable" && error.status === undefined;
  const state = status.data?.state;
  const canUseCloud = work.mode === "local" && settings.bases.cloud && work.kind !== "replay";
  return (
    <div className="problem panel" role="alert">
      <Icon name="warning" size={24} />
      <div className="stack">
        <h2>
          {failureTitle(words, error.code)} <small className="muted">{words.servedBy[engine]}</small>
        </h2>
        {isAway && status.data && state !== "ready" ? <Explained name={engine} status={status.data} /> : <p>{error.message}</p>}
        {error.code === "unauthenticated" ? <KeyNow onKey={onKey} onRetry={() => onRetry({})} /> : null}
        <div className="row">
          <Button icon="refresh" onClick={() => onRetry({})}>
            {wait > 0 ? words.tryIn(count(language, wait)) : words.tryAgain}
          </Button>
          {error.code === "out_of_memory" && work.quality === "high" ? <Button onClick={() => onRetry({ quality: "standard" })}>{words.useStandard}</Button> : null}
          {canUseCloud ? <Button onClick={() => onRetry({ mode: "cloud" })}>{words.useCloud}</Button> : null}
          <Button look="quiet" onClick={onClose}>
            {words.close}
          </Button>
        </div>
      </div>
    </div>
  );
}

function KeyNow({ onKey, onRetry }: { onKey: (key: string) => void; onRetry: () => void }) {
  const words = useWords();
  const [key, setKey] = useState("");
  const [isSent, setSent] = useState(false);
  // Once the engines have the key.
  useEffect(() => {
    if (isSent) onRetry();
  }, [isSent]);
  function submit(event: FormEvent) {
    event.preventDefault();
    onKey(key.trim());
    setSent(true);
  }
  return (
    <form className="row" onSubmit={submit}>
      <input aria-label={words.key} autoComplete="off" className="input" onChange={(event) => setKey(event.target.value)} required type="password" value={key} />
      <Button type="submit">{words.useKey}</Button>
      <small className="muted">{words.keyText}</small>
    </form>
  );
}
