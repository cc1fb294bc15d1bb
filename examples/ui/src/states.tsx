/** What a place shows when it has no data: loading, empty, failed. */

"use client";

import type { ReactNode } from "react";

import { Icon, type IconName } from "./icons.tsx";

export function State(props: { icon: IconName; title: string; children?: ReactNode; actions?: ReactNode; tone?: "neutral" | "warn" | "danger"; busy?: boolean }) {
  return (
    <div aria-busy={props.busy} className="state" data-tone={props.tone} role={props.tone === "danger" ? "alert" : "status"}>
      <Icon name={props.icon} size={32} />
      <h2>{props.title}</h2>
      {props.children ? <p>{props.children}</p> : null}
      {props.actions ? <div className="row">{props.actions}</div> : null}
    </div>
  );
}

/** A sentence above data that is still there. */
export function Notice(props: { icon: IconName; tone?: "info" | "ok" | "warn" | "danger"; children: ReactNode; action?: ReactNode }) {
  return (
    <div className="notice" data-tone={props.tone ?? "info"} role="status">
      <Icon name={props.icon} />
      <span>{props.children}</span>
      {props.action}
    </div>
  );
}

/** Lines where rows will be. Their widths vary so that they look like text, the same on the server and in the browser. */
export function Skeleton({ label, rows = 8, height = 36 }: { label: string; rows?: number; height?: number }) {
  return (
    <div aria-busy="true" aria-label={label} role="status" style={{ padding: "0 16px" }}>
      {Array.from({ length: rows }, (_, row) => (
        <div key={row} style={{ alignItems: "center", display: "flex", height }}>
          <span className="skeleton" style={{ width: `${42 + ((row * 37) % 45)}%` }} />
        </div>
      ))}
    </div>
  );
}
