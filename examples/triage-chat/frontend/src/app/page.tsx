import { Triage } from "../parts/triage.tsx";

// Read when the page is served, so that one image serves every deployment.
export const dynamic = "force-dynamic";

export default function Page() {
  return <Triage url={process.env.API_URL || process.env.NEXT_PUBLIC_API_URL} />;
}
