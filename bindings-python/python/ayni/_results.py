"""What answers have in common: route, usage, backend, progress."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a call used. ``None`` means not reported, never zero."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RouteFailure:
    """One backend that failed before another one answered, and the kind of its error."""

    backend: str
    model: str
    kind: str


@dataclass(frozen=True, slots=True)
class Route:
    """Where an answer came from: which backend answered, which failed before, and how many attempts it took."""

    backend: str
    model: str
    provider: str | None = None
    failed: tuple[RouteFailure, ...] = ()
    attempts: int = 1
    cached: bool = False
    request_id: str | None = None

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> Route:
        failed = tuple(RouteFailure(**failure) for failure in fields.get("failed", ()))
        return cls(**{**fields, "failed": failed})


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that a backend declares."""

    max_batch: int | None = None
    max_concurrency: int | None = None
    max_images: int | None = None


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What one source of a procurement backend can do by itself."""

    source: str
    operations: tuple[str, ...]
    needs_ticket: bool
    counts_quota: bool
    ranges: bool
    text: bool
    pages: bool
    changes: bool
    bidders: bool


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """The identity of a backend."""

    backend: str
    model: str
    host: str | None = None
    device: str | None = None
    """The device of a local model: ``cpu`` or ``cuda:0``."""
    limits: Limits = field(default_factory=Limits)
    cold_starts: bool = False
    sources: tuple[SourceInfo, ...] = ()

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> BackendInfo:
        sources = fields.get("sources", ())
        sources = (SourceInfo(**{**source, "operations": tuple(source["operations"])}) for source in sources)
        return cls(**{**fields, "limits": Limits(**fields["limits"]), "sources": tuple(sources)})


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """What makes vectors comparable: those of equal spaces are."""

    model: str
    revision: str | None = None
    dimensions: int | None = None
    pooling: str | None = None
    normalised: bool = True
    prompt_set: str | None = None


# Fields whose JSON name is a keyword or differs between types.
_NAMES = {"from": "from_backend", "to": "to_backend", "step": "done"}


@dataclass(frozen=True, slots=True)
class Progress:
    """Something worth telling the person who waits.

    ``type`` says what, and which of the other fields are set: ``waiting`` (``reason``, ``elapsed`` seconds),
    ``retrying`` (``attempt``, ``kind``, ``wait`` seconds), ``falling_back`` (``from_backend``, ``to_backend``,
    ``kind``), ``inputs`` and ``image_step`` (``done``, ``of``, ``preview``), ``download`` (``file``, ``done``, ``of``),
    ``reading`` (``file``, ``rows``; ``done`` and ``of`` in bytes).
    """

    type: Literal["waiting", "retrying", "falling_back", "inputs", "image_step", "download", "reading"]
    done: int | None = None
    of: int | None = None
    preview: bytes | None = None
    reason: str | None = None
    elapsed: float | None = None
    attempt: int | None = None
    wait: float | None = None
    kind: str | None = None
    from_backend: str | None = None
    to_backend: str | None = None
    file: str | None = None
    rows: int | None = None

    @classmethod
    def _of(cls, fields: dict[str, Any]) -> Progress:
        """The event of native code."""
        preview = fields.get("preview")
        named = {_NAMES.get(name, name): field for name, field in fields.items()}
        named |= {name: named.pop(f"{name}_ms") / 1000 for name in ("elapsed", "wait") if f"{name}_ms" in named}
        return cls(**{**named, "preview": None if preview is None else base64.b64decode(preview)})

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in self.__slots__)
        return f"Progress({', '.join(f'{name}={value!r}' for name, value in given if value is not None)})"
