/** While files are dragged over the page: two places to drop them. An image that is pasted is searched with. */

"use client";

import { Icon, type IconName } from "ayni-ui";
import { type DragEvent as ReactDragEvent, useEffect, useState } from "react";

import { useWords } from "../lib/words.ts";

/** Browsers send `dragover` all the time while something is dragged; once it stops, nothing is. */
const SILENCE_MS = 300;

function imagesIn(list: FileList | undefined | null): File[] {
  return [...(list ?? [])].filter(({ type }) => type.startsWith("image/"));
}

function useDragging(): [boolean, () => void] {
  const [isDragging, setDragging] = useState(false);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files");
    function over(event: DragEvent) {
      if (!hasFiles(event)) return;
      // Without it the browser would open what is dropped beside the places.
      event.preventDefault();
      setDragging(true);
      clearTimeout(timer);
      timer = setTimeout(() => setDragging(false), SILENCE_MS);
    }
    function drop(event: DragEvent) {
      if (hasFiles(event)) event.preventDefault();
    }
    for (const type of ["dragenter", "dragover"] as const) document.addEventListener(type, over);
    document.addEventListener("drop", drop);
    return () => {
      clearTimeout(timer);
      for (const type of ["dragenter", "dragover"] as const) document.removeEventListener(type, over);
      document.removeEventListener("drop", drop);
    };
  }, []);
  return [isDragging, () => setDragging(false)];
}

export function DropZones({ onSearch, onAdd }: { onSearch: (file: File) => void; onAdd: (files: File[]) => void }) {
  const words = useWords();
  const [isDragging, end] = useDragging();
  useEffect(() => {
    function paste(event: ClipboardEvent) {
      const [image] = imagesIn(event.clipboardData?.files);
      if (image) onSearch(image);
    }
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  }, [onSearch]);
  if (!isDragging) return null;
  const dropped = (event: ReactDragEvent, use: (files: File[]) => void) => {
    event.preventDefault();
    end();
    const files = [...event.dataTransfer.files];
    if (files.length) use(files);
  };
  return (
    <div className="drop-zones">
      <Zone icon="search" onDrop={(event) => dropped(event, ([first]) => first && onSearch(first))} text={words.dropSearchText} title={words.dropSearch} />
      <Zone icon="upload" onDrop={(event) => dropped(event, onAdd)} text={words.dropAddText} title={words.dropAdd} />
    </div>
  );
}

function Zone({ icon, title, text, onDrop }: { icon: IconName; title: string; text: string; onDrop: (event: ReactDragEvent) => void }) {
  const [isOver, setOver] = useState(false);
  return (
    <div className="drop-zone" data-over={isOver || undefined} onDragEnter={() => setOver(true)} onDragLeave={() => setOver(false)} onDrop={onDrop}>
      <Icon name={icon} size={32} />
      <strong>{title}</strong>
      <span>{text}</span>
    </div>
  );
}
