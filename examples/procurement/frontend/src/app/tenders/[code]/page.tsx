import type { Metadata } from "next";

import { TenderPage } from "../../../parts/tender-page.tsx";

interface Props {
  params: Promise<{ code: string }>;
}

export async function generateMetadata({ params }: Props): Promise<Metadata> {
  return { title: decodeURIComponent((await params).code) };
}

export default async function Page({ params }: Props) {
  return <TenderPage code={decodeURIComponent((await params).code)} />;
}
