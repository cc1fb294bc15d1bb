"""Backend of the procurement dashboard: purchase orders, tenders, analyses, files."""

import json
import os

from ayni.fastapi import procurement_router, service

# MERCADO_PUBLICO_TICKET, DATABASE_URL and the keys of models decide the rest. PROCUREMENT_CONFIG is for other settings of
# the client, as JSON: another address of the service, the gap between two requests.
config = os.environ.get("PROCUREMENT_CONFIG")
app = service(procurement_router(json.loads(config) if config else None), title="Procurement")
