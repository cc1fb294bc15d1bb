/** Images side by side. One of them is reached with Tab, the others from there with the arrows. */

"use client";

import { useSettings } from "ayni-ui";
import { type KeyboardEvent, useState } from "react";

import { addressOf } from "../lib/api.ts";
import { useWords } from "../lib/words.ts";

export interface Card {
  name: string;
  hash: string;
  /** Where it was searched for: the cosine of its vector and the query's. */
  score?: number;
}

/** How many are seen without scrolling, about. */
const SEEN_FIRST = 15;

/** Where a key leads from the card at a place. */
function target(key: string, at: number, cards: readonly HTMLElement[]): number | undefined {
  const tops = cards.map((card) => card.getBoundingClientRect().top);
  const columns = Math.max(1, tops.filter((top) => top === tops[0]).length);
  const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -at, End: cards.length - 1 - at };
  const step = steps[key];
  return step === undefined ? undefined : Math.min(Math.max(at + step, 0), cards.length - 1);
}

export function ImageGrid({ cards, onOpen }: { cards: readonly Card[]; onOpen: (name: string) => void }) {
  const words = useWords();
  const { language } = useSettings();
  const [active, setActive] = useState(0);
  const shown = new Intl.NumberFormat(language, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
  const best = Math.max(...cards.map(({ score = 0 }) => score), 0);
  function onKeyDown(event: KeyboardEvent<HTMLUListElement>) {
    const all = [...event.currentTarget.querySelectorAll<HTMLElement>("button")];
    const next = target(event.key, all.indexOf(document.activeElement as HTMLElement), all);
    if (next === undefined) return;
    event.preventDefault();
    setActive(next);
    all[next]?.focus();
  }
  return (
    // biome-ignore lint/a11y/noNoninteractiveElementInteractions: the keys are for the buttons inside.
    <ul className="image-grid" onKeyDown={onKeyDown}>
      {cards.map(({ name, hash, score }, at) => (
        <li key={name}>
          <button data-name={name} onClick={() => onOpen(name)} onFocus={() => setActive(at)} tabIndex={at === Math.min(active, cards.length - 1) ? 0 : -1} type="button">
            {/* biome-ignore lint/performance/noImgElement: Next.js would need what resizes images. */}
            <img alt="" decoding="async" loading={at < SEEN_FIRST ? "eager" : "lazy"} src={addressOf({ name, hash })} />
            <span className="image-name">{name}</span>
            {score === undefined ? null : (
              <span className="score">
                <span className="hidden-label">{words.similarity}</span>
                <span className="number">{shown.format(score)}</span>
                <i aria-hidden="true" style={{ width: `${best > 0 ? (100 * Math.max(score, 0)) / best : 0}%` }} />
              </span>
            )}
          </button>
        </li>
      ))}
    </ul>
  );
}
