import { Suspense } from "react";

import { SearchPage } from "../parts/search-page.tsx";

export default function Page() {
  return (
    <Suspense>
      <SearchPage />
    </Suspense>
  );
}
