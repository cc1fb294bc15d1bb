/** AI Analysis: asks a model about a tender and shows what the record bears out of its answer. */

"use client";

import { Button, Check, Field, Menu, Notice, Select, Skeleton, State, time, useQuery, useSettings, useToast, useView } from "ayni-ui";
import type { Block } from "ayni-ui/files/pdf";
import type { records } from "ayni";
import Link from "next/link";
import { type FormEvent, useMemo, useState } from "react";

import { ASKS, type Ask, type Run, useAnalysis } from "../lib/analysis.ts";
import { useApi } from "../lib/api.tsx";
import { pageOf, readFull } from "../lib/records.ts";
import { pathName, useWords, type Words } from "../lib/words.ts";
import { Claims, reasonOf } from "./claims.tsx";
import { Fields } from "./fields.tsx";
import { Problem } from "./problem.tsx";
import { Share } from "./share.tsx";

const DEFAULTS = { code: "", asks: "summary,risks,deadlines", model: "", q: "" };

interface Models {
  models: { name: string; model: string | null; problem: string | null }[];
  default: string | null;
}

export function AnalysisPage() {
  const words = useWords();
  const { language } = useSettings();
  const { client } = useApi();
  const [view, setView] = useView(DEFAULTS);
  const code = view.code.trim().toUpperCase();
  const record = useQuery(client && code && `tender ${code}`, (signal) => readFull<records.Tender>(client!, "tender", code, { signal }));
  const { run, error, ask, goOn, stop } = useAnalysis(code, language);
  const [lit, setLit] = useState<string>();
  const running = run?.status === "running";
  const cited = useMemo(() => run?.answers.flatMap((answer) => answer.claims.flatMap(({ citations }) => citations)) ?? [], [run]);

  return (
    <>
      <div className="page-head">
        <div>
          <h1>{words.analysisTitle}</h1>
          <p>{words.analysisText}</p>
        </div>
        <div className="row page-actions">
          <Share />
          {run?.answers.length && record.data ? <Export name={record.data.record.row.name} run={run} /> : null}
        </div>
      </div>
      <Form
        key={view.code}
        onRun={(wanted) => {
          setView({ code: wanted.code, asks: wanted.asks.join(","), model: wanted.model, q: wanted.question });
          ask(wanted);
        }}
        onStop={stop}
        running={running}
        setView={setView}
        view={view}
      />
      {error ? (
        <section className="panel">
          <Problem again={goOn} error={error} />
        </section>
      ) : run?.status === "cut" || run?.status === "failed" ? (
        <Notice
          action={
            <Button icon="play" onClick={goOn}>
              {words.goOn}
            </Button>
          }
          icon="warning"
          tone={run.status === "failed" ? "danger" : "warn"}
        >
          <strong>{words.cut}</strong>
          {". "}
          {run.failure?.message ?? words.cutText}
        </Notice>
      ) : null}
      {code ? (
        <div className="columns">
          <div className="stack">
            {record.data ? (
              <p className="row">
                <Link href={pageOf("tender", code)}>{record.data.record.row.name.trim()}</Link>
                <span className="muted mono">{code}</span>
              </p>
            ) : null}
            {run?.answers.map((answer) => (
              <Claims answer={answer} key={answer.ask} onCite={setLit} running={running} />
            ))}
            {running && run.answers.length === 0 ? <Skeleton label={words.askingModel} rows={4} /> : null}
          </div>
          <div className="stack">
            {record.data ? (
              <Fields cited={cited} lit={lit} record={record.data.record} />
            ) : record.error ? (
              <section className="panel">
                <Problem again={record.again} error={record.error} />
              </section>
            ) : (
              <Skeleton label={words.loading} rows={6} />
            )}
          </div>
        </div>
      ) : (
        <section className="panel">
          <State
            actions={
              <Link className="button" href="/tenders">
                {words.search}
              </Link>
            }
            icon="spark"
            title={words.emptyAnalysis}
          >
            {words.emptyAnalysisText}
          </State>
        </section>
      )}
    </>
  );
}

interface FormProps {
  view: typeof DEFAULTS;
  setView: (change: Partial<typeof DEFAULTS>, how?: "push" | "replace") => void;
  running: boolean;
  onRun: (wanted: { code: string; asks: Ask[]; question: string; model: string }) => void;
  onStop: () => void;
}

