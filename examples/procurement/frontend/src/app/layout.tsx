import "./globals.css";

import { type Density, type Language, SettingsProvider, type Theme, ToastProvider } from "ayni-ui";
import type { Metadata, Viewport } from "next";
import localFont from "next/font/local";
import { cookies } from "next/headers";
import type { ReactNode } from "react";

import { ApiProvider } from "../lib/api.tsx";
import { Frame } from "../parts/frame.tsx";

const inter = localFont({
  // It is preloaded; where it is late all the same, this visit goes without it, and no line breaks anew.
  display: "optional",
  src: "../../../../node_modules/@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
  variable: "--font-sans",
  weight: "100 900",
});

export const metadata: Metadata = {
  title: { default: "AndesOps · Mercado Público", template: "%s · AndesOps" },
  description: "Órdenes de compra, licitaciones y Compra Ágil de Chile, con análisis que muestra sus pruebas.",
};

export const viewport: Viewport = {
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#ffffff" },
    { media: "(prefers-color-scheme: dark)", color: "#191b18" },
  ],
};

/** The cookies are read here, so that the first answer has the right language, theme and density. */
export default async function Layout({ children }: { children: ReactNode }) {
  const chosen = await cookies();
  const language: Language = chosen.get("language")?.value === "en" ? "en" : "es";
  const theme = (["light", "dark"] as const satisfies readonly Theme[]).find((one) => one === chosen.get("theme")?.value);
  const density: Density = chosen.get("density")?.value === "compact" ? "compact" : "comfortable";
  // Read when the page is served, so that one image serves every deployment.
  const url = process.env.API_URL || process.env.NEXT_PUBLIC_API_URL;
  return (
    <html className={inter.variable} data-density={density} data-theme={theme} lang={language}>
      <body>
        <SettingsProvider density={density} language={language} theme={theme}>
          <ToastProvider>
            <ApiProvider url={url}>
              <Frame>{children}</Frame>
            </ApiProvider>
          </ToastProvider>
        </SettingsProvider>
      </body>
    </html>
  );
}
