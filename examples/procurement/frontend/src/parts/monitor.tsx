/** Market Monitor: live orders, their sums, and the price of reading more of them. */

"use client";

import {
  Button, Check, type Column, count, DensityButton, Field, Filters, folded, fromUnits, Grid, money, Notice, santiagoDay, SearchField, Select, Skeleton, State,
  time, toUnits, useQuery, useSettings, useView,
} from "ayni-ui";
import type { records } from "ayni";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { type ReactNode, useEffect, useMemo, useState } from "react";

import { useApi } from "../lib/api.tsx";
import { useDetails } from "../lib/details.ts";
import { buyerOf, type Listing, type OrderLine, pageOf, regionOf, sentOf, supplierOf, totalOf } from "../lib/records.ts";
import { useWords } from "../lib/words.ts";
import { ExportMenu } from "./export.tsx";
import { Problem, ProblemNotice } from "./problem.tsx";
import { Share } from "./share.tsx";
import { StateBadge, useStateName } from "./state-badge.tsx";
import { Sums } from "./sums.tsx";

const DEFAULTS = { from: "", to: "", q: "", state: "", region: "", buyer: "", by: "buyer", sort: "sent", down: "1", live: "" };
const REFRESH_MS = 60_000;
/** How many details are read without being asked: each is a request of the day's quota. */
const READ_AT_ONCE = 40;

export function Monitor() {
  const words = useWords();
  const { language } = useSettings();
  const { client } = useApi();
  const router = useRouter();
  const [view, setView] = useView(DEFAULTS);
  const [from, to] = [view.from || santiagoDay(), view.to || view.from || santiagoDay()];
  const list = useQuery(
    client && `orders ${from} ${to}`,
    (signal) => client!.get<Listing<records.PurchaseOrderRow>>("/api/purchase-orders", { from, to }, { signal }),
    view.live ? REFRESH_MS : 0,
  );
  const details = useDetails<records.PurchaseOrder>("order");
  const rows = list.data?.rows;

  const [sight, setSight] = useState<readonly string[]>([]);
  const [all, setAll] = useState(false);

  useEffect(() => {
    if (!rows) return;
    const codes = rows.map(({ code }) => code);
    details.start(all ? codes : [...sight, ...codes.slice(0, READ_AT_ONCE)]);
  }, [rows, sight, all, details.start]);
  const readAll = () => {
    setAll(true);
    // Also after a failure, when all had been wanted before.
    details.start((rows ?? []).map(({ code }) => code));
  };
  const stop = () => {
    setAll(false);
    details.stop();
  };

  // `version` says that more details were read.
  const orders = useMemo(() => (rows ?? []).map(({ code, name, state }): OrderLine => ({ code, name: name.trim(), state, detail: details.of(code) })), [rows, details.version, details.of]);
  const shown = useMemo(() => orders.filter(matcher(view)), [orders, view]);
  const columns = useColumns();
  const read = orders.filter(({ detail }) => detail).length;
  const unreadable = orders.filter(({ code }) => details.isUnreadable(code)).length;
  // Nothing is read yet, and nothing says that it will not be.
  const isFirst = !list.error && !details.error && (rows === undefined || (rows.length > 0 && read + unreadable === 0));

  return (
    <>
      <div className="page-head">
        <div>
          <h1>{words.monitorTitle}</h1>
          <p>{words.monitorText}</p>
        </div>
        <div className="row page-actions">
          <Check checked={view.live !== ""} label={words.autoRefresh} onChange={(live) => setView({ live: live ? "1" : "" }, "replace")} />
          <DensityButton />
          <Button busy={list.loading && list.data !== undefined} icon="refresh" onClick={list.again}>
            {words.refresh}
          </Button>
          <Share pin={{ from, to }} />
          <ExportMenu {...exported(shown, { words, language, title: `${words.monitorTitle}, ${from} – ${to}`, asOf: list.data })} />
        </div>
      </div>
      {list.error && list.data ? <ProblemNotice again={list.again} error={list.error} /> : null}
      {details.error && !list.error ? <ProblemNotice again={details.again} error={details.error} /> : null}
      {list.data?.stale ? <Notice icon="clock" tone="warn">{words.stale}</Notice> : null}
      <Tiles all={all} orders={orders} read={read} reading={details.reading} readAll={readAll} shown={shown} stop={stop} unreadable={unreadable} />
      <Sums by={view.by} onBy={(by) => setView({ by }, "replace")} onChoose={(change) => setView(change)} orders={shown} reading={details.reading || isFirst} />
      <section aria-label={words.orders} className="panel">
        <OrderFilters from={from} orders={orders} setView={setView} to={to} view={view} />
        {list.data ? (
          <>
            {shown.length ? (
              <Grid
                columns={columns}
                id={({ code }) => code}
                label={words.orders}
                onOpen={({ code }) => router.push(pageOf("order", code))}
                onSight={setSight}
                onSort={({ by, down }) => setView({ sort: by, down: down ? "1" : "" }, "replace")}
                rows={shown}
                sorting={{ by: view.sort, down: view.down !== "" }}
              />
            ) : orders.length ? (
              <State actions={<Button onClick={() => setView({ q: "", state: "", region: "", buyer: "" })}>{words.clear}</Button>} icon="search" title={words.emptyFilter}>
                {words.emptyFilterText}
              </State>
            ) : (
              <State icon="empty" title={words.emptyOrders}>
                {words.emptyOrdersText}
              </State>
            )}
            <p className="panel-head muted">
              <span>
                {count(language, shown.length)} {words.of} {count(language, orders.length)} · {words.source} {list.data.source} · {words.asOf} {time(language, list.data.as_of, "time")}
              </span>
              <span className="hint">{words.shortcuts}</span>
            </p>
          </>
        ) : list.error ? (
          <Problem again={list.again} error={list.error} />
        ) : (
          <Skeleton label={words.loading} rows={10} />
        )}
      </section>
    </>
  );
}

