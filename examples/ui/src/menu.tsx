/** A button with a list of actions: arrows move, Escape closes, a click elsewhere too. */

"use client";

import { type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from "react";

import { Button } from "./controls.tsx";
import { Icon, type IconName } from "./icons.tsx";

export interface MenuItem {
  label: string;
  icon?: IconName;
  onSelect?: () => void;
  /** An address to go to instead of something to do. */
  href?: string;
}

export function Menu({ label, icon, items, children }: { label: string; icon: IconName; items: readonly MenuItem[]; children?: ReactNode }) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (!open) return;
    root.current?.querySelector<HTMLElement>("[role=menuitem]")?.focus();
    const close = (event: Event) => root.current?.contains(event.target as Node) || setOpen(false);
    document.addEventListener("pointerdown", close);
    return () => document.removeEventListener("pointerdown", close);
  }, [open]);

  function onKey(event: KeyboardEvent) {
    if (!open) return;
    const all = [...(root.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      all[(at + step + all.length) % all.length]?.focus();
    } else if (event.key === "Escape" || event.key === "Tab") {
      setOpen(false);
      root.current?.querySelector("button")?.focus();
    }
  }

  const choose = (item: MenuItem) => () => {
    setOpen(false);
    root.current?.querySelector("button")?.focus();
    item.onSelect?.();
  };

  return (
    <div className="menu" onKeyDown={onKey} ref={root}>
      <Button aria-expanded={open} aria-haspopup="menu" icon={icon} onClick={() => setOpen(!open)}>
        {children ?? label}
      </Button>
      {open ? (
        <div aria-label={label} className="menu-list" role="menu">
          {items.map((item) =>
            item.href ? (
              <a href={item.href} key={item.label} onClick={choose(item)} role="menuitem" tabIndex={-1}>
                {item.icon ? <Icon name={item.icon} /> : null}
                {item.label}
              </a>
            ) : (
              <button key={item.label} onClick={choose(item)} role="menuitem" tabIndex={-1} type="button">
                {item.icon ? <Icon name={item.icon} /> : null}
                {item.label}
              </button>
            ),
          )}
        </div>
      ) : null}
    </div>
  );
}
