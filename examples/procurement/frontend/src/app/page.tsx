import { Suspense } from "react";

import { Monitor } from "../parts/monitor.tsx";

export default function Page() {
  return (
    <Suspense>
      <Monitor />
    </Suspense>
  );
}
