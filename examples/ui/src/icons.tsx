/** Icons: drawn here on a grid of 16, one stroke of 1.5, so that they look alike. */

import type { ReactNode } from "react";

const PATHS = {
  activity: <path d="M1.5 8.5h3l2-5.5 3 10 2-4.5h3" />,
  arrow_left: <path d="M13 8H3m4-4L3 8l4 4" />,
  arrow_right: <path d="M3 8h10M9 4l4 4-4 4" />,
  bell: <path d="M4 7a4 4 0 0 1 8 0c0 3 1.2 4 1.2 4H2.8S4 10 4 7Zm2.5 6.5h3" />,
  bookmark: <path d="M4 2.5h8v11L8 10.5l-4 3z" />,
  calendar: <path d="M2.5 4h11v9.5h-11zm0 3.5h11M5.5 2v3m5-3v3" />,
  check: <path d="m3 8.5 3.2 3.2L13 4.8" />,
  clock: <path d="M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2Zm0 2.8V8l2.3 1.6" />,
  close: <path d="m4 4 8 8m0-8-8 8" />,
  document: <path d="M4 1.8h5L12.2 5v9.2H4zM9 1.8V5h3.2M6 8.2h4M6 10.8h4" />,
  download: <path d="M8 2.5v8m-3.2-3L8 10.7l3.2-3.2M2.8 13.3h10.4" />,
  filter: <path d="M2.5 4h11M4.5 8h7M6.5 12h3" />,
  down: <path d="M8 3v10m-3.5-3.5L8 13l3.5-3.5" />,
  up: <path d="M8 13V3M4.5 6.5 8 3l3.5 3.5" />,
  empty: <path d="M2 9.5 4 3h8l2 6.5v3.8H2zm0 0h3.5l1 2h3l1-2H14" />,
  external: <path d="M6.5 3.5h-3v9h9v-3M9.5 2.5h4v4M13.2 2.8 7.5 8.5" />,
  globe: <path d="M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2ZM2.2 8h11.6M8 2c-4.4 4.2-4.4 7.8 0 12 4.4-4.2 4.4-7.8 0-12Z" />,
  image: <path d="M2.5 3h11v10h-11zm0 8 3-3.5 2.5 2.5 2.5-3 3 3.5M5.5 5.5v.3" />,
  key: <path d="M10.5 2.5a3 3 0 1 1-2.6 4.6L3 12v1.5h2V12h1.5v-1.5" />,
  link: <path d="M6.7 9.3a2.6 2.6 0 0 0 3.7 0l2.2-2.2a2.6 2.6 0 0 0-3.7-3.7l-.9.9m1.3 2.4a2.6 2.6 0 0 0-3.7 0L3.4 8.9a2.6 2.6 0 0 0 3.7 3.7l.9-.9" />,
  moon: <path d="M13.2 9.7A5.8 5.8 0 0 1 6.3 2.8a5.8 5.8 0 1 0 6.9 6.9Z" />,
  pause: <path d="M5.5 3.5v9m5-9v9" />,
  play: <path d="M5 3v10l8-5z" />,
  refresh: <path d="M13.3 7.2A5.4 5.4 0 0 0 3.6 4.9L2.5 6.2m0-3.4v3.4h3.4M2.7 8.8a5.4 5.4 0 0 0 9.7 2.3l1.1-1.3m0 3.4V9.8h-3.4" />,
  rows: <path d="M2.5 3.5h11m-11 3h11m-11 3h11m-11 3h11" />,
  search: <path d="M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9Zm3.3 7.8 3.2 3.2" />,
  sleep: <path d="M9.5 2h4l-4 5h4M3 7h5l-5 6.5h5" />,
  spark: <path d="M8 1.8 9.4 6.6 14.2 8 9.4 9.4 8 14.2 6.6 9.4 1.8 8l4.8-1.4z" />,
  stop: <path d="M4.5 4.5h7v7h-7z" />,
  sun: <path d="M8 5.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6ZM8 1.2v1.4m0 10.8v1.4M1.2 8h1.4m10.8 0h1.4M3.2 3.2l1 1m7.6 7.6 1 1m0-9.6-1 1m-7.6 7.6-1 1" />,
  table: <path d="M2.5 3h11v10h-11zm0 3.3h11m-11 3.4h11M6.5 6.3V13" />,
  upload: <path d="M8 10.5v-8M4.8 5.7 8 2.5l3.2 3.2M2.8 13.3h10.4" />,
  warning: <path d="M8 2.2 14.4 13.5H1.6zM8 6.5v3.2m0 1.8v.3" />,
} satisfies Record<string, ReactNode>;

export type IconName = keyof typeof PATHS;

/** An icon beside words that say the same; never alone. */
export function Icon({ name, size = 16, spinning = false }: { name: IconName; size?: number; spinning?: boolean }) {
  return (
    <svg
      aria-hidden="true"
      className={spinning ? "spinning" : undefined}
      fill="none"
      height={size}
      stroke="currentColor"
      strokeLinecap="round"
      strokeLinejoin="round"
      strokeWidth={size > 20 ? 1.1 : 1.5}
      viewBox="0 0 16 16"
      width={size}
    >
      {PATHS[name]}
    </svg>
  );
}

/** The mark: two steps of an Andean cross that hold each other. */
export function Mark({ size = 22 }: { size?: number }) {
  return (
    <svg aria-hidden="true" height={size} viewBox="0 0 24 24" width={size}>
      <path d="M3 3h6v6h6v6h-4v-2H7V9H3z" fill="currentColor" />
      <path d="M21 21h-6v-3h-5v-2h8v-4h-2V7h-5V3h6v6h4z" fill="currentColor" opacity=".55" />
    </svg>
  );
}
