/**
 * A table of any length of which only the rows in sight exist. Sorted by its headers, walked with the arrow keys, opened with
 * Enter. On narrow screens a row is a card: `narrow` of a column says where its cell goes there.
 */

"use client";

import { type KeyboardEvent, type ReactNode, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "react";

import { Icon } from "./icons.tsx";
import { useSettings } from "./settings.tsx";

export interface Column<R> {
  name: string;
  label: string;
  /** What rows are sorted by; rows without it come last. */
  key: (row: R) => string | number | bigint | null | undefined;
  cell: (row: R) => ReactNode;
  /** A width of CSS grid. */
  width: string;
  end?: boolean;
  narrow?: "title" | "left" | "right" | "left-2" | "right-2";
}

export interface Sorting {
  by: string;
  down: boolean;
}

interface GridProps<R> {
  label: string;
  rows: readonly R[];
  columns: readonly Column<R>[];
  id: (row: R) => string;
  sorting: Sorting;
  onSort: (sorting: Sorting) => void;
  onOpen: (row: R) => void;
  /** Hears the ids of the rows in sight, once the scrolling has come to rest. */
  onSight?: (ids: readonly string[]) => void;
  /** The most that it is high. */
  height?: number;
}

/** Pixels of a row: dense for a pointer, larger for fingers, a card on narrow screens. */
const ROW = {
  comfortable: { pointer: 36, touch: 44, card: 80 },
  compact: { pointer: 28, touch: 36, card: 72 },
};
const HEAD = 36;
const OVERSCAN = 8;
const REST_MS = 300;

function useRowHeight(): number {
  const { density } = useSettings();
  const [device, setDevice] = useState<keyof typeof ROW.compact>("pointer");
  useLayoutEffect(() => {
    const [narrow, coarse] = [window.matchMedia("(max-width: 760px)"), window.matchMedia("(pointer: coarse)")];
    const update = () => setDevice(narrow.matches ? "card" : coarse.matches ? "touch" : "pointer");
    update();
    for (const query of [narrow, coarse]) query.addEventListener("change", update);
    return () => {
      for (const query of [narrow, coarse]) query.removeEventListener("change", update);
    };
  }, []);
  return ROW[density][device];
}

const collator = new Intl.Collator("es", { numeric: true, sensitivity: "base" });

/** The rows in order of a column. */
export function sorted<R>(rows: readonly R[], columns: readonly Column<R>[], { by, down }: Sorting): R[] {
  const column = columns.find(({ name }) => name === by);
  if (!column) return [...rows];
  const keyed = rows.map((row) => ({ row, key: column.key(row) }));
  keyed.sort((a, b) => {
    if (a.key == null || b.key == null) return Number(a.key == null) - Number(b.key == null);
    const order = typeof a.key === "string" && typeof b.key === "string" ? collator.compare(a.key, b.key) : a.key < b.key ? -1 : Number(a.key > b.key);
    return down ? -order : order;
  });
  return keyed.map(({ row }) => row);
}

export function Grid<R>(props: GridProps<R>) {
  const { columns, sorting, height = 620 } = props;
  const rowHeight = useRowHeight();
  const [scroll, setScroll] = useState(0);
  // The row's id too: rows change places as more of them is read, and Enter opens the one that was chosen.
  const [active, setActive] = useState<{ index: number; id?: string }>({ index: 0 });
  const box = useRef<HTMLDivElement>(null);
  const id = useId();
  const rows = useMemo(() => sorted(props.rows, columns, sorting), [props.rows, columns, sorting.by, sorting.down]);
  const found = active.id === undefined ? -1 : rows.findIndex((row) => props.id(row) === active.id);
  const at = found >= 0 ? found : Math.min(active.index, Math.max(rows.length - 1, 0));

  const whole = rows.length * rowHeight;
  const shownHeight = Math.min(height, whole + HEAD + 2);
  const first = Math.max(0, Math.floor(scroll / rowHeight) - OVERSCAN);
  const last = Math.min(rows.length, Math.ceil((scroll + shownHeight) / rowHeight) + OVERSCAN);

  const sight = rows.slice(Math.max(0, first + (first ? OVERSCAN : 0)), last - OVERSCAN > first ? last - OVERSCAN : last).map(props.id).join(" ");
  const tell = useRef(props.onSight);
  tell.current = props.onSight;
  useEffect(() => {
    const timer = setTimeout(() => tell.current?.(sight.split(" ").filter(Boolean)), REST_MS);
    return () => clearTimeout(timer);
  }, [sight]);

  useEffect(() => {
    const element = box.current;
    if (element && element.scrollTop > whole) element.scrollTop = 0;
  }, [whole]);

  function activate(index: number) {
    const row = rows[index];
    setActive(row === undefined ? { index } : { index, id: props.id(row) });
  }

  function show(index: number) {
    const next = Math.max(0, Math.min(rows.length - 1, index));
    activate(next);
    const element = box.current;
    if (!element) return;
    const [top, bottom] = [next * rowHeight, (next + 1) * rowHeight];
    const room = element.clientHeight - HEAD;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (bottom > element.scrollTop + room) element.scrollTop = bottom - room;
    setScroll(element.scrollTop);
  }

  function onKey(event: KeyboardEvent) {
    if (event.target !== box.current) return;
    const page = Math.max(1, Math.floor((shownHeight - HEAD) / rowHeight) - 1);
    const steps: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.length };
    const row = rows[at];
    if (event.key in steps) show(steps[event.key] ?? 0);
    else if (event.key === "Enter" && row) props.onOpen(row);
    else return;
    event.preventDefault();
  }

  return (
    <div
      aria-activedescendant={rows.length ? `${id}-${at}` : undefined}
      aria-colcount={columns.length}
      aria-label={props.label}
      aria-rowcount={rows.length + 1}
      className="grid"
      onKeyDown={onKey}
      onScroll={(event) => setScroll(event.currentTarget.scrollTop)}
      ref={box}
      role="grid"
      style={{ height: shownHeight, "--template": columns.map(({ width }) => width).join(" ") } as React.CSSProperties}
      tabIndex={0}
    >
      <div className="grid-head" role="row">
        {columns.map((column) => (
          <Header column={column} key={column.name} onSort={props.onSort} sorting={sorting} />
        ))}
      </div>
      <div role="rowgroup" style={{ height: whole, position: "relative" }}>
        {rows.slice(first, last).map((row, offset) => {
          const index = first + offset;
          return (
            <div
              aria-rowindex={index + 2}
              className="grid-row"
              data-active={index === at ? "" : undefined}
              id={`${id}-${index}`}
              key={props.id(row)}
              onClick={(event) => {
                activate(index);
                if (!(event.target as Element).closest("a") && !window.getSelection()?.toString()) props.onOpen(row);
              }}
              role="row"
              // By a transform, because a row that moves while details arrive is no layout shift then.
              style={{ height: rowHeight, transform: `translateY(${index * rowHeight}px)` }}
            >
              {columns.map((column) => (
                <div className={column.end ? "end" : undefined} data-narrow={column.narrow} key={column.name} onPointerEnter={titleIfTruncated} role="gridcell">
                  {column.cell(row)}
                </div>
              ))}
            </div>
          );
        })}
      </div>
    </div>
  );
}

/** A tooltip with the whole text of a truncated cell. */
function titleIfTruncated({ currentTarget: cell }: { currentTarget: HTMLElement }) {
  cell.title = cell.scrollWidth > cell.clientWidth ? cell.innerText : "";
}

function Header<R>({ column, sorting, onSort }: { column: Column<R>; sorting: Sorting; onSort: (sorting: Sorting) => void }) {
  const mine = sorting.by === column.name;
  return (
    <div aria-sort={mine ? (sorting.down ? "descending" : "ascending") : "none"} className={column.end ? "end" : undefined} role="columnheader">
      <button onClick={() => onSort({ by: column.name, down: mine && !sorting.down })} type="button">
        {column.label}
        {mine ? <Icon name={sorting.down ? "down" : "up"} size={12} /> : null}
      </button>
    </div>
  );
}
