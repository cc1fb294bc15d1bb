"""A service: its parts, how they start and stop, how it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict
from starlette.middleware.cors import CORSMiddleware

from ayni import __version__
from ayni.fastapi._failures import DOCUMENTED, add_failure_handlers
from ayni.fastapi._guard import LOG, Guard
from ayni.fastapi._logs import show_logs
from ayni.fastapi._metrics import CONTENT_TYPE, Metrics
from ayni.fastapi._settings import ServiceSettings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Part:
    """What a router works with: something that is loaded at the start and closed at the end."""

    name = "part"

    def title(self) -> str:
        """What it is, for the log."""
        return self.name

    async def load(self) -> None:
        """Readies it. Fails where nothing can be served without it."""

    async def close(self) -> None:
        """Lets go of what it holds."""

    def health(self) -> Mapping[str, Any]:
        """What ``/health`` says about it. Cheap: nobody is asked."""
        return {}

    def problem(self) -> str | None:
        """Why it cannot serve yet; ``None`` if it can."""
        return None

    async def diagnose(self) -> Mapping[str, Any]:
        """What ``/health`` says about it, as far as it has to ask."""
        return self.health()


class ServiceRouter(APIRouter):
    """A router and its part."""

    def __init__(self, part: Part, **options: Any) -> None:
        super().__init__(responses=DOCUMENTED, **options)
        self.part = part


class Health(BaseModel):
    """Whether the service lives, and what its parts say."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "status": "healthy",
                    "model_loaded": True,
                    "device": "cpu",
                    "model_name": "openai/clip-vit-base-patch32",
                }
            ]
        },
    )
    status: str


class Ready(BaseModel):
    """Whether requests can be served now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ready": True, "problems": {}}]})
    ready: bool
    problems: dict[str, str] = {}


def health_router(*routers: ServiceRouter) -> APIRouter:
    """The routes of probes: ``/health`` for liveness, ``/ready`` for readiness."""
    parts = [router.part for router in routers]
    router = APIRouter(tags=["health"])

    @router.get("/health", response_model=Health, summary="Whether the service is alive")
    async def health() -> JSONResponse:
        found: dict[str, Any] = {"status": "healthy"}
        for part in parts:
            found |= await part.diagnose()
        return JSONResponse(found)

    @router.get(
        "/ready",
        response_model=Ready,
        summary="Whether requests can be served now",
        responses={503: {"model": Ready, "description": "Not yet, or no longer"}},
    )
    async def ready(request: Request) -> JSONResponse:
        problems = {part.name: problem for part in parts if (problem := part.problem()) is not None}
        if getattr(request.app.state, "draining", False):
            problems["service"] = "it is stopping"
        return JSONResponse({"ready": not problems, "problems": problems}, 503 if problems else 200)

    return router


def lifespan(*routers: ServiceRouter, settings: ServiceSettings | None = None) -> Lifespan:
    """Loads and warms up what the routers need before the first request. At shutdown waits for running requests, and closes."""
    drain_seconds = (settings or ServiceSettings()).drain_seconds

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for router in routers:
                began = time.perf_counter()
                LOG.info("loading %s", router.part.title())
                stack.push_async_callback(router.part.close)
                try:
                    await router.part.load()
                except Exception as error:
                    LOG.error("%s cannot be loaded", router.part.title(), extra={"problem": str(error)})
                    raise
                seconds = round(time.perf_counter() - began, 3)
                extra = {"seconds": seconds, "problem": router.part.problem()}
                LOG.info("loaded %s", router.part.title(), extra=extra)
            try:
                yield
            finally:
                app.state.draining = True
                await _drained(getattr(app.state, "metrics", None), drain_seconds)
                LOG.info("stopped")

    return run


async def _drained(metrics: Metrics | None, seconds: float) -> None:
    end = time.monotonic() + seconds
    while metrics is not None and metrics.in_flight > 0:
        if time.monotonic() >= end:
            LOG.warning("requests are left undone", extra={"requests": metrics.in_flight})
            return
        await asyncio.sleep(0.02)


def guard(app: FastAPI, settings: ServiceSettings | None = None) -> FastAPI:
    """Adds to an app: request ids, ``X-API-Key``, limits of bodies, time and concurrency, ``/metrics``, CORS, failures as
    JSON, the log; and stops the work for callers who disconnect."""
    settings = settings or ServiceSettings.from_env()
    metrics = Metrics()
    app.state.metrics = metrics
    add_failure_handlers(app)

    @app.get("/metrics", response_class=PlainTextResponse, tags=["health"], summary="Counts for Prometheus")
    async def metrics_text() -> PlainTextResponse:
        return PlainTextResponse(metrics.text(), media_type=CONTENT_TYPE)

    app.add_middleware(Guard, settings=settings, metrics=metrics)
    if settings.allow_origins:
        # Outside of the guard, so that a page can read why it was refused.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.allow_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    show_logs(settings.log)
    return app


def service(
    *routers: ServiceRouter, settings: ServiceSettings | None = None, title: str = "ayni", **options: Any
) -> FastAPI:
    """An app of routers with everything around them: :func:`lifespan`, :func:`health_router`, :func:`guard`.

    Without settings it reads them from the environment. Further options go to FastAPI.
    """
    settings = settings or ServiceSettings.from_env()
    dependencies = []
    if settings.api_key is not None:
        # The guard checks it; this adds the field to /docs.
        dependencies.append(Security(APIKeyHeader(name="X-API-Key", auto_error=False)))
    app = FastAPI(title=title, version=__version__, lifespan=lifespan(*routers, settings=settings), **options)
    app.include_router(health_router(*routers))
    for router in routers:
        app.include_router(router, dependencies=dependencies)
    return guard(app, settings)


