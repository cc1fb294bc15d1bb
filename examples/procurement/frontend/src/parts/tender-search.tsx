/** Tender Search: tenders and Compra Ágil in one list, with deadlines, saved searches and what is new in them. */

"use client";

import {
  Badge, Button, type Column, count, DensityButton, Field, Filters, Grid, money, SearchField, Segments, Select, Skeleton, State, time, toUnits, useNow,
  useQuery, useSettings, useToast, useView,
} from "ayni-ui";
import type { records } from "ayni";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useDeferredValue, useEffect, useMemo, useState } from "react";

import { useApi } from "../lib/api.tsx";
import { useDetails } from "../lib/details.ts";
import { type Opportunity, pageOf } from "../lib/records.ts";
import { useSaved } from "../lib/saved.ts";
import { askedOf, matches, opportunities, SEARCH, search } from "../lib/search.ts";
import { REGIONS, useWords } from "../lib/words.ts";
import { ExportMenu } from "./export.tsx";
import { Problem, ProblemNotice } from "./problem.tsx";
import { SavedSearches } from "./saved-searches.tsx";
import { Share } from "./share.tsx";
import { StateBadge } from "./state-badge.tsx";
import { DEADLINES_MS, TimeLeft } from "./time-left.tsx";

/** How many tenders' details are read without being asked. */
const READ_AT_ONCE = 30;
const TYPING_MS = 350;

/** The value once it has not changed for a while. */
function useSettled<T>(value: T): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), TYPING_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

export function TenderSearch() {
  const words = useWords();
  const { language } = useSettings();
  const { client } = useApi();
  const router = useRouter();
  const toast = useToast();
  const now = useNow(DEADLINES_MS);
  const [view, setView] = useView(SEARCH);
  const asked = useSettled(askedOf(view));
  const found = useQuery(client && `search ${asked}`, (signal) => search(client!, view, signal));
  const tenders = useDetails<records.Tender>("tender");
  const quick = useDetails<records.QuickPurchase>("quick");
  const saved = useSaved();
  const [sight, setSight] = useState<readonly string[]>([]);
  const query = useDeferredValue(new URLSearchParams(Object.entries(view).filter(([name, value]) => value !== SEARCH[name as keyof typeof SEARCH])).toString());

  useEffect(() => {
    if (!found.data) return;
    const codes = (found.data.tenders?.rows ?? []).map(({ code }) => code);
    const known = new Set(codes);
    tenders.start([...sight.filter((code) => known.has(code)), ...codes.slice(0, READ_AT_ONCE)]);
  }, [found.data, sight, tenders.start]);
  useEffect(() => {
    // The categories of quick purchases are in their details; they are read only where one is asked for.
    if (found.data && view.category) quick.start((found.data.quick?.rows ?? []).slice(0, READ_AT_ONCE).map(({ code }) => code));
  }, [found.data, view.category, quick.start]);

  const all = useMemo(() => (found.data ? opportunities(found.data, tenders.of, quick.of) : []), [found.data, tenders.of, quick.of, tenders.version, quick.version]);
  const shown = useMemo(() => all.filter(matches(view, now)), [all, view, now]);
  const columns = useColumns(now);
  const fresh = useFresh(saved.searches.find((one) => one.query === query)?.seen, shown);
  const partial = found.data?.tenders?.next_cursor || found.data?.quick?.next_cursor;

  return (
    <>
      <div className="page-head">
        <div>
          <h1>{words.searchTitle}</h1>
          <p>{words.searchText}</p>
        </div>
        <div className="row page-actions">
          <Button
            icon="bookmark"
            onClick={() => {
              const name = window.prompt(words.nameOf, view.q || words.searchTitle);
              if (!name?.trim()) return;
              saved.save(name.trim(), query, shown.map(({ code }) => code));
              toast(words.searchSaved);
            }}
          >
            {words.saveSearch}
          </Button>
          <DensityButton />
          <Share />
          <ExportMenu {...exported(shown, words, language)} />
        </div>
      </div>
      {found.error && found.data ? <ProblemNotice again={found.again} error={found.error} /> : null}
      {found.data?.problem ? <ProblemNotice again={found.again} error={found.data.problem} /> : null}
      {[tenders, quick].map(({ again, error }, index) => (error && !found.error ? <ProblemNotice again={again} error={error} key={index} /> : null))}
      <SavedSearches
        active={query}
        onOpen={(one) => {
          setView({ ...SEARCH, ...Object.fromEntries(new URLSearchParams(one.query)) });
        }}
        saved={saved}
      />
      <section aria-label={words.results} className="panel">
        <SearchFilters all={all} setView={setView} view={view} />
        {found.data ? (
          <>
            {fresh ? (
              <p className="panel-head">
                <Badge tone="accent">
                  {count(language, fresh)} {words.new}
                </Badge>
                <Button icon="check" look="quiet" onClick={() => saved.look(query, shown.map(({ code }) => code))}>
                  OK
                </Button>
              </p>
            ) : null}
            {shown.length ? (
              <Grid
                columns={columns}
                id={({ code }) => code}
                label={words.results}
                onOpen={({ kind, code }) => router.push(pageOf(kind, code))}
                onSight={setSight}
                onSort={({ by, down }) => setView({ sort: by, down: down ? "1" : "" }, "replace")}
                rows={shown}
                sorting={{ by: view.sort, down: view.down !== "" }}
              />
            ) : (
              <State actions={<Button onClick={() => setView(SEARCH)}>{words.clear}</Button>} icon="search" title={words.emptySearch}>
                {words.emptySearchText}
              </State>
            )}
            <p className="panel-head muted">
              <span aria-live="polite">
                {count(language, shown.length)} {words.results}
                {partial ? ` · ${words.moreText}` : ""}
              </span>
              <span className="hint">{words.shortcuts}</span>
            </p>
          </>
        ) : found.error ? (
          <Problem again={found.again} error={found.error} />
        ) : (
          <Skeleton label={words.loading} rows={10} />
        )}
      </section>
    </>
  );
}

