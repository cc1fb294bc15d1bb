/** What the pages of the examples share. */

export * from "./charts.tsx";
export * from "./clock.ts";
export * from "./controls.tsx";
export * from "./decimal.ts";
export * from "./format.ts";
export * from "./grid.tsx";
export * from "./icons.tsx";
export * from "./key.tsx";
export * from "./menu.tsx";
export * from "./query.ts";
export * from "./settings.tsx";
export * from "./states.tsx";
export * from "./toast.tsx";
export * from "./view.ts";
