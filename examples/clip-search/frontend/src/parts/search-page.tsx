/** Words or an image in, images of the folder out. The address holds the search, so links, reload, back and forward keep it. */

"use client";

import { Button, count, Mark, SettingsButtons, Skeleton, State, useQuery, useSettings, useToast, useView } from "ayni-ui";
import { useCallback, useEffect, useRef, useState } from "react";

import { client, type Image, type Index, useIndex } from "../lib/api.ts";
import { type FirstImages, SHOWN_AT_ONCE } from "../lib/first.ts";
import { type Asked, type Search, useSearch } from "../lib/search.ts";
import { useUploads } from "../lib/uploads.ts";
import { useWords } from "../lib/words.ts";
import { DropZones } from "./drop-zones.tsx";
import { type Card, ImageGrid } from "./image-grid.tsx";
import { IndexPanel } from "./index-panel.tsx";
import { IndexProblem, SearchProblem } from "./problem.tsx";
import { QueryBar } from "./query-bar.tsx";
import { UploadList } from "./upload-list.tsx";
import { Viewer } from "./viewer.tsx";

const VIEW = { q: "", like: "", image: "", open: "" };

/** Images from outside that were searched with in this tab; the address holds their number. */
const files = new Map<string, File>();
const DEFAULT_LARGEST_BYTES = 15 << 20;

/**
 * Another text once the index rests and is another than at first, so that a search is made again then, and neither for every
 * image nor when the first state arrives.
 */
function useEpoch({ state }: Index): string {
  const [first, last] = [useRef<string>(undefined), useRef("")];
  if (!state) return "";
  const now = state.running ? "running" : `${state.indexed}/${state.images}/${state.version}/${state.model}`;
  first.current ??= now;
  if (!state.running) last.current = now === first.current ? "" : now;
  return last.current;
}

/** All images of the folder, the newest first. */
function useImages({ state }: Index) {
  const query = useQuery("images", (signal) => client.get<{ images: Image[] }>("/images", {}, { signal }));
  const { again } = query;
  const version = state?.version;
  const seen = useRef(version);
  useEffect(() => {
    if (seen.current !== undefined && seen.current !== version) again();
    seen.current = version;
  }, [version, again]);
  return query;
}

/** `first` are the images of the page's first answer, until the browser has asked for itself. */
export function SearchPage({ first }: { first?: FirstImages | undefined }) {
  const words = useWords();
  const { language } = useSettings();
  const toast = useToast();
  const [view, setView] = useView(VIEW);
  const index = useIndex();
  const images = useImages(index);
  const largest = index.state?.largest_bytes ?? DEFAULT_LARGEST_BYTES;
  const onStored = useCallback((stored: number) => toast(`${words.stored} ${count(language, stored)}`), [toast, words, language]);
  const { uploads, send, forget } = useUploads(largest, onStored);

  const file = files.get(view.image);
  const asked: Asked | null = view.q ? { text: view.q } : view.like ? { name: view.like } : file ? { file } : null;
  const isTooLarge = asked !== null && "file" in asked && asked.file.size > largest;
  const key = asked && !isTooLarge ? JSON.stringify([view.q, view.like, view.image]) : null;
  const search = useSearch(key, asked, useEpoch(index));
  const isSearch = Boolean(view.q || view.like || view.image);

  const searchFile = (chosen: File) => {
    const id = `${Date.now()}`;
    files.set(id, chosen);
    setView({ ...VIEW, image: id });
  };
  const all = images.data?.images ?? (images.error ? undefined : first?.images);
  const cards: readonly Card[] | undefined = isSearch ? search.found?.matches : all;
  const similar = (name: string) => setView({ ...VIEW, like: name });
  // The back button closes an image that was opened here, and closing it leaves no step behind.
  const isStep = useRef(false);
  const openImage = (open: string) => {
    isStep.current = true;
    setView({ open });
  };
  const closeImage = () => {
    if (isStep.current) window.history.back();
    else setView({ open: "" }, "replace");
    isStep.current = false;
  };
  return (
    <>
      <a className="skip" href="#content">
        {words.skip}
      </a>
      <header className="frame-bar">
        <span className="frame-brand">
          <Mark />
          Qhaway
        </span>
        <div className="frame-tools">
          <SettingsButtons />
        </div>
      </header>
      <main className="page" id="content" tabIndex={-1}>
        <div>
          <h1>{words.title}</h1>
          <p className="muted">{words.text}</p>
        </div>
        <QueryBar
          file={file}
          like={images.data?.images.find(({ name }) => name === view.like)}
          onAdd={send}
          onClear={() => setView(VIEW)}
          onFile={searchFile}
          onText={(text) => setView({ ...VIEW, q: text })}
          text={view.q}
        />
        <IndexProblem index={index} />
        <UploadList largestBytes={largest} onForget={forget} uploads={uploads} />
        <div className="search-columns">
          <section aria-busy={search.status === "searching"} aria-label={isSearch ? words.results : words.all} className="panel">
            {isSearch ? (
              <Results cards={cards} index={index} isLost={view.image !== "" && !file} isTooLarge={isTooLarge} largest={largest} onOpen={openImage} search={search} />
            ) : (
              <Gallery all={images.data?.images.length ?? first?.all ?? 0} cards={cards} error={images.error} index={index} onAdd={send} onOpen={openImage} />
            )}
          </section>
          <IndexPanel index={index} />
        </div>
      </main>
      <Viewer cards={cards ?? []} onClose={closeImage} onOpen={(open) => setView({ open }, "replace")} onSimilar={similar} open={view.open} />
      <DropZones onAdd={send} onSearch={searchFile} />
    </>
  );
}