function Form({ view, setView, running, onRun, onStop }: FormProps) {
  const words = useWords();
  const { client } = useApi();
  const [code, setCode] = useState(view.code);
  const [question, setQuestion] = useState(view.q);
  const models = useQuery(client && "models", (signal) => client!.get<Models>("/api/models", {}, { signal }));
  const asks = ASKS.filter((ask) => view.asks.split(",").includes(ask));
  const usable = models.data?.models.filter(({ problem }) => problem === null) ?? [];
  const choices = [
    { value: "", label: usable.length || !models.data ? words.automatic : words.noModel },
    ...(models.data?.models ?? []).map(({ name, model, problem }) => ({ value: name, label: [name, problem ?? model].filter(Boolean).join(": "), disabled: problem !== null })),
  ];
  function submit(event: FormEvent) {
    event.preventDefault();
    if (running) onStop();
    else onRun({ code: code.trim().toUpperCase(), asks: question.trim() ? ["question"] : asks, question: question.trim(), model: view.model });
  }
  return (
    <form className="panel" onSubmit={submit}>
      <div className="panel-body stack" style={{ paddingTop: 16 }}>
        <div className="ask-form">
          <Field label={words.whichTender}>
            <input className="input mono" data-search onChange={(event) => setCode(event.target.value)} pattern="[0-9A-Za-z\-]+" placeholder="1057389-12-LE26" required value={code} />
          </Field>
          <Select choices={choices} label={words.model} onChange={(model) => setView({ model }, "replace")} value={view.model} />
          <Button disabled={!client || (asks.length === 0 && !question.trim())} icon={running ? "stop" : "spark"} look={running ? "plain" : "main"} type="submit">
            {running ? words.stop : words.run}
          </Button>
        </div>
        <div aria-label={words.ask} className="row" role="group" style={{ columnGap: 16 }}>
          {ASKS.map((ask) => (
            <Check
              checked={asks.includes(ask)}
              disabled={question.trim() !== ""}
              key={ask}
              label={words[ask]}
              onChange={(on) => setView({ asks: ASKS.filter((one) => (one === ask ? on : asks.includes(one))).join(",") }, "replace")}
            />
          ))}
        </div>
        <Field label={words.freeQuestion}>
          <input className="input" maxLength={4000} onChange={(event) => setQuestion(event.target.value)} value={question} />
        </Field>
      </div>
    </form>
  );
}

/** The analysis as a file, with what was dropped. */
function Export({ run, name }: { run: Run; name: string }) {
  const words = useWords();
  const { language } = useSettings();
  const toast = useToast();

  async function asPdf() {
    const [{ pdf }, { save }] = await Promise.all([import("ayni-ui/files/pdf"), import("ayni-ui/files/save")]);
    const title = `${words.analysisTitle}: ${run.code}`;
    const footer = `${run.code} · ${time(language, new Date().toISOString())}`;
    save(pdf(blocksOf(run, name, title, words, language), { title, footer, language }), "application/pdf", `${run.code}-analisis.pdf`);
    toast(words.exported);
  }
  async function asSheet(form: "csv" | "xlsx") {
    const [{ csv, xlsx }, { save }] = await Promise.all([import("ayni-ui/files/sheet"), import("ayni-ui/files/save")]);
    const rows = run.answers.flatMap((answer) => [
      ...answer.claims.map((claim) => [words[answer.ask], claim.text, claim.citations.map(({ path }) => path).join(" "), ""]),
      ...answer.rejected.map((claim) => [words[answer.ask], claim.text, "", `${words.droppedWhy}: ${reasonOf(claim, words)}`]),
    ]);
    const sheet = { name: run.code, head: [words.ask, words.claims, words.fields, words.dropped], rows };
    if (form === "csv") save(csv(sheet), "text/csv;charset=utf-8", `${run.code}-analisis.csv`);
    else save(xlsx(sheet), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", `${run.code}-analisis.xlsx`);
    toast(words.exported);
  }
  return (
    <Menu
      icon="download"
      items={[
        { label: "PDF", icon: "document", onSelect: () => void asPdf() },
        { label: "CSV", icon: "table", onSelect: () => void asSheet("csv") },
        { label: "Excel (XLSX)", icon: "table", onSelect: () => void asSheet("xlsx") },
      ]}
      label={words.export}
    />
  );
}

function blocksOf(run: Run, name: string, title: string, words: Words, language: "es" | "en"): Block[] {
  const blocks: Block[] = [{ kind: "title", text: title }, { kind: "text", text: name }];
  for (const answer of run.answers) {
    blocks.push({ kind: "heading", text: words[answer.ask] });
    for (const claim of answer.claims) {
      blocks.push({ kind: "text", text: `• ${claim.text}` }, { kind: "small", text: claim.citations.map(({ path, value }) => `${pathName(path, language)}: ${value}`).join("; ") });
    }
    for (const claim of answer.rejected) blocks.push({ kind: "small", text: `${words.droppedWhy}: ${claim.text} (${reasonOf(claim, words)})` });
    blocks.push({ kind: "small", text: `${words.answeredBy} ${answer.model}` });
  }
  return blocks;
}
