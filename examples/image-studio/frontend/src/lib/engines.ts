/** Where the engines are, and the keys that they want. */

import { createClient, getApiBase } from "ayni/browser";
import { type EngineName, type EngineStatus, type ImageEngines, imageEngines } from "ayni/browser/images";
import { useQuery } from "ayni-ui";
import { useCallback, useMemo, useState } from "react";

interface Told {
  cloud?: string;
  local?: string;
  /** Whether the local engine's model is one for tests, whose weights are random. */
  randomWeights?: boolean;
}

function told(): Told {
  const text = document.querySelector<HTMLMetaElement>('meta[name="studio"]')?.content;
  return text ? JSON.parse(text) : {};
}

const SPACE = ["aura-reflect", "aura-engine"] as const;
const NEAR = /^(localhost|127\.0\.0\.1|\[::1\])$/;

export const settings = {
  ...told(),
  bases: basesOf(told()),
};

/** An engine without an address is not configured. A page from elsewhere asks this machine only where it is told to. */
function basesOf({ cloud, local }: Told): Record<EngineName, string | undefined> {
  const { hostname } = window.location;
  const url = cloud ?? import.meta.env.VITE_CLOUD_ENGINE_URL;
  const hasSpace = hostname.endsWith(".hf.space") && hostname.includes(SPACE[0]);
  const near = NEAR.test(hostname) ? "http://localhost:8000" : undefined;
  return {
    cloud: url || hasSpace ? getApiBase({ space: SPACE, url }) : undefined,
    local: (local ?? import.meta.env.VITE_LOCAL_ENGINE_URL ?? near)?.replace(/\/+$/, "") || undefined,
  };
}

export const NAMES = ["local", "cloud"] as const satisfies readonly EngineName[];

export type Keys = Partial<Record<EngineName, string>>;

/** The engines, with the keys of this tab. */
export function useEngines() {
  const [keys, setKeys] = useState<Keys>(() => JSON.parse(sessionStorage.getItem("keys") ?? "{}"));
  const engines = useMemo<ImageEngines>(() => {
    const [local, cloud] = NAMES.map((name) => {
      const base = settings.bases[name];
      return base === undefined ? undefined : createClient({ base, apiKey: keys[name] || undefined });
    });
    return imageEngines({ local, cloud });
  }, [keys]);
  const setKey = useCallback((name: EngineName, key: string) => {
    setKeys((before) => {
      const after = { ...before, [name]: key };
      sessionStorage.setItem("keys", JSON.stringify(after));
      return after;
    });
  }, []);
  return { engines, keys, setKey };
}

const SOON_MS = 5000;
const LATER_MS = 20_000;

/** How an engine is, asked again and again. */
export function useStatus(engines: ImageEngines, name: EngineName) {
  const [every, setEvery] = useState(SOON_MS);
  return useQuery<EngineStatus>(
    `status ${name}`,
    async (signal) => {
      const found = await engines.status(name, signal);
      setEvery(found.state === "ready" || found.state === "not_configured" ? LATER_MS : SOON_MS);
      return found;
    },
    every,
  );
}

export type Statuses = Record<EngineName, ReturnType<typeof useStatus>>;
