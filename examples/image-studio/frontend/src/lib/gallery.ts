/** The pictures that were made, kept in the browser's IndexedDB. Every tab sees the same. */

import type { EngineName, ImageReceipt } from "ayni/browser/images";
import { useCallback, useEffect, useState } from "react";

export interface Picture {
  id: string;
  /** When it was made, in milliseconds. */
  at: number;
  kind: "generated" | "refined" | "replayed" | "opened";
  prompt: string;
  png: Blob;
  /** Width and height in pixels. */
  size: [number, number];
  sha256?: string;
  /** What the file itself says of how it was made. */
  receipt: ImageReceipt | null;
  /** The picture that it was made from, or that it draws again. */
  source?: string;
  engine?: EngineName;
  model?: string | null;
  seconds?: number;
  /** Whether the engine's safety checker found something in it, and whether it is black because of that. */
  isFlagged?: boolean;
  isBlanked?: boolean;
  /** Of a replay: the largest and the mean difference from the first, of 255. */
  difference?: { max: number; mean: number };
}

const STORE = "pictures";

/** A name that no other picture has; `crypto.randomUUID` is missing on `http:` beyond this machine. */
export function freshId(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(3)), (part) => part.toString(36)).join("");
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function open(): Promise<IDBDatabase> {
  const request = indexedDB.open("image-studio", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
  return settled(request);
}

/** Runs work on the store and waits until it is on the disk. */
async function within<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    const transaction = database.transaction(STORE, mode);
    const done = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    });
    const [found] = await Promise.all([settled(work(transaction.objectStore(STORE))), done]);
    return found;
  } finally {
    database.close();
  }
}

export interface Gallery {
  /** The newest first; undefined until they are read. */
  pictures: readonly Picture[] | undefined;
  /** Fails where the browser has no room. The picture is shown all the same, until the tab is closed. */
  add: (picture: Picture) => Promise<void>;
  remove: (id: string) => Promise<void>;
}

const byTime = (one: Picture, other: Picture) => other.at - one.at;

export function useGallery(): Gallery {
  const [pictures, setPictures] = useState<readonly Picture[]>();
  useEffect(() => {
    const channel = new BroadcastChannel(STORE);
    const read = () => within<Picture[]>("readonly", (store) => store.getAll()).then((all) => setPictures(all.sort(byTime)), () => setPictures((before) => before ?? []));
    channel.onmessage = read;
    void read();
    return () => channel.close();
  }, []);

  const tell = () => {
    const channel = new BroadcastChannel(STORE);
    channel.postMessage(null);
    channel.close();
  };
  const add = useCallback(async (picture: Picture) => {
    setPictures((before = []) => [picture, ...before]);
    await within("readwrite", (store) => store.put(picture));
    tell();
  }, []);
  const remove = useCallback(async (id: string) => {
    setPictures((before = []) => before.filter((one) => one.id !== id));
    await within("readwrite", (store) => store.delete(id));
    tell();
  }, []);
  return { pictures, add, remove };
}

/** Width and height of an image; undefined of one that the browser cannot show. */
export async function sizeOf(image: Blob): Promise<[number, number] | undefined> {
  const bitmap = await createImageBitmap(image).catch(() => undefined);
  if (!bitmap) return undefined;
  const { width, height } = bitmap;
  bitmap.close();
  return [width, height];
}

/** An address under which the browser shows a blob. */
export function useUrl(blob: Blob | undefined): string | undefined {
  const [url, setUrl] = useState<string>();
  useEffect(() => setUrl(blob && URL.createObjectURL(blob)), [blob]);
  // Revoked once the page no longer shows it: an image that begins to load just then would fail.
  useEffect(() => () => {
    if (url) URL.revokeObjectURL(url);
  }, [url]);
  return url;
}
