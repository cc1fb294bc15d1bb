"""A service: its parts, how they start and stop, how it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict
from starlette.middleware.cors import CORSMiddleware

from ayni import AyniError, InvalidRequest, Progress, __version__, _ayni, forward_logs, prometheus_text
from ayni.fastapi._failures import DOCUMENTED, add_failure_handlers
from ayni.fastapi._guard import LOG, Guard
from ayni.fastapi._logs import show_logs
from ayni.fastapi._metrics import CONTENT_TYPE, Metrics
from ayni.fastapi._pages import Form, docs_page, front_page, page_response
from ayni.fastapi._settings import ServiceSettings

LOG_PROGRESS_SECONDS = 5.0

DIAGNOSIS_SECONDS = 1.0
"""How long ``/health`` waits for what its parts have to ask others."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Part:
    """What a router works with: something that is loaded at the start and closed at the end."""

    name = "part"
    loading: str | None = None
    """How far loading is."""
    _told = 0.0

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
        """Why it cannot serve; ``None`` if it can."""
        return None

    def is_paid(self) -> bool:
        """Whether its work is done by a service for which somebody pays."""
        return False

    async def check(self) -> str | None:
        """Why it cannot serve now, as far as it has to ask. Cheap, and bounded in time."""
        return self.problem()

    def forms(self) -> Sequence[Form]:
        """What people can try on the front page."""
        return ()

    def show_progress(self, progress: Progress) -> None:
        """Keeps how far loading is, for ``/ready``, and logs it every few seconds."""
        done = f" {progress.done / progress.of:.0%}" if progress.done and progress.of else ""
        self.loading = f"{progress.file}{done}" if progress.file else progress.reason or progress.type
        if time.monotonic() - self._told > LOG_PROGRESS_SECONDS:
            self._told = time.monotonic()
            LOG.info("loading %s: %s", self.title(), self.loading)

    async def diagnose(self) -> Mapping[str, Any]:
        """What ``/health`` says about it, as far as it has to ask."""
        return self.health()


class CheckedRoute(APIRoute):
    """A route whose JSON is checked before anything is made of it: its content type, its form, its depth and its parts."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Any]]:
        """The handler behind the check."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def checked(request: Request) -> Any:
            await self._check(request)
            return await handle(request)

        return checked

    async def _check(self, request: Request) -> None:
        content = await request.body()
        if not content.strip():
            names = self._needed()
            raise InvalidRequest(
                message=f"the body is missing: send JSON with {' and '.join(f'`{name}`' for name in names) or 'an object'}",
                context={"body": "malformed", **({"param": names[0]} if names else {})},
            )
        _ayni.check_body(content, request.headers.get("content-type"))

    def _needed(self) -> list[str]:
        fields: Mapping[str, Any] = getattr(getattr(self.body_field, "type_", None), "model_fields", {})
        return [field.alias or name for name, field in fields.items() if field.is_required()]


class ServiceRouter(APIRouter):
    """A router and its part."""

    def __init__(self, part: Part, **options: Any) -> None:
        super().__init__(responses=DOCUMENTED, route_class=CheckedRoute, **options)
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
    loading: bool = False
    """Whether models are being fetched or loaded; `problems` says how far."""


def health_router(*routers: ServiceRouter) -> APIRouter:
    """The routes of probes: ``/health`` for liveness, ``/ready`` for readiness."""
    parts = [router.part for router in routers]
    router = APIRouter(tags=["health"])

    @router.head("/health", include_in_schema=False)
    @router.get("/health", response_model=Health, summary="Whether the service is alive")
    async def health(request: Request) -> JSONResponse:
        found: dict[str, Any] = {"status": "healthy"}
        # What is being opened would have to be waited for.
        if getattr(request.app.state, "loading", None) is None:
            for one in await asyncio.gather(*map(_diagnosis, parts)):
                found |= one
        return JSONResponse(found)

    @router.head("/ready", include_in_schema=False)
    @router.get(
        "/ready",
        response_model=Ready,
        summary="Whether requests can be served now",
        responses={503: {"model": Ready, "description": "Not yet, or no longer"}},
    )
    async def ready(request: Request) -> JSONResponse:
        if getattr(request.app.state, "loading", None) is not None:
            problems = {part.name: part.loading or "it is waiting to be loaded" for part in parts}
        else:
            checked = await asyncio.gather(*map(_problem, parts))
            problems = {part.name: problem for part, problem in zip(parts, checked, strict=True) if problem is not None}
        if getattr(request.app.state, "draining", False):
            problems["service"] = "it is stopping"
        found: dict[str, Any] = {"ready": not problems, "problems": problems}
        if getattr(request.app.state, "loading", None) is not None:
            found["loading"] = True
        return JSONResponse(found, 503 if problems else 200)

    return router


