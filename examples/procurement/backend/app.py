"""Backend of the procurement dashboard: purchase orders, tenders, analyses, files."""

from ayni.fastapi import procurement_router, service

# MERCADO_PUBLICO_TICKET, DATABASE_URL and the key of a model decide the rest.
app = service(procurement_router(), title="Procurement")
