/** What kept a search or the index from its work: each kind says what it is, and what happens next. */

"use client";

import { AyniError } from "ayni/browser";
import { Button, type IconName, Notice, State, useCountdown } from "ayni-ui";

import { client, type Index, isOwnServerAway } from "../lib/api.ts";
import { bytesText, useWords, type Words } from "../lib/words.ts";

interface Said {
  icon: IconName;
  title: string;
  text: string;
  tone: "warn" | "danger";
  /** After how many seconds it is tried again by itself. */
  again?: number;
}

const AGAIN_SECONDS = 5;

/** A kind of failure in words; `own` says that the page's own server is gone. */
function said(words: Words, kind: string, message: string, wait: number | null, own: boolean): Said {
  if (own) return { icon: "warning", title: words.away, text: words.awayText, tone: "danger", again: 2 };
  switch (kind) {
    case "cold_start":
      return { icon: "sleep", title: words.asleep, text: words.asleepText, tone: "warn", again: wait ?? AGAIN_SECONDS };
    case "unavailable":
    case "interrupted":
    case "offline":
      return { icon: "warning", title: words.down, text: words.downText, tone: "danger", again: wait ?? AGAIN_SECONDS };
    case "timeout":
      return { icon: "clock", title: words.slow, text: words.downText, tone: "warn", again: wait ?? AGAIN_SECONDS };
    case "rate_limited":
      return { icon: "clock", title: words.limited, text: words.limitedText, tone: "warn", again: wait ?? AGAIN_SECONDS };
    case "unauthenticated":
    case "permission_denied":
      return { icon: "key", title: words.refused, text: words.refusedText, tone: "danger" };
    case "config_invalid":
    case "model_load":
      return { icon: "warning", title: words.config, text: message, tone: "danger" };
    case "not_found":
      return { icon: "image", title: words.gone, text: "", tone: "warn" };
    case "invalid_request":
      return { icon: "image", title: words.badImage, text: words.badImageText, tone: "warn" };
    default:
      return { icon: "warning", title: words.failed, text: message, tone: "danger" };
  }
}

/** In place of the results; null is an image that is too large to send. */
export function SearchProblem({ error, again, largest }: { error: unknown; again: () => void; largest: number }) {
  const words = useWords();
  const found = error instanceof AyniError ? error : undefined;
  const isLarge = error === null || found?.status === 413;
  const what: Said = isLarge
    ? { icon: "image", title: words.large, text: `${words.largeText} ${bytesText(largest)}.`, tone: "warn" }
    : said(words, found?.code ?? "unexpected", found?.message ?? String(error), found?.retryAfterMs === undefined ? null : found.retryAfterMs / 1000, isOwnServerAway(error));
  const left = useCountdown(what.again, again);
  const retry = (
    <Button icon="refresh" onClick={again}>
      {words.tryAgain}
    </Button>
  );
  return (
    <State actions={isLarge ? undefined : retry} icon={what.icon} title={what.title} tone={what.tone}>
      {what.text}
      {what.again === undefined ? null : (
        <>
          {" "}
          <span className="number">{left}</span> s.
        </>
      )}
    </State>
  );
}

/** Above everything: why images are not indexed, or what is waited for. */
export function IndexProblem({ index }: { index: Index }) {
  const words = useWords();
  const { state, error, isAway } = index;
  if (isAway || error) {
    const found = error instanceof AyniError ? error : undefined;
    const what = said(words, found?.code ?? "unexpected", found?.message ?? "", null, isAway);
    return <Told action={error ? index.again : undefined} what={what} />;
  }
  if (!state) return null;
  const { problem, waiting } = state;
  if (problem) {
    const what = said(words, problem.kind, problem.message, problem.retry_after, false);
    const look = () => void client.post("/index", {}).catch(() => undefined);
    return <Told action={look} what={what} />;
  }
  return (
    <>
      {waiting && waiting.reason !== "loading" ? (
        <Notice icon="sleep" tone="warn">
          <strong>{words.waking}</strong>. <span className="number">{waiting.seconds}</span> {words.waited}.
        </Notice>
      ) : null}
      {state.replaced && state.indexed < state.images ? (
        <Notice icon="refresh">
          {words.replaced} <span className="mono">{state.replaced}</span>.
        </Notice>
      ) : null}
    </>
  );
}

function Told({ what, action }: { what: Said; action: (() => void) | undefined }) {
  const words = useWords();
  return (
    <Notice
      action={
        action ? (
          <Button icon="refresh" onClick={action}>
            {words.lookNow}
          </Button>
        ) : undefined
      }
      icon={what.icon}
      tone={what.tone}
    >
      <strong>{what.title}</strong>. {what.text}
    </Notice>
  );
}
