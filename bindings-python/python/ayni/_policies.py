"""What configurations have in common: the policy, spaces, scripts."""

# Written by `make gen` from the code. Change the code, not this file.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Required, TypeAlias


class Cache(TypedDict, total=False):
    """Whether complete answers are kept in memory and returned to exactly the same request. Embeddings, chats,
    streamed chats, and images whose request names a seed are cached; failures, partial answers, answers of a
    fallback, and procurement records are not. The key is a SHA-256 of the operation, the backend and the request,
    so neither a prompt nor a credential is kept with the answer. The route of a cached answer says that it is
    one.
    """

    max_bytes: int
    """The most memory for answers, in bytes; the least recently used answers are dropped first."""
    ttl_seconds: float | None
    """How long an answer is kept; ``null`` keeps it until its memory is needed."""


ChatApi: TypeAlias = Literal["chat_completions", "responses", "completions"]
"""Which of OpenAI's APIs chats."""


class EmbeddingSpace(TypedDict, total=False):
    """What makes vectors comparable. Two backends may stand in for each other, and share a cache, only if their
    spaces are equal. A field that only one of them knows makes them differ. Models in this process have a
    fingerprint of all that decides their vectors. Two spaces with fingerprints are equal if these and the widths
    are, whatever the models are called: a model from the Hub and a copy in a folder make vectors that compare,
    and two folders of the same name need not.
    """

    model: str
    """The model, as its publisher names it: ``sentence-transformers/all-MiniLM-L6-v2``."""
    revision: str | None
    """The revision of the weights."""
    dimensions: int | None
    """The width of a vector; ``None`` where it is not known yet."""
    pooling: Pooling | None
    """How the vectors of tokens become one vector."""
    normalised: bool
    """Whether vectors have unit length; true by default."""
    prompt_set: str | None
    """The set of prompts put before queries and documents."""
    fingerprint: str | None
    """A hash of what decides the vectors but their width: weights, configuration, tokenizer, pooling, prompts.
    Models in this process have one.
    """


ErrorKind: TypeAlias = Literal["config_invalid", "invalid_request", "context_too_long", "unauthenticated", "permission_denied", "credits_exhausted", "not_found", "conflict", "unsupported", "content_rejected", "rate_limited", "quota_exceeded", "timeout", "unavailable", "cold_start", "interrupted", "response_invalid", "model_load", "device_unavailable", "out_of_memory", "cancelled", "offline", "unexpected"]
"""ErrorKind"""


class Fallback(TypedDict, total=False):
    """When another backend takes over. Only before anything was delivered. The answer's route says which backend
    served and which ones failed before it. Without fallback backends, these settings have no effect.
    """

    on: Sequence[ErrorKind]
    """The kinds of failure after which the next backend takes over."""
    cooldown_seconds: float
    """How long a backend is skipped after it was rate-limited, unavailable, or out of quota or credits, unless it
    says how long itself. A backend without an alternative is never skipped; 0 skips none.
    """


class HttpOptions(TypedDict, total=False):
    """How the built-in transport connects: which certificates it trusts, through which proxy it goes, what it calls
    itself. The default trusts this machine's certificate authorities and takes the system's proxy
    (``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``). Requests to this machine, and those for URLs that an answer
    named, never go through a proxy. It is the field ``http`` of a [``Setup``](crate::Setup), or becomes the
    transport of a [``Context``](crate::Context).
    """

    ca_certificates: str | None
    """Certificate authorities to trust, as PEM text."""
    ca_file: str | None
    """A PEM file with certificate authorities to trust."""
    system_certificates: bool
    """Whether to trust this machine's certificate authorities too."""
    proxy: str | None
    """The proxy for all requests: ``http://host:port`` or ``https://host:port``, without credentials."""
    proxy_username: str | None
    """The user name for the proxy."""
    proxy_password: str | None
    """The password for the proxy."""
    no_proxy: Sequence[str]
    """Hosts that are reached without ``proxy``: names (with all their subdomains), addresses, or networks
    (``10.0.0.0/8``).
    """
    system_proxy: bool
    """Whether to take the system's proxy where ``proxy`` is not set."""
    user_agent: str | None
    """The ``User-Agent`` of requests for which a backend sets none; ``ayni/`` and the version by default."""


InlineReasoning: TypeAlias = Literal["auto", "off", "tagged", "open"]
"""Where reasoning stands in an answer's text if the server does not keep it apart."""


