import { defineConfig } from "vite";

export default defineConfig({
  build: {
    target: "es2022",
    rolldownOptions: {
      onLog(level, log, report) {
        // `"use client"` of the shared components says nothing here: all of it runs in the browser.
        if (log.code !== "MODULE_LEVEL_DIRECTIVE") report(level, log);
      },
    },
  },
  server: { port: 5173 },
});
