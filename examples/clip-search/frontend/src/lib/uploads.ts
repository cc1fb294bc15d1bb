/** Images that are put into the folder, one after the other. */

"use client";

import { AyniError } from "ayni/browser";
import { useCallback, useState } from "react";

import { client } from "./api.ts";

export interface Upload {
  id: number;
  name: string;
  status: "waiting" | "sending" | "failed";
  error?: AyniError;
}

/** A failure with the status that a server has for what is too large; found before anything is sent. */
export function tooLarge(): AyniError {
  return new AyniError("", { code: "invalid_request", status: 413 });
}

let last = 0;

export function useUploads(largestBytes: number, onStored: (count: number) => void) {
  const [uploads, setUploads] = useState<readonly Upload[]>([]);
  const send = useCallback(
    async (files: readonly File[]) => {
      const mine = files.map((file) => ({ file, id: ++last }));
      setUploads((all) => [...all.filter(({ status }) => status !== "failed"), ...mine.map(({ id, file }) => ({ id, name: file.name, status: "waiting" as const }))]);
      const change = (id: number, more: Partial<Upload> | null) =>
        setUploads((all) => (more ? all.map((one) => (one.id === id ? { ...one, ...more } : one)) : all.filter((one) => one.id !== id)));
      let stored = 0;
      for (const { file, id } of mine) {
        change(id, { status: "sending" });
        try {
          if (file.size > largestBytes) throw tooLarge();
          const headers = { "content-type": file.type.startsWith("image/") ? file.type : "image/*" };
          await client.request(`/images?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file, headers });
          change(id, null);
          stored++;
        } catch (error) {
          change(id, { status: "failed", error: error instanceof AyniError ? error : new AyniError(String(error), { code: "unexpected" }) });
        }
      }
      if (stored) onStored(stored);
    },
    [largestBytes, onStored],
  );
  const forget = useCallback(() => setUploads((all) => all.filter(({ status }) => status !== "failed")), []);
  return { uploads, send, forget };
}