async def _diagnosis(part: Part) -> Mapping[str, Any]:
    try:
        return await asyncio.wait_for(part.diagnose(), DIAGNOSIS_SECONDS)
    except (AyniError, TimeoutError, asyncio.TimeoutError) as error:
        problem = error.message if isinstance(error, AyniError) else f"no answer within {DIAGNOSIS_SECONDS:g} seconds"
        return {f"{part.name}_problem": problem}


async def _problem(part: Part) -> str | None:
    try:
        return await asyncio.wait_for(part.check(), DIAGNOSIS_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        return f"no answer within {DIAGNOSIS_SECONDS:g} seconds"
    except AyniError as error:
        return error.message


def lifespan(
    *routers: ServiceRouter,
    settings: ServiceSettings | None = None,
    on_failure: Callable[[Exception], None] | None = None,
) -> Lifespan:
    """Loads and warms up what the routers need before the first request. At shutdown waits for running requests, and closes.

    With ``on_failure`` it loads in the background: the service answers ``/health`` and ``/ready`` meanwhile, everything else
    with 503. The function is told if something cannot be loaded.
    """
    settings = settings or ServiceSettings()
    drain_seconds, key = settings.drain_seconds, settings.api_key

    async def load(stack: AsyncExitStack) -> None:
        for router in routers:
            began = time.perf_counter()
            LOG.info("loading %s", router.part.title())
            router.part.loading = "loading"
            stack.push_async_callback(router.part.close)
            try:
                await router.part.load()
            except Exception as error:
                LOG.error("%s cannot be loaded", router.part.title(), extra={"problem": str(error)})
                raise
            seconds = round(time.perf_counter() - began, 3)
            router.part.loading = "loaded"
            LOG.info("loaded %s", router.part.title(), extra={"seconds": seconds, "problem": router.part.problem()})
            if key is None and router.part.is_paid():
                LOG.warning("API_KEY is not set: whoever reaches this service uses hosted models at its expense")

    async def load_in_background(app: FastAPI, stack: AsyncExitStack, failed: Callable[[Exception], None]) -> None:
        try:
            await load(stack)
        except Exception as error:
            app.state.loading = "it cannot be loaded"
            failed(error)
        else:
            app.state.loading = None

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            loading: asyncio.Task[None] | None = None
            if on_failure is None:
                await load(stack)
            else:
                app.state.loading = "it is loading; see /ready"
                loading = asyncio.create_task(load_in_background(app, stack, on_failure))
            try:
                yield
            finally:
                app.state.draining = True
                if loading is not None and not loading.done():
                    loading.cancel()
                    await asyncio.wait((loading,), timeout=1)
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
    app.state.metrics, app.state.settings = metrics, settings
    add_failure_handlers(app)

    @app.get("/metrics", response_class=PlainTextResponse, tags=["health"], summary="Counts for Prometheus")
    async def metrics_text() -> PlainTextResponse:
        return PlainTextResponse(metrics.text() + prometheus_text(), media_type=CONTENT_TYPE)

    app.add_middleware(Guard, settings=settings, metrics=metrics)
    if settings.allow_origins:
        # Outside of the guard, so that a page can read why it was refused.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin for origin in settings.allow_origins if origin == "*" or "*" not in origin],
            allow_origin_regex=settings.origin_pattern(),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    show_logs(settings.log)
    if settings.log is not None:
        forward_logs()
    return app


def service(
    *routers: ServiceRouter,
    settings: ServiceSettings | None = None,
    title: str = "ayni",
    on_failure: Callable[[Exception], None] | None = None,
    **options: Any,
) -> FastAPI:
    """An app of routers with everything around them: :func:`lifespan`, :func:`health_router`, :func:`guard`, and two pages:
    ``/`` for people and ``/docs`` for programmers.

    Without settings it reads them from the environment. ``on_failure`` is that of :func:`lifespan`. Further options go to
    FastAPI.
    """
    settings = settings or ServiceSettings.from_env()
    dependencies = []
    if settings.api_key is not None:
        # The guard checks it; this adds the field to /docs.
        dependencies.append(Security(APIKeyHeader(name="X-API-Key", auto_error=False)))
    options = {"docs_url": None, "redoc_url": None, **options}
    started = lifespan(*routers, settings=settings, on_failure=on_failure)
    app = FastAPI(title=title, version=__version__, lifespan=started, **options)
    app.include_router(health_router(*routers))
    for router in routers:
        app.include_router(router, dependencies=dependencies)
    if options["docs_url"] is None:

        @app.get("/docs", include_in_schema=False)
        async def docs() -> HTMLResponse:
            return page_response(docs_page(title))

    forms = [form for router in routers for form in router.part.forms()]
    app.state.page = front_page(title, forms, needs_key=settings.api_key is not None)
    return guard(app, settings)