class Limit(TypedDict, total=False):
    """How many requests are in flight, and how closely they follow each other. Limits belong to the credential: all
    handles in the process whose backends use the same credential at the same host share one queue, first come,
    first served, and the strictest of their limits holds. A backend without a credential has its own queue. A
    stream is in flight until it ends or is dropped.
    """

    max_concurrency: int | None
    """The most requests in flight; ``null`` takes the limit that the backend declares, if there is one."""
    declared: bool
    """Whether to honour the limit that the backend declares."""
    min_gap_seconds: float
    """The least time between the starts of two requests."""
    max_queue_seconds: float | None
    """The longest time in the queue; ``null`` sets no bound but the call's own."""


class LoraSource(TypedDict, total=False):
    """A LoRA, and how strongly it applies."""

    model: str
    """A file, a folder with one, or ``org/name[:file][@revision]`` on the Hub."""
    weight: float
    """How strongly it applies; 1 is as it was trained."""


class Observe(TypedDict, total=False):
    """What is recorded about calls: one ``tracing`` span per call (target ``ayni::call``) with OpenTelemetry's GenAI
    names, one event at its end (debug for an answer, warn for a failure), and counters. Prompts, inputs, answers,
    credentials, URLs and the texts of a backend's errors are never recorded.
    """

    spans: bool
    """Whether calls have spans and events."""
    metrics: bool
    """Whether calls are counted."""


class Policy(TypedDict, total=False):
    """How calls are observed, cached, handed to fallbacks, retried, limited and timed out. The default is what we
    recommend for services. [``Policy::none``] only observes.
    """

    retry: Retry
    """When a request is retried."""
    timeout: Timeout
    """How long the phases of a call may take."""
    limit: Limit
    """How many requests are in flight, and how closely they follow each other."""
    fallback: Fallback
    """When another backend takes over."""
    cache: Cache | None
    """Whether complete answers are kept and returned to the same request; ``null`` for no cache."""
    observe: Observe
    """What is recorded about calls."""


Pooling: TypeAlias = Literal["mean", "cls", "last_token", "max", "weighted_mean"]
"""How the vectors of tokens become one vector."""


Resolution: TypeAlias = Literal["standard", "high"]
"""Full or reduced size."""


class Retry(TypedDict, total=False):
    """When a request is retried, and after which wait. Only temporary failures are retried. The wait is the one that
    the backend asks for, else exponential with full jitter. A stream is never retried once an event was
    delivered. A request for images is retried only if the backend has certainly not served it.
    """

    max_retries: int
    """The most retries of one request at one backend."""
    first_wait_seconds: float
    """The first wait, in seconds, where the backend asks for none; each further one is twice as long."""
    longest_backoff_seconds: float
    """The longest wait, in seconds, where the backend asks for none."""
    max_wait_seconds: float
    """The longest wait of all, in seconds. If the backend asks for more, its error is returned at once, with the
    wait.
    """
    jitter: bool
    """Whether waits that the backend does not ask for are drawn at random between zero and their full length, so
    that many clients do not come back at the same moment.
    """
    budget_ratio: float
    """The share of requests to one backend that may be retries: 0.2 is one in five."""
    budget_reserve: int
    """The retries allowed before that share counts, so that a client with few requests can retry one."""


SafetyMode: TypeAlias = Literal["off", "mark", "blank", "refuse"]
"""What is done with images in which a model's safety checker finds something."""


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
    backend's own. The time-outs of the call's [``Context``] override these.
    """

    connect_seconds: float | None
    """Until the connection is made."""
    first_byte_seconds: float | None
    """From then until the status line."""
    cold_start_first_byte_seconds: float | None
    """The same for a backend that may have to start a model or a container first."""
    image_first_byte_seconds: float | None
    """The same for images, whose status line may come only with the finished image."""
    idle_seconds: float | None
    """Between two pieces of data; keep-alive comments are not data."""
    attempt_seconds: float | None
    """One whole attempt; for a stream, until its end."""
    image_attempt_seconds: float | None
    """One whole attempt to make images."""
    total_seconds: float | None
    """The whole call, retries and fallbacks included, where the context sets no deadline."""


class ToolCall(TypedDict, total=False):
    """A tool that the model wants called."""

    id: Required[str]
    """The id of the call, which the tool's answer repeats. Generated where the backend gives none."""
    name: Required[str]
    """The tool's name."""
    arguments: Required[str]
    """The arguments: JSON text exactly as the model wrote it, which may not be valid JSON."""
    provider_data: Mapping[str, Any]
    """Data that the provider attached to the call and wants back."""


ZoneMark: TypeAlias = Literal["wall_clock", "utc"]
"""How to read a ``Z`` that a source writes."""
