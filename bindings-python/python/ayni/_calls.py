"""How calls are made: awaited, or on the calling thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypedDict, TypeVar

from ayni import _ayni, _errors
from ayni._results import BackendInfo, Progress

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

Cancellation = _ayni.Cancellation
ProgressSink = Callable[[Progress], object]


class Timeouts(TypedDict, total=False):
    """Time-outs, in seconds, of the phases of one HTTP exchange."""

    connect: float
    first_byte: float
    idle: float


class CallOptions(TypedDict, total=False):
    """The options that every call takes besides its request."""

    deadline: float | None
    """Seconds until the whole call ends, retries and fallbacks included."""
    progress: ProgressSink | None
    """Called with every :class:`Progress`: on the event loop, or on the waiting thread."""
    cancellation: Cancellation | None
    """Stops the call when it is cancelled. Cancelling the awaiting task does too."""
    timeouts: Timeouts | None
    """Time-outs of the phases of one HTTP exchange."""


CALL_OPTIONS = frozenset(CallOptions.__annotations__)


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], _ayni.CallSettings | None]:
    """Splits options into those of the request and those that every call takes. Drops options that are ``None``."""
    request = {name: value for name, value in options.items() if value is not None and name not in CALL_OPTIONS}
    if len(request) == len(options):
        return request, None
    timeouts = dict(options.get("timeouts") or {})
    setting = _ayni.CallSettings(
        deadline=options.get("deadline"),
        progress=options.get("progress"),
        cancellation=options.get("cancellation"),
        connect=timeouts.pop("connect", None),
        first_byte=timeouts.pop("first_byte", None),
        idle=timeouts.pop("idle", None),
    )
    if timeouts:
        raise _errors.InvalidRequest(f"`timeouts` has no '{next(iter(timeouts))}'; valid: connect, first_byte, idle")
    return request, setting


async def awaited(start: Callable[..., Any], *arguments: Any, setting: _ayni.CallSettings | None = None) -> Any:
    """Awaits a native call. Its work stops whenever the waiting ends, by cancellation too."""
    future = asyncio.get_running_loop().create_future()
    running = start(*arguments, (setting, future))
    try:
        return await future
    finally:
        # Both do nothing once the call is done.
        future.cancel()
        running.cancel()


def settle(future: asyncio.Future[Any], value: Any, failed: bool) -> None:
    """Sets the outcome of a call on its future. Native code schedules it on the event loop."""
    if not future.done():
        future.set_exception(value) if failed else future.set_result(value)


class NativeHandle(Protocol):
    """What all native handles have."""

    def info(self) -> dict[str, Any]: ...


NativeT = TypeVar("NativeT", bound=NativeHandle)


class Handle(Generic[NativeT]):
    """The base of all handles. :meth:`close` releases the backend."""

    __slots__ = ("__weakref__", "_open")

    def __init__(self, native: NativeT) -> None:
        self._open: NativeT | None = native

    @property
    def _native(self) -> NativeT:
        if self._open is None:
            raise _errors.InvalidRequest(f"this {type(self).__name__} is closed")
        return self._open

    def info(self) -> BackendInfo:
        """Who the backend is."""
        return BackendInfo._of(self._native.info())

    def close(self) -> None:
        """Releases the backend. A local model is unloaded when its last handle is closed. Running calls finish as usual."""
        self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._open is None:
            return f"<ayni.{type(self).__name__} (closed)>"
        info = self.info()
        return f"<ayni.{type(self).__name__} {info.backend}: {info.model}>"


def merged(config: str | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Merges the two forms of a configuration: an object (or the reference of a local model), and keyword arguments."""
    if isinstance(config, str):
        config = {"backend": "local", "model": config}
    given = dict(config or {})
    if twice := sorted(given.keys() & fields.keys()):
        raise _errors.ConfigInvalid(f"`{'`, `'.join(twice)}` is given twice: in the configuration and by name")
    return given | dict(fields)
