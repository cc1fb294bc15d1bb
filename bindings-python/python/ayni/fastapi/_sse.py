"""Server-sent events of our own routes."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import Request
from starlette.responses import StreamingResponse

from ayni.fastapi._settings import ServiceSettings


def event(name: str, data: Any) -> bytes:
    """One event, its data as JSON."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def kept_alive(request: Request, work: asyncio.Future[Any]) -> AsyncGenerator[bytes, None]:
    """Comments that keep the connection until the work is done."""
    settings: ServiceSettings = getattr(request.app.state, "ayni_settings", None) or ServiceSettings()
    while not (await asyncio.wait((work,), timeout=settings.keep_alive_seconds))[0]:
        yield b": keep-alive\n\n"


def stream(events: AsyncGenerator[bytes, None]) -> StreamingResponse:
    """The response of events; proxies are told not to hold them back."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)
