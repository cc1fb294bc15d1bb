/** For the container's health check. */
export function GET(): Response {
  return Response.json({ status: "healthy" });
}
