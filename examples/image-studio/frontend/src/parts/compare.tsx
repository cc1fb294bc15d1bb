/** Two pictures of which a slider shows more of the one or of the other. */

import { type CSSProperties, useState } from "react";

import { useWords } from "../lib/words.ts";

interface CompareProps {
  before: string;
  after: string;
  beforeLabel: string;
  afterLabel: string;
  label: string;
  prompt: string;
}

export function Compare({ before, after, beforeLabel, afterLabel, label, prompt }: CompareProps) {
  const words = useWords();
  const [at, setAt] = useState(50);
  return (
    <div className="compare" style={{ "--at": `${at}%` } as CSSProperties}>
      <img alt={`${afterLabel}: ${prompt}`} src={after} />
      <img alt={beforeLabel} className="over" src={before} />
      <i />
      <span className="side" data-side="before">
        {beforeLabel}
      </span>
      <span className="side" data-side="after">
        {afterLabel}
      </span>
      {/* The browser's own slider lies over the pictures, unseen: pointer, touch and keys are its. */}
      <input aria-label={label} aria-valuetext={words.compareValue(`${at}`)} max={100} min={0} onChange={(event) => setAt(Number(event.target.value))} type="range" value={at} />
    </div>
  );
}