/** How many of the rows a saved search has not seen. */
function useFresh(seen: readonly string[] | undefined, shown: readonly Opportunity[]): number {
  return useMemo(() => {
    if (!seen) return 0;
    const known = new Set(seen);
    return shown.filter(({ code }) => !known.has(code)).length;
  }, [seen, shown]);
}

function useColumns(now: number): Column<Opportunity>[] {
  const words = useWords();
  const { language } = useSettings();
  return useMemo(
    () => [
      { name: "name", label: words.title, width: "minmax(220px, 2.4fr)", key: (one) => one.name, narrow: "title", cell: (one) => <Link href={pageOf(one.kind, one.code)} prefetch={false} tabIndex={-1}>{one.name}</Link> },
      { name: "code", label: words.code, width: "140px", key: (one) => one.code, cell: (one) => <span className="mono muted">{one.code}</span> },
      { name: "kind", label: words.kind, width: "108px", key: (one) => words[one.kind], narrow: "left-2", cell: (one) => words[one.kind] },
      { name: "state", label: words.state, width: "116px", key: (one) => one.state, cell: (one) => <StateBadge state={one.state} /> },
      { name: "buyer", label: words.buyer, width: "minmax(130px, 1.3fr)", key: (one) => one.buyer, narrow: "left", cell: (one) => one.buyer ?? <span className="muted">–</span> },
      { name: "region", label: words.region, width: "minmax(90px, 0.7fr)", key: (one) => one.region, cell: (one) => one.region ?? <span className="muted">–</span> },
      { name: "amount", label: words.amount, width: "118px", end: true, narrow: "right", key: (one) => (one.amount?.currency === "CLP" ? toUnits(one.amount.amount) : undefined), cell: (one) => (one.amount ? money(language, one.amount) : <span className="muted">–</span>) },
      { name: "closes", label: words.left, width: "112px", end: true, narrow: "right-2", key: (one) => (one.closes && new Date(one.closes).getTime() >= now ? one.closes : undefined), cell: (one) => <TimeLeft until={one.closes} /> },
    ],
    [words, language, now],
  );
}

type SetView = (change: Partial<typeof SEARCH>, how?: "push" | "replace") => void;

function SearchFilters({ view, setView, all }: { view: typeof SEARCH; setView: SetView; all: readonly Opportunity[] }) {
  const words = useWords();
  const amount = (name: "min" | "max", label: string) => (
    <Field label={label}>
      <input className="input number" inputMode="numeric" onChange={(event) => setView({ [name]: event.target.value.replace(/[^\d]/g, "") }, "replace")} placeholder="CLP" value={view[name]} />
    </Field>
  );
  const categories = [...new Set([...all.flatMap((one) => one.categories), ...(view.category ? [view.category] : [])])].sort((a, b) => a.localeCompare(b));
  const set = [view.region, view.category, view.min, view.max, view.within].filter(Boolean).length;
  return (
    <>
      <div className="panel-head" style={{ paddingTop: 12 }}>
        <Segments
          choices={[{ value: "", label: words.both }, { value: "tender", label: words.tenders }, { value: "quick", label: words.quick }]}
          label={words.kind}
          onChange={(kind) => setView({ kind })}
          value={view.kind}
        />
      </div>
      <Filters first={<SearchField label={words.words} onChange={(q) => setView({ q }, "replace")} placeholder={words.words} value={view.q} />} label={words.filters} set={set}>
        <Select choices={[{ value: "", label: words.allRegions }, ...REGIONS.map(([value, label]) => ({ value, label }))]} label={words.region} onChange={(region) => setView({ region })} value={view.region} />
        <Select choices={[{ value: "", label: words.allRegions }, ...categories.map((value) => ({ value, label: value }))]} label={words.category} onChange={(category) => setView({ category })} value={view.category} />
        {amount("min", words.minAmount)}
        {amount("max", words.maxAmount)}
        <Select
          choices={[{ value: "", label: words.anyTime }, { value: "1", label: words.day1 }, { value: "3", label: words.day3 }, { value: "7", label: words.day7 }, { value: "30", label: words.day30 }]}
          label={words.closing}
          onChange={(within) => setView({ within })}
          value={view.within}
        />
      </Filters>
    </>
  );
}

function exported(shown: readonly Opportunity[], words: ReturnType<typeof useWords>, language: "es" | "en") {
  const head = [words.code, words.title, words.kind, words.state, words.buyer, words.region, words.amount, words.currency, words.closes];
  const rows = () => shown.map((one) => [one.code, one.name, words[one.kind], one.state, one.buyer, one.region, one.amount ? { decimal: one.amount.amount } : null, one.amount?.currency, one.closes?.slice(0, 16)]);
  const events = () =>
    shown.flatMap((one) => (one.closes ? [{ id: `${one.code}@ayni`, title: `${words.closes}: ${one.name}`, at: one.closes, description: one.code, url: new URL(pageOf(one.kind, one.code), window.location.href).href }] : []));
  const footer = time(language, new Date().toISOString());
  return { name: "oportunidades", title: words.searchTitle, sheet: () => ({ name: words.searchTitle, head, rows: rows() }), widths: [3.4, 4.6, 2.4, 2.6, 4, 2.6, 2.6, 1.8, 2.8], ends: [6], footer, events };
}
