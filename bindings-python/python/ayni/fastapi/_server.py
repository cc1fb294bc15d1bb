"""uvicorn with limits that it lacks: time for a request's head and for taking an answer, and the number of connections."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ayni.fastapi._logs import Seldom
from ayni.fastapi._settings import ServiceSettings

if TYPE_CHECKING:
    from uvicorn.config import HTTPProtocolType

MIN_PROGRESS_BYTES = 16 << 10
"""What a caller must take of an answer within the time for writing."""

RESERVED_FILES = 64
"""Open files that connections leave to everything else."""

BACKLOG = 128


@functools.cache
def _of_environment() -> ServiceSettings:
    return ServiceSettings.from_env()


class HttpProtocol(H11Protocol):
    """HTTP of uvicorn, with limits. ``uvicorn.run(app, http=HttpProtocol)`` takes them from the environment, as a worker of
    gunicorn can."""

    settings: ServiceSettings | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _unwritten = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Gives the caller a while to send a head, and makes room."""
        super().connection_made(transport)
        self._limits = self.settings or _of_environment()
        self._wait_for_head()
        if len(self.connections) > _most_connections(self._limits.max_connections):
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timers."""
        super().connection_lost(exc)
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Stops the wait for a head once it is there; a part of the next one begins another."""
        super().data_received(data)
        if self._is_running():
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None:
            self._wait_for_head()

    def pause_writing(self) -> None:
        """The caller does not keep up: from now on it has to show progress."""
        super().pause_writing()
        if self._write_timer is None:
            self._wait_for_reader()

    def resume_writing(self) -> None:
        """The caller has caught up."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _is_running(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.header_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self._is_running():
            self.transport.abort()

    def _wait_for_reader(self) -> None:
        self._unwritten = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self._limits.write_seconds, self._check_reader)

    def _check_reader(self) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size() > self._unwritten - MIN_PROGRESS_BYTES:
            # What it left in the buffer would keep the connection for as long as it likes.
            self.transport.abort()
        else:
            self._wait_for_reader()

    def _make_room(self) -> None:
        """Closes the connection that has waited longest without a request; this one, if all others have one."""
        idle = (one for one in self.connections if isinstance(one, HttpProtocol) and not one._is_running())
        oldest = min(idle, key=lambda one: math.inf if one._head_timer is None else one._head_timer.when(), default=self)
        oldest.connections.discard(oldest)
        oldest.transport.abort()


@functools.cache
def _most_connections(wanted: int) -> int:
    """As many as the process may have files open."""
    try:
        import resource
    except ImportError:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED_FILES + BACKLOG
    if soft < needed:
        soft = min(needed, hard) if hard != resource.RLIM_INFINITY else needed
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # The server accepts a backlog at once, before any of them can be closed.
    return max(1, min(wanted, soft - RESERVED_FILES - BACKLOG))


def server_options(settings: ServiceSettings | None = None) -> dict[str, Any]:
    """What ``ayni serve`` gives to ``uvicorn.run`` besides the app: the limits of the settings, and a log without payloads.

    >>> server_options(ServiceSettings(log=None))["server_header"]
    False
    """
    limits = settings or ServiceSettings.from_env()
    protocol: type[asyncio.Protocol] | HTTPProtocolType = HttpProtocol
    if settings is not None:
        protocol = type("HttpProtocol", (HttpProtocol,), {"settings": settings})
    return {
        "http": protocol,
        "ws": "none",
        "access_log": False,
        "log_config": _logging(limits.log),
        "backlog": BACKLOG,
        "timeout_graceful_shutdown": math.ceil(limits.drain_seconds) + 1,
        "server_header": False,
    }


def _logging(form: str | None) -> dict[str, Any]:
    """The logging of the server, in the form of our own. What strangers can cause is said seldom."""
    handler = {"class": "logging.StreamHandler", "formatter": "own", "stream": "ext://sys.stderr", "filters": ["seldom"]}
    logger = {"handlers": [] if form is None else ["own"], "level": logging.INFO, "propagate": False}
    formatter = {"()": "ayni.fastapi.JsonLines"} if form == "json" else {"format": "%(levelname)-7s %(name)s: %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"own": formatter},
        "filters": {"seldom": {"()": Seldom}},
        "handlers": {"own": handler},
        "loggers": {"uvicorn": logger, "asyncio": {**logger, "level": logging.WARNING}},
    }
