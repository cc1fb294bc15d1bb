/** The state of a record in words and colour. */

"use client";

import { Badge, type Tone, useSettings } from "ayni-ui";

const STATES: Record<string, readonly [tone: Tone, es: string, en: string]> = {
  published: ["ok", "Publicada", "Published"],
  closed: ["neutral", "Cerrada", "Closed"],
  deserted: ["warn", "Desierta", "Deserted"],
  awarded: ["info", "Adjudicada", "Awarded"],
  revoked: ["danger", "Revocada", "Revoked"],
  suspended: ["warn", "Suspendida", "Suspended"],
  sent: ["info", "Enviada", "Sent"],
  in_process: ["info", "En proceso", "In process"],
  accepted: ["ok", "Aceptada", "Accepted"],
  cancelled: ["danger", "Cancelada", "Cancelled"],
  received: ["ok", "Recibida", "Received"],
  pending_receipt: ["warn", "Por recibir", "To be received"],
  partly_received: ["warn", "Recibida en parte", "Partly received"],
  receipt_incomplete: ["warn", "Recepción incompleta", "Receipt incomplete"],
  supplier_chosen: ["info", "Proveedor elegido", "Supplier chosen"],
  order_issued: ["info", "OC emitida", "Order issued"],
};

export function useStateName(): (state: string) => string {
  const { language } = useSettings();
  return (state) => STATES[state]?.[language === "es" ? 1 : 2] ?? state;
}

export function StateBadge({ state }: { state: string }) {
  return <Badge tone={STATES[state]?.[0] ?? "neutral"}>{useStateName()(state)}</Badge>;
}
