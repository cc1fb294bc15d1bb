/** What to make: the prompt, the shape, the quality, and which engine. */

import type { EngineMode } from "ayni/browser/images";
import { Button, Field, Segments } from "ayni-ui";
import { type FormEvent, useEffect, useState } from "react";

import { useWords } from "../lib/words.ts";

export const RATIOS = ["1:1", "16:9", "9:16", "4:3", "3:4"] as const;

interface Wish {
  prompt: string;
  ratio: (typeof RATIOS)[number];
  quality: "standard" | "high";
  mode: EngineMode;
}

const FIRST: Wish = { prompt: "", ratio: "1:1", quality: "standard", mode: "auto" };

/** Kept over reloads of the tab. */
export function useForm() {
  const [value, setValue] = useState<Wish>(() => ({ ...FIRST, ...JSON.parse(sessionStorage.getItem("wish") ?? "{}") }));
  useEffect(() => sessionStorage.setItem("wish", JSON.stringify(value)), [value]);
  return { value, change: (more: Partial<Wish>) => setValue((before) => ({ ...before, ...more })) };
}

interface FormProps {
  form: ReturnType<typeof useForm>;
  busy: boolean;
  onMake: () => void;
  onCancel: () => void;
}

export function Form({ form: { value, change }, busy, onMake, onCancel }: FormProps) {
  const words = useWords();
  function submit(event: FormEvent) {
    event.preventDefault();
    if (busy) onCancel();
    else onMake();
  }
  return (
    <form className="panel wish" onSubmit={submit}>
      <Field label={words.prompt}>
        <textarea
          className="input"
          maxLength={4000}
          onChange={(event) => change({ prompt: event.target.value })}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey) {
              event.preventDefault();
              if (!busy) event.currentTarget.form?.requestSubmit();
            }
          }}
          placeholder={words.placeholder}
          required
          rows={4}
          value={value.prompt}
        />
      </Field>
      <div className="field">
        <span>{words.ratio}</span>
        <div aria-label={words.ratio} className="shapes" role="group">
          {RATIOS.map((ratio) => (
            <button aria-pressed={ratio === value.ratio} key={ratio} onClick={() => change({ ratio })} type="button">
              <Shape ratio={ratio} />
              {ratio}
            </button>
          ))}
        </div>
      </div>
      <div className="field">
        <span>{words.quality}</span>
        <Segments
          choices={[{ value: "standard", label: words.standard }, { value: "high", label: words.high }]}
          label={words.quality}
          onChange={(quality) => change({ quality })}
          value={value.quality}
        />
        <small>{value.quality === "high" ? words.highText : words.standardText}</small>
      </div>
      <div className="field">
        <span>{words.mode}</span>
        <Segments
          choices={(["auto", "local", "cloud"] as const).map((mode) => ({ value: mode, label: words[mode] }))}
          label={words.mode}
          onChange={(mode) => change({ mode })}
          value={value.mode}
        />
        <small>{words.modeText[value.mode]}</small>
      </div>
      <Button icon={busy ? "stop" : "spark"} look={busy ? "plain" : "main"} type="submit">
        {busy ? words.cancel : words.generate}
      </Button>
    </form>
  );
}

const SIDE = 18;

function Shape({ ratio }: { ratio: string }) {
  const [wide = 1, high = 1] = ratio.split(":").map(Number);
  const [width, height] = wide > high ? [SIDE, (SIDE * high) / wide] : [(SIDE * wide) / high, SIDE];
  return (
    <svg aria-hidden="true" height={SIDE + 2} viewBox={`0 0 ${SIDE + 2} ${SIDE + 2}`} width={SIDE + 2}>
      <rect fill="none" height={height} rx="2" stroke="currentColor" strokeWidth="1.5" width={width} x={1 + (SIDE - width) / 2} y={1 + (SIDE - height) / 2} />
    </svg>
  );
}
