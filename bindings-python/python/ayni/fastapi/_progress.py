"""Answers that take long, as server-sent events where the caller accepts them: progress while the work lasts, then the answer."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from ayni import AyniError, Progress
from ayni.fastapi._failures import body_of, request_id_of
from ayni.fastapi._settings import ServiceSettings
from ayni.fastapi._sse import event, stream

EVENT_STREAM = "text/event-stream"

DOCUMENTED_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            EVENT_STREAM: {
                "schema": {"type": "string"},
                "example": 'event: progress\ndata: {"type": "image_step", "done": 1, "of": 4, "preview": "iVBORw0KGgo…"}\n\n',
            }
        },
        "description": "The answer. With `Accept: text/event-stream` it comes as events: `progress` any number of times, at the "
        "end `done` with the same JSON, or `error`",
    }
}
"""What such routes document beside their answer as JSON."""

Work = Callable[[Callable[[Progress], None]], Awaitable[BaseModel]]


def accepts_events(request: Request) -> bool:
    """Whether the caller takes events. Callers who know the plain contract alone do not say so."""
    return EVENT_STREAM in request.headers.get("accept", "")


class _Told:
    """What is to be sent. A newer step replaces one that a slow reader has not taken yet, so that it costs no memory."""

    def __init__(self) -> None:
        self._waiting: dict[str, Progress] = {}
        self.changed = asyncio.Event()

    def tell(self, progress: Progress) -> None:
        self._waiting.pop(progress.type, None)
        self._waiting[progress.type] = progress
        self.changed.set()

    def take(self) -> list[Progress]:
        taken = list(self._waiting.values())
        self._waiting.clear()
        self.changed.clear()
        return taken


def _fields(progress: Progress) -> dict[str, Any]:
    found = {name: getattr(progress, name) for name in progress.__slots__}
    if progress.preview is not None:
        found["preview"] = base64.b64encode(progress.preview).decode("ascii")
    return {name: value for name, value in found.items() if value is not None}


async def _events(request: Request, work: Work) -> AsyncGenerator[bytes, None]:
    settings: ServiceSettings = getattr(request.app.state, "ayni_settings", None) or ServiceSettings()
    told, is_begun = _Told(), False
    running = asyncio.ensure_future(work(told.tell))
    running.add_done_callback(lambda _: told.changed.set())
    try:
        while not running.done():
            try:
                await asyncio.wait_for(told.changed.wait(), settings.keep_alive_seconds)
            except asyncio.TimeoutError:
                is_begun = True
                yield b": keep-alive\n\n"
            for progress in told.take():
                is_begun = True
                yield event("progress", _fields(progress))
        yield event("done", running.result().model_dump(mode="json", by_alias=True))
    except AyniError as error:
        if not is_begun:
            # There is still a status to be set.
            raise
        request.scope["ayni.kind"] = error.kind
        yield event("error", body_of(error, request_id_of(request)))
    finally:
        running.cancel()


async def _after(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(rest):
        yield first
        async for one in rest:
            yield one


async def answered(request: Request, work: Work) -> BaseModel | Response:
    """What the work makes: as it is, or as events where the caller accepts them. Its sink takes progress. A failure before
    the first event is a status; the work stops when the caller leaves."""
    if not accepts_events(request):
        return await work(lambda _: None)
    events = _events(request, work)
    return stream(_after(await anext(events), events))
