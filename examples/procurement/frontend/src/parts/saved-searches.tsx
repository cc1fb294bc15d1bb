/** The saved searches, each with how much is new in it. */

"use client";

import { Badge, Button, count, useSettings } from "ayni-ui";
import { useEffect, useState } from "react";

import { useApi } from "../lib/api.tsx";
import type { SavedSearch, useSaved } from "../lib/saved.ts";
import { matches, opportunities, SEARCH, search } from "../lib/search.ts";
import { useWords } from "../lib/words.ts";

/** How many are looked through at a visit: each costs requests where the backend has no fresh answer. */
const MOST_CHECKED = 5;

interface Props {
  saved: ReturnType<typeof useSaved>;
  active: string;
  onOpen: (search: SavedSearch) => void;
}

export function SavedSearches({ saved, active, onOpen }: Props) {
  const words = useWords();
  const { language } = useSettings();
  const fresh = useFreshCounts(saved.searches);
  if (saved.searches.length === 0) return null;
  return (
    <section aria-label={words.saved} className="panel">
      <div className="panel-head">
        <h2>{words.saved}</h2>
      </div>
      <ul className="saved panel-body">
        {saved.searches.map((one) => (
          <li key={one.name}>
            <button aria-current={one.query === active ? "true" : undefined} onClick={() => onOpen(one)} type="button">
              <span>{one.name}</span>
              {fresh[one.name] ? (
                <Badge tone="accent">
                  {count(language, fresh[one.name] ?? 0)} {words.new}
                </Badge>
              ) : null}
            </button>
            <Button icon="close" label={`${words.remove}: ${one.name}`} look="quiet" onClick={() => saved.remove(one.name)} />
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Looks through the searches one after the other, when the page is opened and when one changes. */
function useFreshCounts(searches: readonly SavedSearch[]): Record<string, number> {
  const { client } = useApi();
  const [fresh, setFresh] = useState<Record<string, number>>({});
  useEffect(() => {
    if (!client) return;
    const stop = new AbortController();
    (async () => {
      for (const one of searches.slice(0, MOST_CHECKED)) {
        const wanted = { ...SEARCH, ...Object.fromEntries(new URLSearchParams(one.query)) };
        // Whether a row is of a category is known only once its details are read.
        const found = await search(client, wanted, stop.signal);
        const rows = opportunities(found, () => undefined, () => undefined).filter(matches({ ...wanted, category: "" }, Date.now()));
        const seen = new Set(one.seen);
        const many = wanted.category ? 0 : rows.filter(({ code }) => !seen.has(code)).length;
        setFresh((before) => ({ ...before, [one.name]: many }));
      }
      // The search in the page says what went wrong, if something did.
    })().catch(() => undefined);
    return () => stop.abort();
  }, [client, searches]);
  return fresh;
}
