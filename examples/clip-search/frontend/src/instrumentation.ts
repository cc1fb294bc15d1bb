/** Begins to index when the server starts, before the first visit. What is wrong with the settings is in the log, and on the page. */
export async function register(): Promise<void> {
  if (process.env.NEXT_RUNTIME !== "nodejs") return;
  const { app } = await import("./server/app.ts");
  try {
    await (await app()).load();
  } catch (error) {
    console.error(`the index cannot be started: ${error instanceof Error ? error.message : error}`);
  }
}
