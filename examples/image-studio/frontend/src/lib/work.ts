/** One work at a time: an image is made, changed or drawn again, and what came out goes into the gallery. */

import { AyniError, type Images } from "ayni/browser";
import {
  type EngineMode, type EngineName, type EngineProgress, type ImageEngines, type Served, base64Of, bytesOf, mediaTypeOf, readReceipt,
  sha256Of,
} from "ayni/browser/images";
import { useCallback, useEffect, useRef, useState } from "react";

import { settings } from "./engines.ts";
import { type Gallery, type Picture, freshId, sizeOf } from "./gallery.ts";

export interface Work {
  kind: "generate" | "refine" | "replay";
  mode: EngineMode;
  prompt: string;
  /** Width to height of what comes out. */
  ratio: string;
  quality: "standard" | "high";
  source?: Picture;
  strength?: number;
}

export interface Running extends Work {
  began: number;
  /** The engine that is asked. */
  engine: EngineName;
  passedOver?: AyniError;
  step?: { done: number; of: number; preview?: string };
  /** Seconds that an engine has been waited for. */
  waiting?: number;
}

export interface Failed {
  work: Work;
  engine: EngineName;
  error: AyniError;
  at: number;
}

type Outcome = Pick<Images, "images" | "safety"> & { model?: string | null } & Served;

function told(running: Running, progress: EngineProgress): Running {
  switch (progress.type) {
    case "image_step":
      // A step without a preview keeps the last one.
      return { ...running, waiting: undefined, step: { ...running.step, ...progress } };
    case "waiting":
      return { ...running, waiting: progress.elapsed };
    case "falling_back":
      return { ...running, engine: progress.to, passedOver: progress.error, step: undefined, waiting: undefined };
    default:
      return running;
  }
}

/** What of the gallery a refined picture was made from, by the hashes in its receipt. */
function sourcesOf({ receipt }: Picture, pictures: readonly Picture[]): Picture[] {
  const wanted = [receipt?.input_sha256, receipt?.mask_sha256];
  return pictures.filter(({ sha256 }) => sha256 !== undefined && wanted.includes(sha256));
}

const base64OfBlob = async (blob: Blob) => base64Of(new Uint8Array(await blob.arrayBuffer()));

async function ask(engines: ImageEngines, work: Work, pictures: readonly Picture[], call: { signal: AbortSignal; onProgress: (progress: EngineProgress) => void }) {
  const { mode, prompt, source } = work;
  if (work.kind === "generate") {
    return engines.generate(mode, { prompt, aspectRatio: work.ratio, temperature: 0.7, resolution: work.quality }, call);
  }
  const image = await base64OfBlob((source as Picture).png);
  if (work.kind === "refine") {
    return engines.refine(mode, { refinePrompt: prompt, images: [image], config: { strength: work.strength } }, call);
  }
  const sources = await Promise.all(sourcesOf(source as Picture, pictures).map(({ png }) => base64OfBlob(png)));
  const { image: again, max_difference: max, mean_difference: mean, ...served } = await engines.replay(mode, { image, sources }, call);
  return { ...served, images: [again], difference: { max, mean } };
}

const KINDS = { generate: "generated", refine: "refined", replay: "replayed" } as const;

async function pictureOf(work: Work, outcome: Outcome & { difference?: Picture["difference"] }, began: number): Promise<Picture> {
  const [image] = outcome.images ?? [];
  if (!image) throw new AyniError("the engine's answer has no image", { code: "response_invalid" });
  const bytes = bytesOf(image);
  const at = Date.now();
  const png = new Blob([bytes], { type: mediaTypeOf(bytes) });
  const size = await sizeOf(png);
  if (!size) throw new AyniError("the engine's image cannot be shown", { code: "response_invalid" });
  let receipt: Picture["receipt"] = null;
  try {
    receipt = readReceipt(bytes);
  } catch {
    // An engine that is not ayni's may answer with another format.
  }
  return {
    id: freshId(), at, kind: KINDS[work.kind], prompt: work.prompt, png, size, receipt,
    sha256: await sha256Of(bytes), source: work.source?.id, engine: outcome.engine, model: outcome.model ?? receipt?.model, seconds: (at - began) / 1000,
    difference: outcome.difference, isFlagged: outcome.safety?.[0]?.flagged, isBlanked: outcome.safety?.[0]?.blanked,
  };
}

/** The work, what it came to, and what stopped it. `onDone` hears of each picture, and of the engine that was passed over. */
export function useWork(engines: ImageEngines, gallery: Gallery, onDone: (picture: Picture, isKept: boolean, passedOver?: AyniError) => void) {
  const [running, setRunning] = useState<Running>();
  const [failed, setFailed] = useState<Failed>();
  const stop = useRef<AbortController>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const { pictures, add } = gallery;

  const start = useCallback(
    async (work: Work) => {
      stop.current?.abort();
      const mine = new AbortController();
      stop.current = mine;
      let now: Running = { ...work, began: Date.now(), engine: work.mode !== "auto" ? work.mode : settings.bases.local ? "local" : "cloud" };
      setFailed(undefined);
      setRunning(now);
      const onProgress = (progress: EngineProgress) => {
        now = told(now, progress);
        if (!mine.signal.aborted) setRunning(now);
      };
      try {
        const outcome = await ask(engines, work, pictures ?? [], { signal: mine.signal, onProgress });
        const picture = await pictureOf(work, outcome, now.began);
        if (mine.signal.aborted) return;
        const isKept = await add(picture).then(() => true, () => false);
        setRunning(undefined);
        onDone(picture, isKept, outcome.passedOver);
      } catch (error) {
        if (mine.signal.aborted) return;
        setRunning(undefined);
        setFailed({ work, engine: now.engine, error: error instanceof AyniError ? error : new AyniError(String(error)), at: Date.now() });
      }
    },
    [engines, pictures, add, onDone],
  );
  const cancel = useCallback(() => {
    stop.current?.abort();
    setRunning(undefined);
  }, []);
  const dismiss = useCallback(() => setFailed(undefined), []);
  return { running, failed, start, cancel, dismiss };
}
