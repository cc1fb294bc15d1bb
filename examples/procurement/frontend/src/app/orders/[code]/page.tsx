import type { Metadata } from "next";

import { OrderPage } from "../../../parts/order-page.tsx";

interface Props {
  params: Promise<{ code: string }>;
}

export async function generateMetadata({ params }: Props): Promise<Metadata> {
  return { title: decodeURIComponent((await params).code) };
}

export default async function Page({ params }: Props) {
  return <OrderPage code={decodeURIComponent((await params).code)} />;
}
