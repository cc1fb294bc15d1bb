import { Suspense } from "react";

import type { Image } from "../lib/api.ts";
import { type FirstImages, SHOWN_AT_ONCE } from "../lib/first.ts";
import { SearchPage } from "../parts/search-page.tsx";
import { app } from "../server/app.ts";

/** The first images stand in the first answer, so that the browser loads them before the scripts have run. */
async function firstImages(): Promise<FirstImages | undefined> {
  try {
    const answer = await (await app()).handle(new Request("http://localhost/api/images"));
    if (!answer.ok) return undefined;
    const { images }: { images: Image[] } = await answer.json();
    return { images: images.slice(0, SHOWN_AT_ONCE), all: images.length };
  } catch {
    // The page asks for itself, and says what is wrong.
    return undefined;
  }
}

interface Props {
  searchParams: Promise<Record<string, string | string[] | undefined>>;
}

export default async function Page({ searchParams }: Props) {
  const { q, like, image } = await searchParams;
  const first = q || like || image ? undefined : await firstImages();
  return (
    <Suspense>
      <SearchPage first={first} />
    </Suspense>
  );
}
