"use client";

import { money, time, useSettings } from "ayni-ui";
import type { records } from "ayni";

import { useWords } from "../lib/words.ts";
import { Documents, RecordPage, Section } from "./record-page.tsx";

/** The page of a tender. */
export function TenderPage({ code }: { code: string }) {
  return (
    <RecordPage<records.Tender>
      code={code}
      kind="tender"
      shownOf={(tender, words, language) => ({
        code: tender.row.code,
        name: tender.row.name.trim(),
        state: tender.row.state,
        description: tender.description,
        closes: tender.row.closes,
        facts: [
          [words.buyer, tender.buyer?.name],
          [words.region, tender.buyer?.region],
          [words.kind, tender.kind],
          [words.estimate, tender.estimated_amount ? money(language, tender.estimated_amount) : null],
          [words.payment, tender.payment],
        ],
        dates: [
          [words.created, tender.dates.created],
          [words.published, tender.published],
          [words.questionsFrom, tender.dates.questions_from],
          [words.questionsUntil, tender.dates.questions_until],
          [words.answers, tender.dates.answers],
          [words.siteVisit, tender.dates.site_visit],
          [words.closes, tender.row.closes],
          [words.technicalOpening, tender.dates.technical_opening],
          [words.economicOpening, tender.dates.economic_opening],
          [words.expectedAward, tender.dates.expected_award],
          [words.awarded, tender.dates.awarded],
          [words.expectedSignature, tender.dates.expected_signature],
        ],
        items: tender.items,
        more: (
          <>
            {tender.award ? <Award award={tender.award} /> : null}
            {tender.bidders.length ? (
              <Section title={`${words.bidders} (${tender.bidders.length})`}>
                <ul>
                  {tender.bidders.map((bidder) => (
                    <li key={bidder.code}>
                      {bidder.name} <span className="muted mono">{bidder.tax_number}</span>
                    </li>
                  ))}
                </ul>
              </Section>
            ) : null}
            <Documents documents={tender.documents} />
          </>
        ),
      })}
    />
  );
}

function Award({ award }: { award: records.Award }) {
  const words = useWords();
  const { language } = useSettings();
  const facts = [
    [words.awarded, award.date ? time(language, award.date) : null],
    [words.code, award.number],
    [words.bidders, award.bidders],
    [words.total, award.value ? money(language, award.value) : null],
    [words.supplier, award.suppliers.map(({ name }) => name).join(", ")],
  ] as const;
  return (
    <Section title={words.awards}>
      <dl className="facts">
        {facts.map(([label, value]) =>
          value ? (
            <div key={label}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          ) : null,
        )}
      </dl>
      {award.page && /^https?:\/\//.test(award.page) ? (
        <p>
          <a href={award.page} rel="noreferrer" target="_blank">
            {words.openSource}
          </a>
        </p>
      ) : null}
    </Section>
  );
}