type View = typeof DEFAULTS;

function matcher(view: View): (order: OrderLine) => boolean {
  const wanted = folded(view.q).split(/\s+/).filter(Boolean);
  return (order) => {
    if (view.state && order.state !== view.state) return false;
    if (view.region && regionOf(order) !== view.region) return false;
    if (view.buyer && buyerOf(order) !== view.buyer) return false;
    if (wanted.length === 0) return true;
    const text = folded([order.code, order.name, buyerOf(order), supplierOf(order), regionOf(order)].join(" "));
    return wanted.every((word) => text.includes(word));
  };
}

function useColumns(): Column<OrderLine>[] {
  const words = useWords();
  const { language } = useSettings();
  const name = useStateName();
  return useMemo(
    () => [
      { name: "name", label: words.title, width: "minmax(220px, 2.2fr)", key: (order) => order.name, narrow: "title", cell: (order) => <Link href={pageOf("order", order.code)} prefetch={false} tabIndex={-1}>{order.name}</Link> },
      { name: "code", label: words.code, width: "132px", key: (order) => order.code, narrow: "left-2", cell: (order) => <span className="mono muted">{order.code}</span> },
      { name: "state", label: words.state, width: "148px", key: (order) => name(order.state), narrow: "right-2", cell: (order) => <StateBadge state={order.state} /> },
      { name: "buyer", label: words.buyer, width: "minmax(140px, 1.3fr)", key: buyerOf, narrow: "left", cell: (order) => buyerOf(order) ?? <span className="muted">–</span> },
      { name: "region", label: words.region, width: "minmax(90px, 0.7fr)", key: regionOf, cell: (order) => regionOf(order) ?? <span className="muted">–</span> },
      { name: "supplier", label: words.supplier, width: "minmax(130px, 1.1fr)", key: supplierOf, cell: (order) => supplierOf(order) ?? <span className="muted">–</span> },
      { name: "sent", label: words.sent, width: "86px", key: sentOf, cell: (order) => (sentOf(order) ? <span className="number">{time(language, sentOf(order) ?? "", "short")} {time(language, sentOf(order) ?? "", "time")}</span> : <span className="muted">–</span>) },
      {
        name: "total", label: words.total, width: "118px", end: true, narrow: "right",
        key: (order) => (totalOf(order)?.currency === "CLP" ? toUnits(totalOf(order)?.amount ?? "") : undefined),
        cell: (order) => (totalOf(order) ? money(language, totalOf(order)!) : <span className="muted">–</span>),
      },
    ],
    [words, language, name],
  );
}

