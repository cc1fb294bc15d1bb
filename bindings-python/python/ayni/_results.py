"""What answers have in common: route, usage, backend, progress."""

from __future__ import annotations

import base64
import math
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
    cache_write_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None


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
class ImageModelInfo:
    """What a local image model draws with."""

    recipe: str
    """What it was made for: ``standard``, ``lcm``, ``turbo``, ``lightning-4``. It decides which steps are legal."""
    scheduler: str
    """The scheduler of requests without one."""
    steps: int
    guidance: float
    size: tuple[int, int]
    """Width and height that it was trained for."""
    optimisations: tuple[str, ...] = ()
    weights_bytes: int = 0
    memory_bytes: int | None = None
    """Bytes that images in progress may take beside the weights, when the model was loaded."""
    safety: Literal["off", "mark", "blank", "refuse"] = "off"
    """What is done with images in which the safety checker finds something."""
    has_safety_checker: bool = False
    """Whether there is one, on or off."""

    @classmethod
    def _of(cls, fields: Mapping[str, Any] | None) -> ImageModelInfo | None:
        if fields is None:
            return None
        width, height = fields["size"]
        return cls(**{**fields, "size": (width, height), "optimisations": tuple(fields["optimisations"])})


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """The identity of a backend."""

    backend: str
    model: str
    host: str | None = None
    device: str | None = None
    """The device of a local model: ``cpu`` or ``cuda:0``."""
    precision: str | None = None
    """The precision in which a local model multiplies: ``f32``, ``bf16`` or ``int8``."""
    precision_reason: str | None = None
    """Why it is this one: a sentence for people."""
    prompts: str | None = None
    """Where a local embedder has its prompts from: ``repository``, ``catalogue`` or ``none``."""
    reads_images: bool | None = None
    """Whether a local chat model reads images, where that is known."""
    image_model: ImageModelInfo | None = None
    """What a local image model draws with, once it is loaded."""
    limits: Limits = field(default_factory=Limits)
    cold_starts: bool = False
    sources: tuple[SourceInfo, ...] = ()

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> BackendInfo:
        sources = fields.get("sources", ())
        sources = (SourceInfo(**{**source, "operations": tuple(source["operations"])}) for source in sources)
        model = ImageModelInfo._of(fields.get("image_model"))
        return cls(**{**fields, "limits": Limits(**fields["limits"]), "sources": tuple(sources), "image_model": model})


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingSpace:
    """What makes vectors comparable: those of equal spaces are.

    Models in this process have a fingerprint of all that decides their vectors. Two spaces with fingerprints are equal if
    these and the widths are, whatever the models are called.
    """

    model: str
    revision: str | None = None
    dimensions: int | None = None
    pooling: str | None = None
    normalised: bool = True
    prompt_set: str | None = None
    fingerprint: str | None = None

    def _identity(self) -> tuple[Any, ...]:
        if self.fingerprint is not None:
            return (self.fingerprint, self.dimensions)
        return (None, self.dimensions, self.model, self.revision, self.pooling, self.normalised, self.prompt_set)

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, EmbeddingSpace) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())


@dataclass(frozen=True, slots=True)
class ProbeParity:
    """How close one vector is to that of f32."""

    name: str
    """What was embedded: a language, or the number of an image."""
    cosine: float
    """The cosine between the two vectors; NaN if one of them is none."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How close vectors are to those of f32 on the CPU."""

    precision: str
    """The precision that was measured: ``f32``, ``bf16`` or ``int8``."""
    bar: float
    """The lowest acceptable cosine."""
    probes: tuple[ProbeParity, ...]

    @property
    def holds(self) -> bool:
        """Whether every cosine is acceptable."""
        return bool(self.probes) and all(probe.cosine >= self.bar for probe in self.probes)

    @property
    def lowest(self) -> ProbeParity | None:
        """The probe with the lowest cosine."""
        return min(self.probes, key=lambda probe: -2 if math.isnan(probe.cosine) else probe.cosine, default=None)

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> Parity:
        probes = (ProbeParity(probe["name"], math.nan if probe["cosine"] is None else probe["cosine"]) for probe in fields["probes"])
        return cls(fields["precision"], fields["bar"], tuple(probes))


@dataclass(frozen=True, slots=True)
class Hardware:
    """What models in this process compute with where nothing else is configured."""

    device: str
    """``cpu`` or ``cuda:0``."""
    instruction_set: str
    """The CPU's instruction set that the kernels use."""
    threads: int
    """How many threads compute."""
    precision: str
    """The precision that ``auto`` means: ``f32`` or ``bf16``."""
    precision_reason: str
    """Why it is this one: a sentence for people."""


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
