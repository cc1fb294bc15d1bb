/** The picture: while it is drawn, and what can be done with it. */

import { Badge, Button, count, decimal, Field, Skeleton, State, time, useNow, useSettings } from "ayni-ui";
import { save } from "ayni-ui/files/save";
import { type CSSProperties, type FormEvent, type ReactNode, useEffect, useRef, useState } from "react";

import { type Picture, useUrl } from "../lib/gallery.ts";
import { useWords } from "../lib/words.ts";
import type { Running } from "../lib/work.ts";
import { Compare } from "./compare.tsx";

interface StageProps {
  picture: Picture | undefined;
  /** What it was made from, where that is still there. */
  source: Picture | undefined;
  running: Running | undefined;
  isRead: boolean;
  busy: boolean;
  onCancel: () => void;
  onRefine: (prompt: string, strength: number) => void;
  onReplay: () => void;
  onRemove: (picture: Picture) => void;
}

export function Stage(props: StageProps) {
  const words = useWords();
  const { picture, running } = props;
  const section = useRef<HTMLElement>(null);
  const isDrawing = running !== undefined;
  // On a phone the picture is far below the button.
  useEffect(() => {
    const top = section.current?.getBoundingClientRect().top ?? 0;
    if (isDrawing && top > window.innerHeight / 2) section.current?.scrollIntoView({ behavior: "smooth" });
  }, [isDrawing]);
  return (
    <section aria-busy={isDrawing} aria-label={words.result} className="panel stage" ref={section}>
      {running ? (
        <Drawing onCancel={props.onCancel} running={running} />
      ) : picture ? (
        <Shown {...props} key={picture.id} picture={picture} />
      ) : props.isRead ? (
        <State icon="spark" title={words.empty}>
          {words.emptyText}
        </State>
      ) : (
        <Skeleton label={words.result} rows={6} />
      )}
    </section>
  );
}

/** As large as there is room, in the picture's shape from the beginning, so that nothing jumps. */
function Canvas({ size: [wide = 1, high = 1] = [], children }: { size: readonly number[] | undefined; children: ReactNode }) {
  return (
    <div className="easel">
      <div className="canvas" style={{ "--wide": wide, "--high": high } as CSSProperties}>
        {children}
      </div>
    </div>
  );
}

function Drawing({ running, onCancel }: { running: Running; onCancel: () => void }) {
  const words = useWords();
  const { language } = useSettings();
  const seconds = Math.max(0, (useNow(250) - running.began) / 1000);
  const { step, waiting, source } = running;
  const beneath = useUrl(running.kind === "generate" ? undefined : source?.png);
  const shown = step?.preview ? `data:image/png;base64,${step.preview}` : beneath;
  const share = step ? step.done / step.of : undefined;
  const left = step && step.done < step.of ? (seconds / step.done) * (step.of - step.done) : undefined;
  const size = running.kind === "generate" ? running.ratio.split(":").map(Number) : source?.size;
  const text = waiting !== undefined ? words.waking(count(language, Math.round(waiting))) : step ? words.drawing(count(language, step.done), count(language, step.of)) : words.asking;
  return (
    <>
      <Canvas size={size}>{shown ? <img alt={words.preview} src={shown} /> : <span className="skeleton" />}</Canvas>
      <div className="drawing">
        <div aria-label={words.progress} aria-valuemax={100} aria-valuemin={0} aria-valuenow={share === undefined ? undefined : Math.round(share * 100)} aria-valuetext={text} className="meter" data-unknown={share === undefined ? "" : undefined} role="progressbar">
          <i style={{ width: `${(share ?? 0.3) * 100}%` }} />
        </div>
        <div className="row">
          <span className="number">
            <strong>{text}</strong>
            {" · "}
            {words.servedBy[running.engine]} · {decimal(language, `${seconds}`, 1)} s{left === undefined ? "" : ` · ${words.left(count(language, Math.ceil(left)))}`}
          </span>
          <Button icon="stop" onClick={onCancel}>
            {words.cancel}
          </Button>
        </div>
      </div>
    </>
  );
}

function fileName({ prompt, receipt, at, png }: Picture): string {
  const slug = prompt.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 48);
  return `${slug || "image"}-${receipt?.seed ?? at}.${png.type.split("/")[1]}`;
}

