import "./app.css";

import { type Language, SettingsProvider, type Theme, ToastProvider } from "ayni-ui";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Studio } from "./parts/studio.tsx";

// As index.html has set them from the cookies.
const { lang, dataset } = document.documentElement;

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <SettingsProvider language={(lang === "en" ? "en" : "es") satisfies Language} theme={dataset.theme as Theme | undefined}>
      <ToastProvider>
        <Studio />
      </ToastProvider>
    </SettingsProvider>
  </StrictMode>,
);
