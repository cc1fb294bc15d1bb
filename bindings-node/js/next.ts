/**
 * Next.js. `next.config` imports this module, so it loads no native code and doesn't import `next`.
 */

/** What of a Next.js configuration `withAyni` reads. */
interface NextConfig {
  serverExternalPackages?: string[] | undefined;
}

/**
 * The configuration with `ayni` left out of the bundles of the server, which cannot hold native code:
 * `export default withAyni({ … })`.
 */
export function withAyni<C extends object>(config?: C): C & { serverExternalPackages: string[] } {
  const given = (config as NextConfig | undefined)?.serverExternalPackages ?? [];
  const packages = given.includes("ayni") ? [...given] : [...given, "ayni"];
  return { ...(config as C), serverExternalPackages: packages };
}

export { type ChatRouteOptions, chatRoutes } from "./service/chat.js";
export { clipRoutes } from "./service/clip.js";
export { type StreamedEvent, eventStream } from "./service/events.js";
export { imageRoutes } from "./service/images.js";
export { type OpenAiHandles, openaiRoutes } from "./service/openai.js";
export { procurementRoutes } from "./service/procurement.js";
export type { Exchange, Part, Route, Router } from "./service/router.js";
export { type Service, service } from "./service/service.js";
export { type LogRecord, type ServiceSettings, settingsFromEnv } from "./service/settings.js";
export { type Summary, triageRoutes } from "./service/triage.js";
