"""Services on ayni's backends: routers for FastAPI, and what a service needs around them.

>>> from ayni import Embedder
>>> from ayni.fastapi import clip_router, service
>>> app = service(clip_router(Embedder(backend="scripted")))
>>> sorted(path for path in app.openapi()["paths"])
['/embed/image', '/embed/text', '/health', '/metrics', '/ready']

Needs the extra ``ayni[fastapi]``.
"""

try:
    import fastapi as _fastapi  # noqa: F401
except ImportError as _error:
    raise ImportError("ayni.fastapi needs FastAPI: pip install 'ayni[fastapi]'") from _error

from ayni.fastapi._clip import clip_router
from ayni.fastapi._failures import Failure, add_failure_handlers, status_of
from ayni.fastapi._guard import Guard
from ayni.fastapi._images import image_router
from ayni.fastapi._logs import JsonLines, show_logs
from ayni.fastapi._metrics import Metrics
from ayni.fastapi._openai import openai_router
from ayni.fastapi._pages import Form, Input
from ayni.fastapi._procurement import procurement_router
from ayni.fastapi._server import HttpProtocol, server_options
from ayni.fastapi._service import Part, ServiceRouter, guard, health_router, lifespan, service
from ayni.fastapi._settings import ServiceSettings
from ayni.fastapi._triage import triage_router

__all__ = [
    "Failure",
    "Form",
    "Guard",
    "HttpProtocol",
    "Input",
    "JsonLines",
    "Metrics",
    "Part",
    "ServiceRouter",
    "ServiceSettings",
    "add_failure_handlers",
    "clip_router",
    "guard",
    "health_router",
    "image_router",
    "lifespan",
    "openai_router",
    "procurement_router",
    "server_options",
    "service",
    "show_logs",
    "status_of",
    "triage_router",
]
