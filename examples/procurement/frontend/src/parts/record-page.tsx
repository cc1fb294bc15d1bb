/** The page of one record: a tender, a quick purchase or an order, in the same places. */

"use client";

import { Button, count, decimal, DensityButton, Icon, Menu, type MenuItem, money, Notice, Skeleton, State, time, useQuery, useSettings, useToast } from "ayni-ui";
import type { records } from "ayni";
import Link from "next/link";
import { useRouter } from "next/navigation";
import type { ReactNode } from "react";

import { useApi } from "../lib/api.tsx";
import { type Full, type Kind, type Listing, pageOf, readFull, similar } from "../lib/records.ts";
import { useWords, type Words } from "../lib/words.ts";
import { Problem } from "./problem.tsx";
import { Share } from "./share.tsx";
import { StateBadge } from "./state-badge.tsx";
import { TimeLeft } from "./time-left.tsx";

type Dates = readonly (readonly [label: string, at: string | null | undefined])[];

interface Shown {
  code: string;
  name: string;
  state: string;
  description: string;
  closes?: string | null | undefined;
  facts: readonly (readonly [label: string, value: ReactNode])[];
  dates: Dates;
  items: readonly records.LineItem[];
  /** Sections of this kind only. */
  more: ReactNode;
}

export function RecordPage<R>({ kind, code, shownOf }: { kind: Kind; code: string; shownOf: (record: R, words: Words, language: "es" | "en") => Shown }) {
  const words = useWords();
  const { language } = useSettings();
  const { client } = useApi();
  const router = useRouter();
  const found = useQuery(client && `${kind} ${code}`, (signal) => readFull<R>(client!, kind, code, { signal }));
  const back = (
    <Button icon="arrow_left" look="quiet" onClick={() => (window.history.length > 1 ? router.back() : router.push(kind === "order" ? "/" : "/tenders"))}>
      {words.back}
    </Button>
  );
  if (!found.data) {
    return (
      <>
        <div className="row">{back}</div>
        <section className="panel">{found.error ? <Problem again={found.again} error={found.error} /> : <Skeleton label={words.loading} rows={8} />}</section>
      </>
    );
  }
  const shown = shownOf(found.data.record, words, language);
  return (
    <>
      <div className="row" style={{ justifyContent: "space-between" }}>
        {back}
        <div className="row page-actions">
          <Share />
          {kind === "order" ? null : <Files kind={kind} shown={shown} />}
          {kind === "tender" ? (
            <Link className="button" data-look="main" href={`/analysis?code=${encodeURIComponent(code)}`}>
              <Icon name="spark" />
              {words.analyse}
            </Link>
          ) : null}
        </div>
      </div>
      <Head found={found.data} kind={kind} shown={shown} />
      {found.data.stale ? (
        <Notice icon="clock" tone="warn">
          {words.stale}
        </Notice>
      ) : null}
      <div className="columns">
        <div className="stack">
          {shown.description ? (
            <Section title={words.description}>
              <p style={{ maxWidth: "80ch", whiteSpace: "pre-line" }}>{shown.description}</p>
            </Section>
          ) : null}
          <Lines items={shown.items} />
          {shown.more}
        </div>
        <div className="stack">
          <Section title={words.facts}>
            <Facts facts={shown.facts} />
          </Section>
          <Timeline dates={shown.dates} />
          {kind === "tender" ? <Similar code={code} name={shown.name} /> : null}
        </div>
      </div>
    </>
  );
}

function Head<R>({ kind, shown, found }: { kind: Kind; shown: Shown; found: Full<R> }) {
  const words = useWords();
  const { language } = useSettings();
  return (
    <div>
      <p className="row muted" style={{ marginBottom: 4 }}>
        <span>{words[kind]}</span>
        <span className="mono">{shown.code}</span>
      </p>
      <h1>{shown.name}</h1>
      <p className="row" style={{ marginTop: 8 }}>
        <StateBadge state={shown.state} />
        {shown.closes ? (
          <>
            <span className="muted">
              {words.closes} {time(language, shown.closes)}
            </span>
            <TimeLeft until={shown.closes} />
          </>
        ) : null}
        <span className="muted">
          {words.source} {found.source} · {words.asOf} {time(language, found.as_of)}
        </span>
      </p>
    </div>
  );
}

export function Section({ title, tools, children }: { title: string; tools?: ReactNode; children: ReactNode }) {
  return (
    <section aria-label={title} className="panel">
      <div className="panel-head">
        <h2>{title}</h2>
        {tools}
      </div>
      <div className="panel-body">{children}</div>
    </section>
  );
}

