/** The answers of a model: what the record bears out, with links to the fields, and what it does not, as dropped. */

"use client";

import { Badge, count, Icon, Skeleton, useSettings } from "ayni-ui";

import type { Answer, Citation, RejectedClaim } from "../lib/analysis.ts";
import { pathName, useWords, type Words } from "../lib/words.ts";
import { anchorOf } from "./fields.tsx";

interface Props {
  answer: Answer;
  /** Whether the model is still being asked. */
  running: boolean;
  onCite: (path: string) => void;
}

export function Claims({ answer, running, onCite }: Props) {
  const words = useWords();
  const { language } = useSettings();
  return (
    <section aria-busy={running && !answer.answered} aria-label={words[answer.ask]} className="panel">
      <div className="panel-head">
        <h2>{words[answer.ask]}</h2>
        <span className="row muted">
          {answer.verdict ? (
            <Badge tone={answer.verdict === "go" ? "ok" : answer.verdict === "no_go" ? "danger" : "neutral"}>
              {words.verdict}: {words[answer.verdict]}
            </Badge>
          ) : null}
          {answer.answered ? (
            <span>
              {count(language, answer.claims.length)} {words.claims} · {count(language, answer.rejected.length)} {words.dropped}
            </span>
          ) : null}
        </span>
      </div>
      <div className="panel-body">
        <ul aria-live="polite" className="claims">
          {answer.claims.map((claim, index) => (
            <li className="claim" data-opinion={claim.opinion ? "" : undefined} key={index}>
              <p>{claim.text}</p>
              <Cites citations={claim.citations} onCite={onCite} />
              {claim.opinion ? <span className="muted">{words.opinion}</span> : null}
            </li>
          ))}
          {answer.rejected.map((claim, index) => (
            <li className="claim" data-dropped key={`dropped ${index}`}>
              <p>{claim.text}</p>
              <span className="row muted">
                <Badge tone="danger">{words.droppedWhy}</Badge>
                {reasonOf(claim, words)}
              </span>
            </li>
          ))}
        </ul>
        {answer.answered && answer.claims.length === 0 ? <p className="muted">{words.noClaims}</p> : null}
        {running && !answer.answered ? <Skeleton height={36} label={words.askingModel} rows={2} /> : null}
        {answer.answered ? (
          <p className="muted" style={{ marginTop: 12 }}>
            {words.answeredBy} {answer.model} · {count(language, answer.tokens ?? 0)} {words.tokens}
          </p>
        ) : null}
      </div>
    </section>
  );
}

function Cites({ citations, onCite }: { citations: readonly Citation[]; onCite: (path: string) => void }) {
  const { language } = useSettings();
  return (
    <span className="cites">
      {citations.map(({ path, value }) => (
        <a href={`#${anchorOf(path)}`} key={path} onClick={() => onCite(path)} title={value}>
          <Icon name="link" size={11} /> {pathName(path, language)}
        </a>
      ))}
    </span>
  );
}

export function reasonOf({ reason }: RejectedClaim, words: Words): string {
  const known: Record<string, string> = {
    unknown_field: words.unknown_field, not_in_fields: words.not_in_fields, unclear: words.unclear_claim, length: words.length,
    repeated: words.repeated, too_many: words.too_many, takes_no_offers: words.takes_no_offers, nothing_left: words.nothing_left,
  };
  const what = reason.written ?? reason.field;
  return `${known[reason.kind] ?? reason.kind}${what ? `: «${what}»` : ""}`;
}
