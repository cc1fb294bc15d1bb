import type { Metadata } from "next";
import { Suspense } from "react";

import { TenderSearch } from "../../parts/tender-search.tsx";

export const metadata: Metadata = { title: "Búsqueda de oportunidades" };

export default function Page() {
  return (
    <Suspense>
      <TenderSearch />
    </Suspense>
  );
}
