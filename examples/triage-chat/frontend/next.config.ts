import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

import type { NextConfig } from "next";

// The folder of all examples: packages and components are shared.
const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const config: NextConfig = {
  agentRules: false,
  // Styles within the page: one request less before anything is painted.
  experimental: { agentUpgrade: false, inlineCss: true },
  // No page has images to resize; build.mjs takes out what would do it.
  images: { unoptimized: true },
  output: "standalone",
  outputFileTracingRoot: root,
  poweredByHeader: false,
  reactStrictMode: true,
  transpilePackages: ["ayni-ui"],
  turbopack: { root },
};

export default config;
