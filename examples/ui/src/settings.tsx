/** Language, theme and density of tables: cookies, so that the server's first answer already has them and nothing jumps. */

"use client";

import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";

import { Button } from "./controls.tsx";
import { Icon } from "./icons.tsx";

export type Language = "es" | "en";
export type Theme = "light" | "dark";
export type Density = "comfortable" | "compact";

interface Settings {
  language: Language;
  /** As it is shown: chosen, or the device's. */
  theme: Theme;
  density: Density;
  setLanguage: (language: Language) => void;
  setTheme: (theme: Theme) => void;
  setDensity: (density: Density) => void;
}

const Context = createContext<Settings | null>(null);

const YEAR_SECONDS = 31_536_000;

function remember(name: string, value: string) {
  // biome-ignore lint/suspicious/noDocumentCookie: works in every browser, also without a secure context.
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR_SECONDS}; samesite=lax`;
}

export function SettingsProvider(props: { language: Language; theme: Theme | undefined; density?: Density; children: ReactNode }) {
  const [language, setLanguage] = useState(props.language);
  const [chosen, setTheme] = useState(props.theme);
  const [density, setDensity] = useState(props.density ?? "comfortable");
  const [device, setDevice] = useState<Theme>("light");
  useEffect(() => {
    const query = window.matchMedia("(prefers-color-scheme: dark)");
    const update = () => setDevice(query.matches ? "dark" : "light");
    update();
    query.addEventListener("change", update);
    return () => query.removeEventListener("change", update);
  }, []);
  const theme = chosen ?? device;
  const settings = useMemo<Settings>(
    () => ({
      language,
      theme,
      density,
      setLanguage(chosen) {
        remember("language", chosen);
        document.documentElement.lang = chosen;
        setLanguage(chosen);
      },
      setTheme(chosen) {
        remember("theme", chosen);
        document.documentElement.dataset.theme = chosen;
        setTheme(chosen);
      },
      setDensity(chosen) {
        remember("density", chosen);
        document.documentElement.dataset.density = chosen;
        setDensity(chosen);
      },
    }),
    [language, theme, density],
  );
  return <Context value={settings}>{props.children}</Context>;
}

export function useSettings(): Settings {
  const found = useContext(Context);
  if (!found) throw new Error("useSettings needs a SettingsProvider above it");
  return found;
}

const WORDS = {
  es: { language: "English", dark: "Tema oscuro", light: "Tema claro", compact: "Filas compactas" },
  en: { language: "Español", dark: "Dark theme", light: "Light theme", compact: "Compact rows" },
};

/** The two buttons for them. */
export function SettingsButtons() {
  const { language, theme, setLanguage, setTheme } = useSettings();
  const [words, other] = [WORDS[language], language === "es" ? ("en" as const) : ("es" as const)];
  const isDark = theme === "dark";
  return (
    <>
      <button aria-label={`${other.toUpperCase()}: ${words.language}`} className="button" data-look="quiet" lang={other} onClick={() => setLanguage(other)} title={words.language} type="button">
        <Icon name="globe" />
        {other.toUpperCase()}
      </button>
      <Button icon={isDark ? "sun" : "moon"} label={isDark ? words.light : words.dark} look="quiet" onClick={() => setTheme(isDark ? "light" : "dark")} />
    </>
  );
}

/** The button for the density, beside tables. */
export function DensityButton() {
  const { language, density, setDensity } = useSettings();
  const isCompact = density === "compact";
  return <Button aria-pressed={isCompact} icon="rows" label={WORDS[language].compact} onClick={() => setDensity(isCompact ? "comfortable" : "compact")} />;
}