interface ResultsProps {
  search: Search & { again: () => void };
  index: Index;
  cards: readonly Card[] | undefined;
  isLost: boolean;
  isTooLarge: boolean;
  largest: number;
  onOpen: (name: string) => void;
}

function Results({ search, index, cards, isLost, isTooLarge, largest, onOpen }: ResultsProps) {
  const words = useWords();
  const { language } = useSettings();
  const { found } = search;
  if (isLost) return <State icon="image" title={words.lost}>{words.lostText}</State>;
  if (isTooLarge) return <SearchProblem again={search.again} error={null} largest={largest} />;
  if (search.status === "failed" && search.error) return <SearchProblem again={search.again} error={search.error} largest={largest} />;
  if (search.waited !== null && !found) {
    return (
      <State busy icon="sleep" title={words.waking} tone="warn">
        {words.wakingText} <span className="number">{search.waited}</span>
        {`\u00a0${words.waited}`}.
      </State>
    );
  }
  if (!cards || !found) return <Waiting label={words.searching} />;
  if (found.searched === 0) return <State icon="empty" title={words.noMatch}>{words.noMatchText}</State>;
  return (
    <>
      <div className="panel-head">
        <h2>{words.results}</h2>
        {found.searched < found.images && index.state?.running ? (
          <span className="muted">
            {words.partial} {count(language, found.searched)} {words.of} {count(language, found.images)}
          </span>
        ) : (
          <span className="muted hint">{words.arrows}</span>
        )}
      </div>
      <ImageGrid cards={cards} onOpen={onOpen} />
    </>
  );
}

function Waiting({ label }: { label: string }) {
  return (
    <div style={{ padding: "16px 0" }}>
      <Skeleton height={72} label={label} rows={4} />
    </div>
  );
}

interface GalleryProps {
  cards: readonly Card[] | undefined;
  /** How many images there are. */
  all: number;
  error: unknown;
  index: Index;
  onAdd: (files: File[]) => void;
  onOpen: (name: string) => void;
}

function Gallery({ cards, all, error, index, onAdd, onOpen }: GalleryProps) {
  const words = useWords();
  const { language } = useSettings();
  const [most, setMost] = useState(SHOWN_AT_ONCE);
  const input = useRef<HTMLInputElement>(null);
  // Why there is no list is said above.
  if (!cards) return error || index.error ? <State icon="image" title={words.all} /> : <Waiting label={words.loading} />;
  if (cards.length === 0 && !index.state?.scanned) return <Waiting label={words.loading} />;
  if (cards.length === 0) {
    return (
      <State
        actions={
          <>
            <input accept="image/*" aria-label={words.add} hidden multiple onChange={(event) => onAdd([...(event.target.files ?? [])])} ref={input} type="file" />
            <Button icon="upload" look="main" onClick={() => input.current?.click()}>
              {words.add}
            </Button>
          </>
        }
        icon="image"
        title={words.empty}
      >
        {words.emptyText}
      </State>
    );
  }
  return (
    <>
      <div className="panel-head">
        <h2>
          {words.all} <small className="muted number">{count(language, all)}</small>
        </h2>
        <span className="muted hint">{words.arrows}</span>
      </div>
      <ImageGrid cards={cards.slice(0, most)} onOpen={onOpen} />
      {all > most ? (
        <div className="panel-body row" style={{ justifyContent: "center" }}>
          <Button onClick={() => setMost(most + SHOWN_AT_ONCE)}>{words.more}</Button>
        </div>
      ) : null}
    </>
  );
}