function Facts({ facts }: { facts: Shown["facts"] }) {
  return (
    <dl className="facts">
      {facts
        // A number that ayni does not know is no word for people.
        .filter(([, value]) => !(typeof value === "string" && /^\d$/.test(value)))
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([label, value]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

function Timeline({ dates }: { dates: Dates }) {
  const words = useWords();
  const { language } = useSettings();
  const known = dates.flatMap(([label, at]) => (at ? [{ label, at, moment: new Date(at).getTime() }] : [])).sort((a, b) => a.moment - b.moment);
  const next = known.find(({ moment }) => moment > Date.now());
  if (known.length === 0) return null;
  return (
    <Section title={words.dates}>
      <ol className="timeline">
        {known.map((one) => (
          <li data-next={one === next ? "" : undefined} data-past={one.moment <= Date.now() ? "" : undefined} key={one.label}>
            <span>{one.label}</span>
            <span className="number muted">{time(language, one.at)}</span>
          </li>
        ))}
      </ol>
    </Section>
  );
}

function Lines({ items }: { items: readonly records.LineItem[] }) {
  const words = useWords();
  const { language } = useSettings();
  if (items.length === 0) return null;
  const hasPrice = items.some((item) => item.unit_price || item.total);
  const hasAward = items.some((item) => item.award);
  return (
    <Section title={`${words.lines} (${count(language, items.length)})`} tools={<DensityButton />}>
      <div aria-label={words.lines} className="scroll-x" role="region" tabIndex={0}>
        <table className="plain-table">
          <thead>
            <tr>
              <th scope="col">#</th>
              <th scope="col">{words.product}</th>
              <th className="end" scope="col">
                {words.quantity}
              </th>
              {hasPrice ? <th className="end" scope="col">{words.price}</th> : null}
              {hasPrice ? <th className="end" scope="col">{words.total}</th> : null}
              {hasAward ? <th scope="col" style={{ paddingLeft: 16 }}>{words.award}</th> : null}
            </tr>
          </thead>
          <tbody>
            {items.map((item, index) => (
              <tr id={`items-${index}`} key={index}>
                <td className="muted">{item.number ?? index + 1}</td>
                <td>
                  {item.name.trim()}
                  {item.description || item.category ? <p className="muted">{[item.description?.trim(), item.category].filter(Boolean).join(" · ")}</p> : null}
                </td>
                <td className="end">
                  {item.quantity ? decimal(language, item.quantity) : "–"} {item.unit ?? ""}
                </td>
                {hasPrice ? <td className="end">{item.unit_price ? money(language, item.unit_price) : "–"}</td> : null}
                {hasPrice ? <td className="end">{item.total ? money(language, item.total) : "–"}</td> : null}
                {hasAward ? (
                  <td style={{ paddingLeft: 16 }}>
                    {item.award ? (
                      <>
                        {item.award.supplier.name}
                        <p className="muted number">
                          {item.award.quantity ? decimal(language, item.award.quantity) : ""} {item.award.unit_price ? `× ${money(language, item.award.unit_price)}` : ""}
                        </p>
                      </>
                    ) : (
                      "–"
                    )}
                  </td>
                ) : null}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

export function Documents({ documents }: { documents: readonly records.Document[] }) {
  const words = useWords();
  return (
    <Section title={words.documents}>
      {documents.length ? (
        <ul>
          {documents.map((document) => (
            <li className="row" key={document.id} style={{ minHeight: 28 }}>
              <Icon name="document" />
              {/* Only addresses of the web: the record was written by strangers. */}
              {document.url && /^https?:\/\//.test(document.url) ? (
                <a href={document.url} rel="noreferrer" target="_blank">
                  {document.name}
                </a>
              ) : (
                document.name
              )}
            </li>
          ))}
        </ul>
      ) : (
        <p className="muted">{words.noDocuments}</p>
      )}
    </Section>
  );
}

function Similar({ code, name }: { code: string; name: string }) {
  const words = useWords();
  const { client } = useApi();
  const open = useQuery(client && "open tenders", (signal) => client!.get<Listing<records.TenderRow>>("/api/tenders", {}, { signal }));
  const found = open.data ? similar(open.data.rows, code, name) : undefined;
  return (
    <Section title={words.similar}>
      {found?.length ? (
        <ul className="stack" style={{ gap: 8 }}>
          {found.map((row) => (
            <li key={row.code}>
              <Link href={pageOf("tender", row.code)}>{row.name.trim()}</Link>
              <p className="row muted">
                <span className="mono">{row.code}</span>
                <TimeLeft until={row.closes ?? undefined} />
              </p>
            </li>
          ))}
        </ul>
      ) : found ? (
        <p className="muted">{words.noSimilar}</p>
      ) : open.error ? (
        <State icon="warning" title={words.failed} />
      ) : (
        <Skeleton height={28} label={words.loading} rows={3} />
      )}
    </Section>
  );
}

/** Files of the record: those that the backend writes, and the calendar. */
function Files({ kind, shown }: { kind: Kind; shown: Shown }) {
  const words = useWords();
  const toast = useToast();
  const { client } = useApi();

  async function fromBackend(form: "pdf" | "csv" | "ocds", ending: string) {
    try {
      const response = await client!.request(`/api/tenders/${encodeURIComponent(shown.code)}/export?form=${form}`, { method: "GET" }, { headers: { accept: "*/*" } });
      const { save } = await import("ayni-ui/files/save");
      save(await response.blob(), response.headers.get("content-type") ?? "", `${shown.code}.${ending}`);
      toast(words.exported);
    } catch (error) {
      toast(`${words.failed}: ${error instanceof Error ? error.message : error}`);
    }
  }
  async function ics() {
    const [{ calendar }, { save }] = await Promise.all([import("ayni-ui/files/calendar"), import("ayni-ui/files/save")]);
    const events = shown.closes ? [{ id: `${shown.code}@ayni`, title: `${words.closes}: ${shown.name}`, at: shown.closes, description: shown.code, url: window.location.href }] : [];
    save(calendar(events), "text/calendar;charset=utf-8", `${shown.code}.ics`);
    toast(words.exported);
  }

  const items: MenuItem[] =
    kind === "tender"
      ? [
          { label: "PDF", icon: "document", onSelect: () => void fromBackend("pdf", "pdf") },
          { label: "CSV", icon: "table", onSelect: () => void fromBackend("csv", "csv") },
          { label: "OCDS (JSON)", icon: "table", onSelect: () => void fromBackend("ocds", "json") },
        ]
      : [];
  if (shown.closes) items.push({ label: words.calendar, icon: "calendar", onSelect: () => void ics() });
  return items.length ? <Menu icon="download" items={items} label={words.export} /> : null;
}
