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
    """What every call takes beside its request."""

    deadline: float | None
    """Seconds until the whole call ends, retries and fallbacks included."""
    progress: ProgressSink | None
    """Is called with every :class:`Progress`: on the event loop, or on the waiting thread."""
    cancellation: Cancellation | None
    """Stops the call when it is cancelled; cancelling the awaiting task does so too."""
    timeouts: Timeouts | None
    """Time-outs of the phases of one HTTP exchange."""


CALL_OPTIONS = frozenset(CallOptions.__annotations__)


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], _ayni.Setting | None]:
    """Takes what every call takes out of the options of a request; drops those that are ``None``."""
    request = {name: value for name, value in options.items() if value is not None and name not in CALL_OPTIONS}
    if len(request) == len(options):
        return request, None
    timeouts = dict(options.get("timeouts") or {})
    setting = _ayni.Setting(
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


async def awaited(start: Callable[..., Any], *arguments: Any) -> Any:
    """Awaits a native call. Whatever ends the waiting, be it cancellation, ends the work too."""
    future = asyncio.get_running_loop().create_future()
    running = start(*arguments, future=future)
    try:
        return await future
    finally:
        # Both do nothing once the call is done.
        future.cancel()
        running.cancel()


class NativeHandle(Protocol):
    """What the native halves of all handles have."""

    def info(self) -> dict[str, Any]: ...


NativeT = TypeVar("NativeT", bound=NativeHandle)


class Handle(Generic[NativeT]):
    """What all handles have. Clones of the native handle share the backend; :meth:`close` lets go of it."""

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
        """Lets go of the backend: a local model leaves memory when its last handle does. Calls that run end as usual."""
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
    """A configuration from its two forms: an object (or the reference of a local model), and keyword arguments."""
    if isinstance(config, str):
        config = {"backend": "local", "model": config}
    given = dict(config or {})
    if twice := sorted(given.keys() & fields.keys()):
        raise _errors.ConfigInvalid(f"`{'`, `'.join(twice)}` is given twice: in the configuration and by name")
    return given | dict(fields)
