import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

import type { NextConfig } from "next";

// The folder of all examples: packages and components are shared.
const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const config: NextConfig = {
  agentRules: false,
  experimental: { agentUpgrade: false },
  output: "standalone",
  outputFileTracingRoot: root,
  poweredByHeader: false,
  reactStrictMode: true,
  transpilePackages: ["ayni-ui"],
  turbopack: { root },
};

export default config;
