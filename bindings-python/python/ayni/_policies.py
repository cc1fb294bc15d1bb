"""What configurations have in common: the policy, spaces, scripts."""

# Written by `make gen` from the code. Change the code, not this file.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Required, TypeAlias


class Cache(TypedDict, total=False):
    """Whether complete answers are kept in memory and given again to exactly the same request. Kept are embeddings,
    chats, streamed chats, and images whose request names a seed; never failures, halves, answers of a fallback,
    or procurement records. The key is a SHA-256 of the operation, the backend and the request: neither a prompt
    nor a credential is kept with the answer. A kept answer says so in its route.
    """

    max_bytes: int
    """Most memory of the answers; the least recently used go first."""
    ttl_seconds: float | None
    """How long an answer is kept; ``null`` until its room is needed."""


class EmbeddingSpace(TypedDict, total=False):
    """What makes vectors comparable. Two backends may stand in for each other, and share a cache, only if their
    spaces are equal; a field that one of them does not know makes them differ.
    """

    model: str
    """The model, as its publisher names it: ``sentence-transformers/all-MiniLM-L6-v2``."""
    revision: str | None
    """The revision of the weights."""
    dimensions: int | None
    """Numbers in a vector; ``None`` until the first answer says so."""
    pooling: Pooling | None
    """How token vectors become one vector."""
    normalised: bool
    """Whether vectors have unit length; they do unless it is said that they do not."""
    prompt_set: str | None
    """The set of prompts put before queries and documents."""


ErrorKind: TypeAlias = Literal["config_invalid", "invalid_request", "context_too_long", "unauthenticated", "permission_denied", "credits_exhausted", "not_found", "conflict", "unsupported", "content_rejected", "rate_limited", "quota_exceeded", "timeout", "unavailable", "cold_start", "interrupted", "response_invalid", "model_load", "device_unavailable", "out_of_memory", "cancelled", "offline", "unexpected"]
"""ErrorKind"""


class Fallback(TypedDict, total=False):
    """When another backend takes over. Only before anything was delivered; the answer's route says who served and
    who failed before it. Where no fallback is given, nothing here has any effect.
    """

    on: Sequence[ErrorKind]
    """The kinds of failure after which the next backend is asked."""
    cooldown_seconds: float
    """How long a backend is passed over after it was rate-limited, unavailable or out of quota or credits, unless it
    says how long itself and as long as another one is there; 0 never passes one over.
    """


InlineReasoning: TypeAlias = Literal["auto", "off", "tagged", "open"]
"""Where reasoning stands in an answer's text if the server does not keep it apart."""


class Limit(TypedDict, total=False):
    """How many requests are in flight, and how close they follow each other. Limits belong to the credential: every
    handle in the process whose backend uses the same credential at the same host waits in the same queue, first
    come, first served, and the strictest of their limits holds. A backend without credential has a queue of its
    own. A stream is in flight until it ends or is dropped.
    """

    max_concurrency: int | None
    """Most requests in flight; ``null`` takes what the backend declares about itself, if it does."""
    declared: bool
    """Whether to honour the limit that the backend declares about itself."""
    min_gap_seconds: float
    """The least time between the beginnings of two requests."""
    max_queue_seconds: float | None
    """The longest time in the queue; ``null`` waits as long as the call may take."""


class Observe(TypedDict, total=False):
    """What is told about calls: one ``tracing`` span a call (target ``ayni::call``) with OpenTelemetry's GenAI
    names, one event at its end (debug for an answer, warn for a failure), and counters. Never told: prompts,
    inputs, answers, credentials, URLs, and what a backend's error says.
    """

    spans: bool
    """Whether calls have spans and events."""
    metrics: bool
    """Whether calls are counted."""


class Policy(TypedDict, total=False):
    """How calls are observed, cached, handed over, repeated, limited and timed out. The default is what we recommend
    for services; [``Policy::none``] only observes.
    """

    retry: Retry
    """When a request is sent again."""
    timeout: Timeout
    """How long the phases of a call may take."""
    limit: Limit
    """How many requests are in flight, and how close they follow each other."""
    fallback: Fallback
    """When another backend takes over."""
    cache: Cache | None
    """Whether complete answers are kept and given again to the same request; ``null`` for not at all."""
    observe: Observe
    """What is told about calls."""


Pooling: TypeAlias = Literal["mean", "cls", "last_token", "max", "weighted_mean"]
"""How token vectors become one vector."""


Resolution: TypeAlias = Literal["standard", "high"]
"""Full or reduced size."""


class Retry(TypedDict, total=False):
    """When a request is sent again, and after which wait. Only temporary failures are repeated. The wait is the one
    that the backend asks for, else exponential with full jitter. A stream is never repeated once an event was
    delivered; a request for images is only repeated when the backend certainly has not served it.
    """

    max_retries: int
    """Most repetitions of one request at one backend."""
    first_wait_seconds: float
    """The first wait where the backend names none; each further one is twice as long."""
    longest_backoff_seconds: float
    """The longest wait where the backend names none."""
    max_wait_seconds: float
    """The longest wait of all. If the backend asks for more, its error is returned at once, with the wait."""
    jitter: bool
    """Whether waits that the backend does not name are drawn at random between zero and their full length, so that
    many clients do not come back at the same moment.
    """
    budget_ratio: float
    """The share of requests to one backend that may be repetitions: 0.2 is one in five."""
    budget_reserve: int
    """Repetitions allowed before that share counts, so that a client with few requests can repeat one."""


class ScriptedReply(TypedDict, total=False):
    """One scripted chat answer."""

    text: str
    """The answer's text."""
    reasoning: str | None
    """The reasoning before it."""
    tool_calls: Sequence[ToolCall]
    """The tools that the answer calls."""


class Timeout(TypedDict, total=False):
    """How long the phases of a call may take. ``null`` sets no bound; connect, first byte and idle then keep the
    backend's own. What the call's [``Context``] says comes first.
    """

    connect_seconds: float | None
    """Until a connection stands."""
    first_byte_seconds: float | None
    """From then until the status line."""
    cold_start_first_byte_seconds: float | None
    """The same for a backend that may have to start a model or a container first."""
    image_first_byte_seconds: float | None
    """The same for making images, whose status line may come only with the finished image."""
    idle_seconds: float | None
    """Between two pieces of data; keep-alive comments are not data."""
    attempt_seconds: float | None
    """One attempt as a whole, a stream's to its end."""
    image_attempt_seconds: float | None
    """One attempt at making images as a whole."""
    total_seconds: float | None
    """The whole call, repetitions and fallbacks included, where the context sets no deadline."""


class ToolCall(TypedDict, total=False):
    """A tool that the model wants called."""

    id: Required[str]
    """The call's name, which the tool's answer repeats. Made up where the backend gives none."""
    name: Required[str]
    """The tool's name."""
    arguments: Required[str]
    """The arguments: JSON text exactly as the model wrote it, which may not be valid JSON."""
    provider_data: Mapping[str, Any]
    """Data that the provider attached to the call and wants back."""


ZoneMark: TypeAlias = Literal["wall_clock", "utc"]
"""How a source's ``Z`` is to be read."""
