/** Uploads on their way, and those that failed with why. */

"use client";

import { Button, Notice } from "ayni-ui";

import { isOwnServerAway } from "../lib/api.ts";
import type { Upload } from "../lib/uploads.ts";
import { bytesText, useWords, type Words } from "../lib/words.ts";

function reasonOf(words: Words, { error }: Upload, largestBytes: number): string {
  if (error?.status === 413) return `${words.tooLarge} ${bytesText(largestBytes)}`;
  if (isOwnServerAway(error)) return words.away;
  return error?.code === "invalid_request" ? words.badImageText : (error?.message ?? "");
}

export function UploadList({ uploads, largestBytes, onForget }: { uploads: readonly Upload[]; largestBytes: number; onForget: () => void }) {
  const words = useWords();
  const [failed, going] = [uploads.filter(({ status }) => status === "failed"), uploads.filter(({ status }) => status !== "failed")];
  return (
    <>
      {going.length ? (
        <Notice icon="upload">
          {words.sending}: {going[0]?.name}
          {going.length > 1 ? ` (+${going.length - 1})` : ""}
        </Notice>
      ) : null}
      {failed.length ? (
        <Notice
          action={
            <Button icon="close" look="quiet" onClick={onForget}>
              {words.dismiss}
            </Button>
          }
          icon="warning"
          tone="danger"
        >
          {failed.map((one) => `${one.name}: ${reasonOf(words, one, largestBytes)}`).join(" · ")}
        </Notice>
      ) : null}
    </>
  );
}