function Shown({ picture, source, busy, onRefine, onReplay, onRemove }: StageProps & { picture: Picture }) {
  const words = useWords();
  const { language } = useSettings();
  const url = useUrl(picture.png);
  const before = useUrl(source?.png);
  const { difference } = picture;
  const isReplay = picture.kind === "replayed";
  return (
    <>
      <Canvas size={picture.size}>
        {url && before ? (
          <Compare after={url} afterLabel={isReplay ? words.again : words.after} before={before} beforeLabel={isReplay ? words.first : words.before} label={words.compare} prompt={picture.prompt} />
        ) : url ? (
          <img alt={picture.prompt} src={url} />
        ) : null}
      </Canvas>
      <div className="about">
        <div className="row">
          <Badge tone="accent">{words.kinds[picture.kind]}</Badge>
          {picture.engine ? <Badge>{words.servedBy[picture.engine]}</Badge> : null}
          {picture.isFlagged ? <Badge tone="warn">{picture.isBlanked ? words.blanked : words.flagged}</Badge> : null}
          {difference ? (
            <Badge tone={difference.max === 0 ? "ok" : "warn"}>
              {difference.max === 0 ? words.sameAgain : words.differs(count(language, difference.max), decimal(language, difference.mean.toFixed(2), 2))}
            </Badge>
          ) : null}
        </div>
        <p className="caption">{picture.prompt}</p>
        <div className="row">
          <Button icon="download" onClick={() => save(picture.png, picture.png.type, fileName(picture))}>
            {words.download}
          </Button>
          {picture.receipt ? (
            <Button disabled={busy} icon="refresh" onClick={onReplay}>
              {words.replay}
            </Button>
          ) : null}
          <Button icon="close" look="quiet" onClick={() => onRemove(picture)}>
            {words.remove}
          </Button>
        </div>
        <Refine busy={busy} onRefine={onRefine} />
        <Receipt picture={picture} />
      </div>
    </>
  );
}

function Refine({ busy, onRefine }: { busy: boolean; onRefine: (prompt: string, strength: number) => void }) {
  const words = useWords();
  const { language } = useSettings();
  const [prompt, setPrompt] = useState("");
  const [strength, setStrength] = useState(50);
  function submit(event: FormEvent) {
    event.preventDefault();
    onRefine(prompt.trim(), strength / 100);
  }
  return (
    <form aria-label={words.refineTitle} className="refine" onSubmit={submit}>
      <h2>{words.refineTitle}</h2>
      <Field label={words.refinePrompt}>
        <input className="input" maxLength={4000} onChange={(event) => setPrompt(event.target.value)} placeholder={words.refinePlaceholder} required value={prompt} />
      </Field>
      <Field label={`${words.strength}: ${count(language, strength)} %`}>
        <input aria-label={words.strength} max={100} min={5} onChange={(event) => setStrength(Number(event.target.value))} step={5} type="range" value={strength} />
      </Field>
      <Button disabled={busy} icon="spark" type="submit">
        {words.refine}
      </Button>
    </form>
  );
}

function Receipt({ picture }: { picture: Picture }) {
  const words = useWords();
  const { language } = useSettings();
  const { receipt, seconds } = picture;
  const { facts } = words;
  const rows: [string, string | null | undefined][] = [
    [facts.model, receipt?.model ?? picture.model],
    [facts.seed, receipt?.seed.toString()],
    [facts.steps, receipt && `${receipt.steps}`],
    [facts.guidance, receipt && `${receipt.guidance}`],
    [facts.scheduler, receipt?.scheduler],
    [facts.size, receipt && `${receipt.width} × ${receipt.height}`],
    [facts.strength, receipt?.strength == null ? undefined : decimal(language, receipt.strength.toFixed(2), 2)],
    [facts.engine, receipt?.engine],
    [facts.weights, receipt?.model_sha256?.slice(0, 10)],
    [facts.seconds, seconds === undefined ? undefined : `${decimal(language, `${seconds}`, 1)} s`],
    [facts.made, time(language, new Date(picture.at).toISOString())],
  ];
  return (
    <div className="receipt">
      <h2>{words.receipt}</h2>
      {receipt ? null : <p className="muted">{words.noReceipt}</p>}
      <dl className="measures">
        {rows.map(([label, value]) =>
          value === undefined || value === null ? null : (
            <div key={label}>
              <dt>{label}</dt>
              <dd className="number">{value}</dd>
            </div>
          ),
        )}
      </dl>
    </div>
  );
}
