/** The frame around every page: navigation, the gauge of the quota, language and theme. */

"use client";

import { count, Icon, type IconName, Mark, Meter, SettingsButtons, useQuery, useSettings } from "ayni-ui";
import Link from "next/link";
import { usePathname } from "next/navigation";
import { type ReactNode, useEffect } from "react";

import { useApi } from "../lib/api.tsx";
import type { Quota } from "../lib/records.ts";
import { useWords } from "../lib/words.ts";

const QUOTA_EVERY_MS = 15_000;

export function Frame({ children }: { children: ReactNode }) {
  const words = useWords();
  const path = usePathname();
  const places: [string, IconName, string, boolean][] = [
    ["/", "activity", words.monitor, path === "/" || path.startsWith("/orders")],
    ["/tenders", "search", words.search, path.startsWith("/tenders") || path.startsWith("/quick")],
    ["/analysis", "spark", words.analysis, path.startsWith("/analysis")],
  ];
  useEffect(() => {
    // `/` goes to the field that searches, as in many applications.
    function onKey(event: KeyboardEvent) {
      const target = event.target as HTMLElement;
      if (event.key !== "/" || event.ctrlKey || event.metaKey || target.matches("input, textarea, select")) return;
      const field = document.querySelector<HTMLElement>("[data-search]");
      if (field) event.preventDefault();
      field?.focus();
    }
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);

  return (
    <>
      <a className="skip" href="#content">
        {words.skip}
      </a>
      <header className="frame-bar">
        <Link className="frame-brand" href="/">
          <Mark />
          {words.brand}
        </Link>
        <nav aria-label={words.brand} className="frame-nav">
          {places.map(([href, icon, label, here]) => (
            <Link aria-current={here ? "page" : undefined} href={href} key={href}>
              <Icon name={icon} />
              {label}
            </Link>
          ))}
        </nav>
        <div className="frame-tools">
          <QuotaGauge />
          <SettingsButtons />
        </div>
      </header>
      <main className="page" id="content" tabIndex={-1}>
        {children}
      </main>
    </>
  );
}

function QuotaGauge() {
  const words = useWords();
  const { language } = useSettings();
  const { client } = useApi();
  const quota = useQuery(client && "quota", (signal) => client!.get<Quota>("/api/quota", {}, { signal }), QUOTA_EVERY_MS);
  const found = quota.data;
  // The place is kept, so that nothing moves when the answer comes.
  if (!found) return <span className="quota" />;
  const share = found.used / Math.max(found.limit, 1);
  const tone = found.spent || share >= 1 ? "danger" : share > 0.8 ? "warn" : undefined;
  const text = `${count(language, found.used)} ${words.quotaOf} ${count(language, found.limit)}`;
  return (
    <span className="quota" title={`${words.quota}: ${text}`}>
      <span>
        <span>{words.quota}</span>
        <span className="number">{count(language, found.used)}</span>
      </span>
      <Meter label={`${words.quota}: ${text}`} max={found.limit} tone={tone} value={found.used} />
    </span>
  );
}
