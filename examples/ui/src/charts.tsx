/** Charts as plain HTML and SVG. Each stands beside a table with the same numbers, which is what screen readers get. */

"use client";

import { type ReactNode, useId, useRef } from "react";

export interface Datum {
  label: string;
  value: number;
  /** The value as people read it. */
  shown: string;
}

/** Pixels from one bar to the next. */
export const BAR = 40;

/**
 * The largest values as bars, each with its label above; the height is reserved for all of them. Their DOM order is by label and
 * a transform puts them in order of value, so that a bar that overtakes another causes no layout shift.
 */
export function Bars({ data, most = 8 }: { data: readonly Datum[]; most?: number }) {
  const top = data.slice(0, most).map((datum, rank) => ({ ...datum, rank }));
  const largest = Math.max(...top.map(({ value }) => value), 0) || 1;
  top.sort((a, b) => (a.label < b.label ? -1 : 1));
  return (
    <ol aria-hidden="true" className="bars" style={{ height: most * BAR }}>
      {top.map(({ label, value, shown, rank }) => (
        <li key={label} style={{ transform: `translateY(${rank * BAR}px)` }} title={`${label}: ${shown}`}>
          <span className="bar-label">{label}</span>
          <span className="number muted">{shown}</span>
          <span className="bar">
            <i style={{ width: `${(Math.max(value, 0) / largest) * 100}%` }} />
          </span>
        </li>
      ))}
    </ol>
  );
}

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [560, 240, 60, 24, 12];

/** A round number at or above the largest value. */
export function axisTop(largest: number): number {
  if (!(largest > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(largest));
  return ([1, 2, 2.5, 5, 10].find((step) => step * power >= largest) ?? 10) * power;
}

/** Values over time as columns. */
export function Columns({ data, axis }: { data: readonly Datum[]; axis: (value: number) => string }) {
  const top = axisTop(Math.max(...data.map(({ value }) => value), 0));
  const step = (WIDTH - LEFT) / Math.max(data.length, 1);
  const width = Math.min(step * 0.7, 48);
  const y = (value: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const every = Math.ceil(data.length / 8);
  return (
    <svg aria-hidden="true" className="plot" viewBox={`0 0 ${WIDTH} ${HEIGHT}`}>
      {[0, 0.5, 1].map((share) => (
        <g key={share}>
          <line x1={LEFT} x2={WIDTH} y1={y(top * share)} y2={y(top * share)} />
          <text textAnchor="end" x={LEFT - 6} y={y(top * share) + 4}>
            {axis(top * share)}
          </text>
        </g>
      ))}
      {data.map(({ label, value, shown }, index) => {
        const x = LEFT + step * index + (step - width) / 2;
        return (
          <g key={label}>
            <rect height={Math.max(y(0) - y(value), value > 0 ? 1 : 0)} rx="2" width={width} x={x} y={y(value)}>
              <title>{`${label}: ${shown}`}</title>
            </rect>
            {index % every ? null : (
              <text textAnchor="middle" x={x + width / 2} y={HEIGHT - 6}>
                {label}
              </text>
            )}
          </g>
        );
      })}
    </svg>
  );
}

interface DataRow {
  label: string;
  middle: string;
  shown: string;
  action?: ReactNode;
}

/** The rows in DOM order, each with its rank. While values change, earlier rows keep their DOM order and new ones are appended. */
function useStableOrder(rows: readonly DataRow[], changing: boolean): { row: DataRow; rank: number }[] {
  const before = useRef<readonly string[]>([]);
  const ranked = new Map(rows.map((row, rank) => [row.label, { row, rank }]));
  const order = new Set(changing ? [...before.current.filter((label) => ranked.has(label)), ...ranked.keys()] : ranked.keys());
  before.current = [...order];
  return before.current.flatMap((label) => ranked.get(label) ?? []);
}

/**
 * The table beside a chart; all rows have one height. While `changing`, a transform puts rows in order, as it does bars; then the
 * DOM order follows, for the keyboard and screen readers.
 */
export function DataTable(props: { caption: string; head: readonly [string, string, string]; rows: readonly DataRow[]; changing?: boolean }) {
  const rows = useStableOrder(props.rows, props.changing ?? false);
  return (
    // Reached with Tab, because it may have to be scrolled.
    <div aria-label={props.caption} className="scroll-y" role="region" tabIndex={0}>
      <table className="plain-table line-table" data-changing={props.changing ? "" : undefined}>
        <caption className="hidden-label">{props.caption}</caption>
        <thead>
          <tr>
            <th scope="col">{props.head[0]}</th>
            <th className="end" scope="col">
              {props.head[1]}
            </th>
            <th className="end" scope="col">
              {props.head[2]}
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ row, rank }, index) => (
            <tr key={row.label} style={rank === index ? undefined : { transform: `translateY(calc(${rank - index} * var(--table-row)))` }}>
              <td title={row.label}>{row.action ?? row.label}</td>
              <td className="end">{row.middle}</td>
              <td className="end">{row.shown}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** How much of something is used. */
export function Meter({ label, value, max, tone }: { label: string; value: number; max: number; tone?: "warn" | "danger" | undefined }) {
  const id = useId();
  const share = max > 0 ? Math.min(Math.max(value / max, 0), 1) : 0;
  return (
    <span aria-label={label} aria-valuemax={max} aria-valuemin={0} aria-valuenow={Math.min(value, max)} className="meter" data-tone={tone} id={id} role="meter">
      <i style={{ width: `${share * 100}%` }} />
    </span>
  );
}
