/** Buttons, fields, badges. */

"use client";

import { type ButtonHTMLAttributes, type ReactNode, useId, useState } from "react";

import { Icon, type IconName } from "./icons.tsx";

export type Tone = "neutral" | "ok" | "warn" | "danger" | "info" | "accent";

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  icon?: IconName;
  look?: "plain" | "main" | "quiet";
  busy?: boolean;
  /** Its name where it shows only the icon. */
  label?: string;
}

export function Button({ icon, look = "plain", busy = false, label, children, ...rest }: ButtonProps) {
  return (
    <button aria-busy={busy} aria-label={label} className="button" data-look={look} data-only-icon={label ? "" : undefined} title={label} type="button" {...rest}>
      {icon ? <Icon name={busy ? "refresh" : icon} spinning={busy} /> : null}
      {children === undefined ? null : <span className="button-text">{children}</span>}
    </button>
  );
}

export function Field({ label, children }: { label: string; children: ReactNode }) {
  return (
    <label className="field">
      <span>{label}</span>
      {children}
    </label>
  );
}

export function SearchField(props: { label: string; value: string; onChange: (value: string) => void; placeholder?: string }) {
  const id = useId();
  return (
    <div className="search">
      <label className="hidden-label" htmlFor={id}>
        {props.label}
      </label>
      <Icon name="search" />
      <input
        className="input"
        data-search
        id={id}
        onChange={(event) => props.onChange(event.target.value)}
        placeholder={props.placeholder}
        type="search"
        value={props.value}
      />
    </div>
  );
}

/** Fields that filter rows. On narrow screens those after the first are behind a button that says how many of them are set. */
export function Filters({ label, first, set, children }: { label: string; first: ReactNode; set: number; children: ReactNode }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <div className="filters">
      {first}
      <Button aria-controls={id} aria-expanded={open} className="button filters-button" icon="filter" onClick={() => setOpen(!open)}>
        {set ? `${label} (${set})` : label}
      </Button>
      <div className="filters-more" data-open={open ? "" : undefined} id={id}>
        {children}
      </div>
    </div>
  );
}

export interface Choice<T extends string> {
  value: T;
  label: string;
  disabled?: boolean;
}

export function Select<T extends string>(props: { label: string; value: T; choices: readonly Choice<T>[]; onChange: (value: T) => void }) {
  return (
    <Field label={props.label}>
      <select className="input" onChange={(event) => props.onChange(event.target.value as T)} value={props.value}>
        {props.choices.map(({ value, label, disabled }) => (
          <option disabled={disabled} key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </Field>
  );
}

/** A few choices of which one holds. */
export function Segments<T extends string>(props: { label: string; value: T; choices: readonly Choice<T>[]; onChange: (value: T) => void }) {
  return (
    <div aria-label={props.label} className="segments" role="group">
      {props.choices.map(({ value, label }) => (
        <button aria-pressed={value === props.value} key={value} onClick={() => props.onChange(value)} type="button">
          {label}
        </button>
      ))}
    </div>
  );
}

export function Check(props: { label: string; checked: boolean; onChange: (checked: boolean) => void; disabled?: boolean }) {
  return (
    <label className="check">
      <input checked={props.checked} disabled={props.disabled} onChange={(event) => props.onChange(event.target.checked)} type="checkbox" />
      {props.label}
    </label>
  );
}

export function Badge({ tone = "neutral", children }: { tone?: Tone; children: ReactNode }) {
  return (
    <span className="badge" data-tone={tone}>
      {children}
    </span>
  );
}
