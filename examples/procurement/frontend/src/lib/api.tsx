/** Where the backend is, the client for it, and its key where it wants one. */

"use client";

import { createClient, getApiBase } from "ayni/browser";
import { useTabKey } from "ayni-ui";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";

export type Client = ReturnType<typeof createClient>;

interface Api {
  /** Null until the page runs in the browser. */
  client: Client | null;
  /** Sent with every request of this tab from now on. */
  giveKey: (key: string) => void;
}

const Context = createContext<Api>({ client: null, giveKey: () => undefined });

export function ApiProvider({ url, children }: { url: string | undefined; children: ReactNode }) {
  const [base, setBase] = useState<string>();
  const [key, giveKey] = useTabKey();
  useEffect(() => setBase(getApiBase({ space: ["andesops-ai", "andesai-backend"], url, local: "http://localhost:8000" })), [url]);

  const api = useMemo<Api>(
    () => ({
      client: base === undefined ? null : createClient({ base, apiKey: key }),
      giveKey,
    }),
    [base, key, giveKey],
  );
  return <Context value={api}>{children}</Context>;
}

export const useApi = () => useContext(Context);
