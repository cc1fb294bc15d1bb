/** What was made before, the newest first. */

import { Button, State, time, useSettings } from "ayni-ui";
import { useRef, useState } from "react";

import { type Gallery, type Picture, useUrl } from "../lib/gallery.ts";
import { useWords } from "../lib/words.ts";

const PAGE = 24;

interface GalleryProps {
  gallery: Gallery;
  chosen: string | undefined;
  onChoose: (id: string) => void;
  onOpen: (file: File) => void;
}

export function GalleryPanel({ gallery: { pictures }, chosen, onChoose, onOpen }: GalleryProps) {
  const words = useWords();
  const input = useRef<HTMLInputElement>(null);
  const [most, setMost] = useState(PAGE);
  return (
    <section aria-label={words.gallery} className="panel">
      <div className="panel-head">
        <h2>
          {words.gallery} {pictures?.length ? <small className="muted number">{pictures.length}</small> : null}
        </h2>
        <Button icon="document" onClick={() => input.current?.click()}>
          {words.openPng}
        </Button>
        <input
          accept="image/png"
          hidden
          onChange={(event) => {
            const file = event.target.files?.[0];
            // The same file may be chosen again.
            event.target.value = "";
            if (file) onOpen(file);
          }}
          ref={input}
          type="file"
        />
      </div>
      {pictures?.length === 0 ? (
        <State icon="empty" title={words.galleryEmpty}>
          {words.galleryEmptyText}
        </State>
      ) : (
        <ul className="gallery panel-body">
          {pictures?.slice(0, most).map((picture) => (
            <Thumb isChosen={picture.id === chosen} key={picture.id} onChoose={onChoose} picture={picture} />
          ))}
        </ul>
      )}
      {pictures && pictures.length > most ? (
        <div className="panel-body row">
          <Button icon="down" onClick={() => setMost(most + PAGE)}>
            {words.more}
          </Button>
        </div>
      ) : null}
    </section>
  );
}

function Thumb({ picture, isChosen, onChoose }: { picture: Picture; isChosen: boolean; onChoose: (id: string) => void }) {
  const words = useWords();
  const { language } = useSettings();
  const url = useUrl(picture.png);
  return (
    <li>
      <button aria-current={isChosen} onClick={() => onChoose(picture.id)} type="button">
        {url ? <img alt="" loading="lazy" src={url} /> : <span className="skeleton" />}
        <span className="thumb-text">{picture.prompt}</span>
        <small className="muted">
          {words.kinds[picture.kind]} · {time(language, new Date(picture.at).toISOString(), "time")}
        </small>
      </button>
    </li>
  );
}
