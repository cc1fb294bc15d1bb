"""Middleware before every route: request ids, API key, host, limits, metrics, log, disconnected callers."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import re
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from starlette.responses import Response

from ayni.fastapi._failures import failure_response
from ayni.fastapi._metrics import Metrics
from ayni.fastapi._pages import page_response
from ayni.fastapi._settings import ServiceSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("ayni.fastapi")

OPEN = frozenset({"/health", "/ready", "/docs", "/openapi.json"})
"""Paths that need no API key. They and the metrics are answered even when the service is busy or loading; their bodies are
not read."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{1,128}")

# The client closed the connection before the answer; nginx's code.
CLIENT_CLOSED_REQUEST = 499
# How much of a too large body is read, and for how long, so that its sender receives the answer.
LINGER_BYTES = 128 << 20
LINGER_SECONDS = 5.0
# When the time for writing is over, the server itself closes the connection first, if it can.
WRITE_GRACE_SECONDS = 2.0

RouteT = TypeVar("RouteT", bound=Callable[..., Any])


def text_route(route: RouteT) -> RouteT:
    """Marks a route that takes no images: its bodies are short."""
    vars(route)["takes_text_only"] = True
    return route


class _Refused(Exception):
    """A request that is refused."""

    def __init__(self, status: int, kind: str, message: str, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.why, self.headers = status, kind, message, why, headers or {}


class _Left(Exception):
    """The caller closed the connection."""


class _Exchange:
    """One request and the state of its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, write_seconds: float) -> None:
        self.scope, self.receive, self._send, self._write_seconds = scope, receive, send, write_seconds
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        given = self.headers.get(b"x-request-id", b"")
        self.request_id = given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.began = time.perf_counter()
        self.status: int | None = None
        self.body: bytes | None = None
        self.has_left = asyncio.Event()
        self.is_complete = False

    @property
    def path(self) -> str:
        path: str = self.scope["path"]
        return path.removeprefix(self.scope.get("root_path", "")) or "/"

    @property
    def wants_page(self) -> bool:
        """Whether a browser asks for the front page. It needs no key; what its forms ask of other routes does."""
        is_read = self.path == "/" and self.scope["method"] in ("GET", "HEAD")
        has_page = getattr(getattr(self.scope.get("app"), "state", None), "page", None) is not None
        return is_read and has_page and b"text/html" in self.headers.get(b"accept", b"")

    def _within(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        """A redirect to the host that the caller named as one to the path alone: nobody checked that name."""
        if name.lower() == b"location":
            parts = urlsplit(value.decode("latin-1"))
            if parts.netloc and parts.netloc.encode("latin-1") == self.headers.get(b"host"):
                # `//` at the beginning would name another host.
                path = "/" + parts.path.lstrip("/")
                value = (f"{path}?{parts.query}" if parts.query else path).encode("latin-1")
        return name, value

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [self._within(*header) for header in message.get("headers", ())]
            message["headers"] = [*headers, (b"x-request-id", self.request_id.encode())]
        # Servers report a disconnect once the answer is complete.
        self.is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)
        try:
            async with _timeout(self._write_seconds):
                await self._send(message)
        except TimeoutError:
            raise _Left from None

    async def replay(self) -> Message:
        """The body in one piece; after that only the disconnect."""
        if self.body is not None:
            body, self.body = self.body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def leaves(self) -> None:
        """Waits until the caller disconnects before the answer is complete."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        if self.is_complete:
            await asyncio.get_running_loop().create_future()
        self.has_left.set()


class Guard:
    """ASGI middleware. Reads the body before a request counts as running, so that slow uploads do not block others."""

    def __init__(self, app: App, settings: ServiceSettings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self._buffered = 0
        self._text_paths: set[str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self.settings.write_seconds + WRITE_GRACE_SECONDS)
        try:
            await self._admit(exchange)
        except _Refused as refused:
            self.metrics.refused[refused.why] += 1
            scope["ayni.kind"] = refused.kind
            await self._refuse(exchange, refused)
        except _Left:
            exchange.status = CLIENT_CLOSED_REQUEST
        except asyncio.CancelledError:
            # The server stops; a stream has told its caller.
            scope.setdefault("ayni.kind", "interrupted")
            if not exchange.is_complete:
                raise
        except Exception as error:
            await self._defect(exchange, error)
        finally:
            self._tell(exchange)

    async def _admit(self, exchange: _Exchange) -> None:
        self._check_host(exchange)
        if exchange.wants_page:
            await self._show_page(exchange)
            return
        if exchange.path in OPEN:
            # Whatever comes along is not read.
            exchange.body = b""
            await self._work(exchange)
            return
        counts = exchange.path != "/metrics"
        self._check_key(exchange)
        if counts:
            self._check_loaded(exchange)
        size = 0
        try:
            size = await self._read(exchange)
            if counts and self.metrics.in_flight >= self.settings.max_concurrency:
                raise _busy("the service is at its limit of concurrent requests")
            self.metrics.in_flight += counts
            try:
                await self._work(exchange)
            finally:
                self.metrics.in_flight -= counts
        finally:
            self._buffered -= size

    async def _show_page(self, exchange: _Exchange) -> None:
        page: str = exchange.scope["app"].state.page
        await page_response(page)(exchange.scope, exchange.receive, exchange.send)

    def _check_host(self, exchange: _Exchange) -> None:
        """Refuses pages whose own name leads to this machine: without a key, the address was all that kept them out."""
        server = exchange.scope.get("server") or ("", None)
        if self.settings.api_key is not None or not _is_loopback(server[0] or ""):
            return
        host = urlsplit(f"//{exchange.headers.get(b'host', b'').decode('latin-1')}").hostname or ""
        if not (_is_loopback(host) or host == "localhost" or host in self.settings.allow_hosts):
            message = "this host name is not served; set ALLOW_HOSTS, or API_KEY"
            raise _Refused(421, "invalid_request", message, "host")

    def _check_loaded(self, exchange: _Exchange) -> None:
        state = getattr(exchange.scope.get("app"), "state", None)
        if (loading := getattr(state, "loading", None)) is not None:
            message = f"the service is not ready yet: {loading}"
            raise _Refused(503, "unavailable", message, "loading", {"Retry-After": "5"})

    def _most_bytes(self, exchange: _Exchange) -> int:
        """How long the body may be: only routes with images need many bytes."""
        app = exchange.scope.get("app")
        if self._text_paths is None:
            self._text_paths = set(_text_paths(getattr(app, "routes", ()), ""))
        most = self.settings.max_body_bytes
        return min(most, self.settings.max_text_bytes) if exchange.path in self._text_paths else most

    def _check_key(self, exchange: _Exchange) -> None:
        if self.settings.api_key is None:
            return
        given = exchange.headers.get(b"x-api-key")
        if given is None:
            scheme, _, token = exchange.headers.get(b"authorization", b"").partition(b" ")
            given = token.strip() if scheme.lower() == b"bearer" else b""
        if not hmac.compare_digest(given, self.settings.api_key.encode()):
            raise _Refused(401, "unauthenticated", "Invalid API key", "api_key", {"WWW-Authenticate": "X-API-Key"})

    async def _read(self, exchange: _Exchange) -> int:
        """Reads the body and returns its size."""
        most = self._most_bytes(exchange)
        declared = exchange.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most:
            raise _too_large(most)
        chunks: list[bytes] = []
        size = 0
        try:
            async with _timeout(self.settings.body_seconds):
                while True:
                    message = await exchange.receive()
                    if message["type"] == "http.disconnect":
                        raise _Left
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    self._buffered += len(chunks[-1])
                    if size > most:
                        raise _too_large(most)
                    if self._buffered > self.settings.max_body_bytes * max(4, self.settings.max_concurrency // 8):
                        raise _busy("the service is at its limit of buffered bodies")
                    if not message.get("more_body", False):
                        break
        except BaseException as error:
            self._buffered -= size
            if isinstance(error, TimeoutError):
                late = f"the body did not arrive within {self.settings.body_seconds:g} seconds"
                raise _Refused(408, "timeout", late, "slow_body", {"Connection": "close"}) from None
            raise
        exchange.body = b"".join(chunks)
        return size

    async def _work(self, exchange: _Exchange) -> None:
        """Runs the application until it is done, the caller disconnects, or it takes too long."""
        work = asyncio.ensure_future(self.app(exchange.scope, exchange.replay, exchange.send))
        leaving = asyncio.ensure_future(exchange.leaves())
        try:
            await asyncio.wait(
                (work, leaving), timeout=self.settings.request_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if work.done():
                work.result()
                return
        finally:
            leaving.cancel()
            if not work.done():
                # A stream tells its caller why it ends, unless nobody is there.
                exchange.scope["ayni.left"] = exchange.has_left.is_set()
                work.cancel()
                await asyncio.wait((work,))
        if exchange.has_left.is_set():
            raise _Left
        if exchange.status is None:
            message = f"the request was not answered within {self.settings.request_seconds:g} seconds"
            raise _Refused(504, "timeout", message, "slow_work")

    async def _refuse(self, exchange: _Exchange, refused: _Refused) -> None:
        retry_after = float(wait) if (wait := refused.headers.get("Retry-After")) else None
        response = failure_response(
            refused.status,
            refused.kind,
            refused.message,
            exchange.request_id,
            refused.headers,
            retryable=retry_after is not None,
            retry_after=retry_after,
        )
        if refused.status == 413:
            await _answer_while_sent_to(exchange, response)
        else:
            await response(exchange.scope, exchange.receive, exchange.send)

    async def _defect(self, exchange: _Exchange, error: Exception) -> None:
        # Without the text of the exception, which may contain the request.
        where = "".join(traceback.format_tb(error.__traceback__)[-6:])
        extra = {"request_id": exchange.request_id, "error": type(error).__name__, "where": where}
        LOG.error("a request failed unexpectedly", extra=extra)
        exchange.scope["ayni.kind"] = "unexpected"
        if exchange.status is None:
            response = failure_response(500, "unexpected", "the service failed unexpectedly", exchange.request_id)
            await response(exchange.scope, exchange.receive, exchange.send)

    def _tell(self, exchange: _Exchange) -> None:
        scope = exchange.scope
        seconds = time.perf_counter() - exchange.began
        status = CLIENT_CLOSED_REQUEST if exchange.has_left.is_set() or exchange.status is None else exchange.status
        route = getattr(scope.get("route"), "path", None) or "unmatched"
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        kind = scope.get("ayni.kind") or ("cancelled" if status == CLIENT_CLOSED_REQUEST else None)
        self.metrics.observe(route, method, status, seconds, kind)
        if (exchange.path in OPEN or exchange.wants_page) and status < 400:
            return
        extra = {
            "method": method,
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "request_id": exchange.request_id,
        }
        extra |= scope.get("ayni.log", {})
        LOG.info("request", extra=extra if kind is None else {**extra, "kind": kind})


async def _answer_while_sent_to(exchange: _Exchange, response: Response) -> None:
    """Answers at once and then reads on for a while. A sender whose connection is closed in the middle of its body would
    not see the answer."""
    headers = [*response.raw_headers, (b"connection", b"close")]
    await exchange.send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
    left = LINGER_BYTES
    try:
        async with _timeout(LINGER_SECONDS):
            while left > 0:
                message = await exchange.receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    break
    except TimeoutError:
        pass
    await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})


def _text_paths(routes: Iterable[Any], prefix: str) -> Iterator[str]:
    """The paths of routes that take no images, those of included routers too."""
    for route in routes:
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from _text_paths(inner.routes, prefix + getattr(route.include_context, "prefix", ""))
        elif hasattr(getattr(route, "endpoint", None), "takes_text_only"):
            yield prefix + route.path


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _too_large(most: int) -> _Refused:
    return _Refused(413, "invalid_request", f"the body is larger than {most} bytes", "body_size")


def _busy(message: str) -> _Refused:
    return _Refused(429, "rate_limited", f"{message}; come back soon", "concurrency", {"Retry-After": "1"})


class _timeout:
    """``asyncio.timeout``, which Python 3.10 lacks: cancels the block and makes a ``TimeoutError`` of it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._handle = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._handle.cancel()
        if self._expired and kind is asyncio.CancelledError:
            if hasattr(self._task, "uncancel"):
                self._task.uncancel()
            raise TimeoutError
