/** The page: what to make, what came out, what was made before, and how the engines are. */

import type { AyniError } from "ayni/browser";
import { Mark, Notice, SettingsButtons, useToast } from "ayni-ui";
import { useCallback, useState } from "react";

import { settings, type Statuses, useEngines, useStatus } from "../lib/engines.ts";
import { type Picture, useGallery } from "../lib/gallery.ts";
import { NotOpened, opened } from "../lib/opened.ts";
import { useWords } from "../lib/words.ts";
import { useWork } from "../lib/work.ts";
import { Drop } from "./drop.tsx";
import { EnginePanel } from "./engines.tsx";
import { Form, useForm } from "./form.tsx";
import { GalleryPanel } from "./gallery.tsx";
import { Problem } from "./problem.tsx";
import { Stage } from "./stage.tsx";

interface Note {
  tone: "info" | "warn" | "danger";
  text: string;
}

/** What stands above the picture: who served in whose place, what could not be opened or kept. */
function useNotes() {
  const words = useWords();
  const [note, setNote] = useState<Note>();
  const done = useCallback(
    (isKept: boolean, passedOver?: AyniError) => {
      if (!isKept) setNote({ tone: "warn", text: words.notKept });
      else setNote(passedOver && { tone: "warn", text: words.passedOver(passedOver.message) });
    },
    [words],
  );
  return { note, setNote, done };
}

export function Studio() {
  const words = useWords();
  const toast = useToast();
  const { engines, keys, setKey } = useEngines();
  const statuses: Statuses = { local: useStatus(engines, "local"), cloud: useStatus(engines, "cloud") };
  const gallery = useGallery();
  const [chosen, setChosen] = useState<string>();
  const { note, setNote, done } = useNotes();
  // What eyes see by themselves.
  const [heard, setHeard] = useState("");
  const form = useForm();

  const onDone = useCallback(
    (picture: Picture, isKept: boolean, passedOver?: AyniError) => {
      setChosen(picture.id);
      done(isKept, passedOver);
      setHeard(`${words.done}: ${picture.prompt}`);
    },
    [done, words],
  );
  const work = useWork(engines, gallery, onDone);
  const pictures = gallery.pictures ?? [];
  const shown = pictures.find(({ id }) => id === chosen) ?? pictures[0];

  async function openFile(file: File) {
    try {
      const picture = await opened(file, words);
      const same = pictures.find(({ sha256 }) => sha256 !== undefined && sha256 === picture.sha256);
      const isKept = same ? true : await gallery.add(picture).then(() => true, () => false);
      setChosen((same ?? picture).id);
      work.dismiss();
      if (!isKept) setNote({ tone: "warn", text: words.notKept });
      else setNote(picture.receipt ? undefined : { tone: "info", text: words.foreign });
      if (picture.receipt) toast(words.opened);
    } catch (error) {
      if (!(error instanceof NotOpened)) throw error;
      setNote({ tone: "danger", text: `${words.notOpened}. ${error.message}` });
    }
  }

  function choose(id: string) {
    setChosen(id);
    setNote(undefined);
    work.dismiss();
  }

  async function remove({ id }: Picture) {
    await gallery.remove(id);
    toast(words.removed);
  }

  const { value } = form;
  const start = (more: Partial<Parameters<typeof work.start>[0]>) => {
    setNote(undefined);
    void work.start({ kind: "generate", mode: value.mode, prompt: value.prompt.trim(), ratio: value.ratio, quality: value.quality, ...more });
  };

  return (
    <>
      <header className="frame-bar">
        <span className="frame-brand">
          <Mark />
          Aura Reflect
        </span>
        <div className="frame-tools">
          <SettingsButtons />
        </div>
      </header>
      <main className="page">
        <div className="page-head">
          <div>
            <h1>{words.title}</h1>
            <p>{words.text}</p>
          </div>
        </div>
        {settings.randomWeights ? (
          <Notice icon="warning" tone="warn">
            {words.randomWeights}
          </Notice>
        ) : null}
        <div className="studio">
          <Form busy={work.running !== undefined} form={form} onCancel={() => (work.cancel(), toast(words.cancelled))} onMake={() => start({})} />
          <div className="stack">
            {note ? (
              <Notice icon={note.tone === "info" ? "document" : "warning"} tone={note.tone}>
                {note.text}
              </Notice>
            ) : null}
            {work.failed ? (
              <Problem
                failed={work.failed}
                onClose={work.dismiss}
                onKey={(key) => setKey(work.failed!.engine, key)}
                onRetry={(change) => void work.start({ ...work.failed!.work, ...change })}
                status={statuses[work.failed.engine]}
              />
            ) : null}
            <Stage
              busy={work.running !== undefined}
              isRead={gallery.pictures !== undefined}
              onCancel={() => (work.cancel(), toast(words.cancelled))}
              onRefine={(prompt, strength) => start({ kind: "refine", prompt, strength, source: shown })}
              onRemove={remove}
              onReplay={() => start({ kind: "replay", prompt: shown?.prompt ?? "", source: shown })}
              picture={shown}
              running={work.running}
              source={pictures.find(({ id }) => id === shown?.source)}
            />
          </div>
          <EnginePanel keys={keys} onKey={setKey} statuses={statuses} />
        </div>
        <GalleryPanel chosen={shown?.id} gallery={gallery} onChoose={choose} onOpen={openFile} />
      </main>
      <p aria-live="polite" className="hidden-label">
        {heard}
      </p>
      <Drop onFile={openFile} />
    </>
  );
}
