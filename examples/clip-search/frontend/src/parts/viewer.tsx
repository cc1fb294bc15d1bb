/** One image, large. The browser's own dialog keeps the focus inside and gives it back. */

"use client";

import { Button, useSettings } from "ayni-ui";
import { useEffect, useRef } from "react";

import { addressOf } from "../lib/api.ts";
import { useWords } from "../lib/words.ts";
import type { Card } from "./image-grid.tsx";

interface Props {
  cards: readonly Card[];
  open: string;
  onOpen: (name: string) => void;
  onSimilar: (name: string) => void;
  onClose: () => void;
}

export function Viewer({ cards, open, onOpen, onSimilar, onClose }: Props) {
  const words = useWords();
  const { language } = useSettings();
  const dialog = useRef<HTMLDialogElement>(null);
  const at = cards.findIndex(({ name }) => name === open);
  const card = cards[at];
  const isOpen = card !== undefined;
  useEffect(() => {
    if (isOpen && !dialog.current?.open) dialog.current?.showModal();
    if (!isOpen && dialog.current?.open) dialog.current.close();
  }, [isOpen]);
  const go = (step: number) => {
    const next = cards[at + step];
    if (next) onOpen(next.name);
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Esc closes it.
    <dialog
      aria-label={card?.name ?? words.all}
      className="viewer"
      onClick={(event) => event.target === dialog.current && onClose()}
      onClose={() => isOpen && onClose()}
      onKeyDown={(event) => {
        if (event.key === "ArrowLeft") go(-1);
        if (event.key === "ArrowRight") go(1);
      }}
      ref={dialog}
    >
      {card ? (
        <>
          {/* biome-ignore lint/performance/noImgElement: shown as it is. */}
          <img alt={card.name} src={addressOf(card)} />
          <div className="viewer-foot">
            <p>
              <strong>{card.name}</strong>
              {card.score === undefined ? null : (
                <span className="muted number">
                  {words.similarity} {card.score.toLocaleString(language, { minimumFractionDigits: 3, maximumFractionDigits: 3 })}
                </span>
              )}
            </p>
            <div className="row">
              <Button disabled={at === 0} icon="arrow_left" label={words.previous} onClick={() => go(-1)} />
              <Button disabled={at === cards.length - 1} icon="arrow_right" label={words.next} onClick={() => go(1)} />
              <Button icon="search" look="main" onClick={() => onSimilar(card.name)}>
                {words.similar}
              </Button>
              <Button icon="close" label={words.close} onClick={onClose} />
            </div>
          </div>
        </>
      ) : null}
    </dialog>
  );
}