function OrderFilters(props: { view: View; setView: (change: Partial<View>, how?: "push" | "replace") => void; orders: readonly OrderLine[]; from: string; to: string }) {
  const { view, setView, orders } = props;
  const words = useWords();
  const name = useStateName();
  const choices = (of: (order: OrderLine) => string | undefined, all: string, label = (value: string) => value, chosen = "") => {
    const found = new Set(orders.flatMap((order) => of(order) ?? []));
    if (chosen) found.add(chosen);
    return [{ value: "", label: all }, ...[...found].sort((a, b) => label(a).localeCompare(label(b))).map((value) => ({ value, label: label(value) }))];
  };
  const day = (label: string, value: string, change: (value: string) => Partial<View>) => (
    <Field label={label}>
      <input className="input" max={santiagoDay()} onChange={(event) => event.target.value && setView(change(event.target.value))} type="date" value={value} />
    </Field>
  );
  const search = <SearchField label={words.filterRows} onChange={(q) => setView({ q }, "replace")} placeholder={words.filterRows} value={view.q} />;
  const set = [view.from, view.to, view.state, view.region, view.buyer].filter(Boolean).length;
  return (
    <Filters first={search} label={words.filters} set={set}>
      {day(words.from, props.from, (from) => ({ from, to: props.to < from ? from : props.to }))}
      {day(words.to, props.to, (to) => ({ to, from: props.from > to ? to : props.from }))}
      <Select choices={choices((order) => order.state, words.all, name, view.state)} label={words.state} onChange={(state) => setView({ state })} value={view.state} />
      <Select choices={choices(regionOf, words.allRegions, undefined, view.region)} label={words.region} onChange={(region) => setView({ region })} value={view.region} />
      <Select choices={choices(buyerOf, words.all, undefined, view.buyer)} label={words.buyer} onChange={(buyer) => setView({ buyer })} value={view.buyer} />
    </Filters>
  );
}

function Tiles(props: { all: boolean; orders: readonly OrderLine[]; shown: readonly OrderLine[]; read: number; reading: boolean; readAll: () => void; stop: () => void; unreadable: number }) {
  const words = useWords();
  const { language } = useSettings();
  let pesos = 0n;
  let elsewhere = 0;
  for (const order of props.shown) {
    const total = totalOf(order);
    if (total?.currency === "CLP") pesos += toUnits(total.amount) ?? 0n;
    else if (total) elsewhere += 1;
  }
  const left = props.orders.length - props.read - props.unreadable;
  const buyers = new Set(props.shown.flatMap((order) => buyerOf(order) ?? [])).size;
  const tiles: [string, string, ReactNode][] = [
    [words.orders, count(language, props.shown.length), props.shown.length < props.orders.length ? `${words.of} ${count(language, props.orders.length)}` : " "],
    [words.amountRead, money(language, { amount: fromUnits(pesos), currency: "CLP" }), elsewhere ? `+ ${elsewhere} ${words.otherCurrencies}` : " "],
    [words.buyers, count(language, buyers), " "],
  ];
  return (
    <dl className="tiles">
      {tiles.map(([label, value, more]) => (
        <div className="tile" key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
          <dd className="more">{more}</dd>
        </div>
      ))}
      <div className="tile">
        <dt>{props.reading ? words.reading : words.read}</dt>
        <dd>
          {count(language, props.read)} / {count(language, props.orders.length)}
        </dd>
        <dd className="more">
          {/* What is read without being asked shows no button to stop it: it would come under a pointer that goes for this one. */}
          {props.reading && props.all ? (
            <Button icon="stop" look="quiet" onClick={props.stop}>
              {words.stop}
            </Button>
          ) : left > 0 ? (
            <Button icon="download" look="quiet" onClick={props.readAll} title={`${left} ${words.readCost}`}>
              {words.readAll} ({count(language, left)})
            </Button>
          ) : (
            props.unreadable > 0 ? `${count(language, props.unreadable)} ${words.unreadable}` : " "
          )}
        </dd>
      </div>
    </dl>
  );
}

function exported(orders: readonly OrderLine[], about: { words: ReturnType<typeof useWords>; language: "es" | "en"; title: string; asOf: Listing<unknown> | undefined }) {
  const { words, language, title } = about;
  const head = [words.code, words.title, words.state, words.buyer, words.region, words.supplier, words.sent, words.total, words.currency];
  const footer = about.asOf ? `${words.source} ${about.asOf.source} · ${words.asOf} ${time(language, about.asOf.as_of)}` : "";
  const rows = () =>
    orders.map((order) => {
      const total = totalOf(order);
      return [order.code, order.name, order.state, buyerOf(order), regionOf(order), supplierOf(order), sentOf(order)?.slice(0, 16), total ? { decimal: total.amount } : null, total?.currency];
    });
  const sheet = () => ({ name: words.orders, head, rows: rows() });
  return { name: "ordenes", title, sheet, widths: [3.4, 4.6, 2.6, 4, 2.6, 4, 2.8, 2.6, 1.8], ends: [7], footer };
}
