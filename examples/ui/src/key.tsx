/** The key that a backend asks for: it stays in this tab. */

"use client";

import { type FormEvent, useCallback, useEffect, useState } from "react";

import { Button, Field } from "./controls.tsx";

const NAME = "api-key";

/** The key of this tab, and what sets it. */
export function useTabKey(): [string | undefined, (key: string) => void] {
  const [key, setKey] = useState<string>();
  useEffect(() => setKey(sessionStorage.getItem(NAME) ?? undefined), []);
  const give = useCallback((given: string) => {
    sessionStorage.setItem(NAME, given);
    setKey(given);
  }, []);
  return [key, give];
}

export function KeyForm({ label, use, onKey }: { label: string; use: string; onKey: (key: string) => void }) {
  const [key, setKey] = useState("");
  function submit(event: FormEvent) {
    event.preventDefault();
    onKey(key.trim());
  }
  return (
    <form className="row" onSubmit={submit} style={{ alignItems: "end" }}>
      <Field label={label}>
        <input autoComplete="off" className="input" onChange={(event) => setKey(event.target.value)} required type="password" value={key} />
      </Field>
      <Button icon="key" look="main" type="submit">
        {use}
      </Button>
    </form>
  );
}
