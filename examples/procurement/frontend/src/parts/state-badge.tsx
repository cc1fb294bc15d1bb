/** The state of a record in words and colour. */

"use client";

import { Badge, type Tone, useSettings } from "ayni-ui";

const STATES: Record<string, readonly [tone: Tone, es: string, en: string]> = {
  publicada: ["ok", "Publicada", "Published"],
  cerrada: ["neutral", "Cerrada", "Closed"],
  desierta: ["warn", "Desierta", "Deserted"],
  adjudicada: ["info", "Adjudicada", "Awarded"],
  revocada: ["danger", "Revocada", "Revoked"],
  suspendida: ["warn", "Suspendida", "Suspended"],
  enviadaproveedor: ["info", "Enviada", "Sent"],
  enproceso: ["info", "En proceso", "In process"],
  aceptada: ["ok", "Aceptada", "Accepted"],
  cancelada: ["danger", "Cancelada", "Cancelled"],
  recepcionconforme: ["ok", "Recibida", "Received"],
  pendienterecepcion: ["warn", "Por recibir", "To be received"],
  // The source's own spelling, as ayni keeps it.
  recepcionaceptadacialmente: ["warn", "Recibida en parte", "Partly received"],
  recepecionconformeincompleta: ["warn", "Recepción incompleta", "Receipt incomplete"],
  proveedorseleccionado: ["info", "Proveedor elegido", "Supplier chosen"],
  ocemitida: ["info", "OC emitida", "Order issued"],
};

export function useStateName(): (state: string) => string {
  const { language } = useSettings();
  return (state) => STATES[state]?.[language === "es" ? 1 : 2] ?? state;
}

export function StateBadge({ state }: { state: string }) {
  return <Badge tone={STATES[state]?.[0] ?? "neutral"}>{useStateName()(state)}</Badge>;
}
