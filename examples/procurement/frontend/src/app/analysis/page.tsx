import type { Metadata } from "next";
import { Suspense } from "react";

import { AnalysisPage } from "../../parts/analysis-page.tsx";

export const metadata: Metadata = { title: "Análisis con IA" };

export default function Page() {
  return (
    <Suspense>
      <AnalysisPage />
    </Suspense>
  );
}
