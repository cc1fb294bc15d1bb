/** Where a search begins: words, an image, or one of the folder; and the way to put images into the folder. */

"use client";

import { Button, Icon } from "ayni-ui";
import { type FormEvent, useEffect, useRef, useState } from "react";

import { addressOf, type Image } from "../lib/api.ts";
import { useWords } from "../lib/words.ts";

interface Props {
  text: string;
  /** The image from outside, or of the folder, that is searched with. */
  file: File | undefined;
  like: Image | undefined;
  onText: (text: string) => void;
  onFile: (file: File) => void;
  onAdd: (files: File[]) => void;
  onClear: () => void;
}

/** The address of a file of this tab while it is shown. */
function useAddress(file: File | undefined): string | undefined {
  const [address, setAddress] = useState<string>();
  useEffect(() => {
    const made = file && URL.createObjectURL(file);
    setAddress(made);
    return () => {
      if (made) URL.revokeObjectURL(made);
    };
  }, [file]);
  return address;
}

export function QueryBar({ text, file, like, onText, onFile, onAdd, onClear }: Props) {
  const words = useWords();
  const [typed, setTyped] = useState(text);
  const field = useRef<HTMLInputElement>(null);
  const [choose, add] = [useRef<HTMLInputElement>(null), useRef<HTMLInputElement>(null)];
  const address = useAddress(file);
  useEffect(() => setTyped(text), [text]);
  useEffect(() => {
    // `/` goes to the field that searches, as in many applications.
    function onKey(event: KeyboardEvent) {
      const target = event.target as HTMLElement;
      if (event.key !== "/" || event.ctrlKey || event.metaKey || target.matches("input, textarea, select")) return;
      event.preventDefault();
      field.current?.focus();
    }
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  function submit(event: FormEvent) {
    event.preventDefault();
    const wanted = typed.trim();
    if (wanted) onText(wanted);
    else onClear();
  }
  const [source, name] = file ? [address, file.name] : like ? [addressOf(like), like.name] : [undefined, undefined];
  const hasQuery = Boolean(text || name);
  return (
    <form className="query-bar" onSubmit={submit} role="search">
      <div className="search">
        <Icon name="search" />
        <input aria-label={words.query} autoComplete="off" className="input" maxLength={2000} onChange={(event) => setTyped(event.target.value)} placeholder={words.placeholder} ref={field} type="search" value={typed} />
        <kbd aria-hidden="true">/</kbd>
      </div>
      <div className="row">
        <Button icon="search" look="main" type="submit">
          {words.search}
        </Button>
        <Button icon="image" onClick={() => choose.current?.click()}>
          {words.byImage}
        </Button>
        <Button icon="upload" onClick={() => add.current?.click()}>
          {words.add}
        </Button>
      </div>
      <input
        accept="image/*"
        aria-label={words.byImage}
        data-choose
        hidden
        onChange={(event) => {
          const [chosen] = event.target.files ?? [];
          if (chosen) onFile(chosen);
          event.target.value = "";
        }}
        ref={choose}
        type="file"
      />
      <input
        accept="image/*"
        aria-label={words.add}
        data-add
        hidden
        multiple
        onChange={(event) => {
          onAdd([...(event.target.files ?? [])]);
          event.target.value = "";
        }}
        ref={add}
        type="file"
      />
      {hasQuery ? (
        <p className="asked">
          {source ? (
            <>
              {/* biome-ignore lint/performance/noImgElement: shown as it is. */}
              <img alt="" height={40} src={source} width={40} />
              <span>
                {words.likeImage} <strong>{name}</strong>
              </span>
            </>
          ) : (
            <span>
              {words.results} {words.forText} <strong>«{text}»</strong>
            </span>
          )}
          <Button icon="close" label={words.clear} look="quiet" onClick={onClear} />
        </p>
      ) : null}
    </form>
  );
}
