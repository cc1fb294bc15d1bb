"""The settings of a service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ayni import ConfigInvalid

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class ServiceSettings:
    """The settings of a service. :meth:`from_env` reads them from the environment."""

    api_key: str | None = field(default=None, repr=False)
    """What callers must send as ``X-API-Key`` (or as bearer token, where they can send nothing else); ``API_KEY``."""
    allow_origins: tuple[str, ...] = ()
    """Which pages of other origins may call; ``ALLOW_ORIGINS``, separated by commas. None by default."""
    max_body_bytes: int = 20 * MEBIBYTE
    """The longest body of a request; ``MAX_BODY_BYTES``."""
    max_concurrency: int = 128
    """The most requests at a time; more are refused with 429; ``MAX_CONCURRENCY``."""
    body_seconds: float = 30.0
    """How long a caller may take to send a body; ``BODY_TIMEOUT_SECONDS``."""
    request_seconds: float = 300.0
    """How long a request may take; ``REQUEST_TIMEOUT_SECONDS``."""
    drain_seconds: float = 30.0
    """How long to wait for running requests at shutdown; ``DRAIN_SECONDS``."""
    log: str | None = "json"
    """The form of the log where logging is not configured: ``json``, ``text`` or ``None`` for no log; ``LOG_FORMAT``."""

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_concurrency", "body_seconds", "request_seconds", "drain_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigInvalid(f"`{name}` is {getattr(self, name)}; it must be a number above 0")
        if self.log not in ("json", "text", None):
            raise ConfigInvalid(f"`log` is '{self.log}', which is unknown; valid: json, text")
        if self.api_key is not None and not self.api_key.strip():
            raise ConfigInvalid("`api_key` is empty; leave it out for a service without one")
        object.__setattr__(self, "allow_origins", tuple(map(_origin, self.allow_origins)))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ServiceSettings:
        """The settings of the environment. An empty variable counts as unset."""
        given = {name: value.strip() for name, value in (os.environ if env is None else env).items() if value.strip()}
        fields: dict[str, Any] = {
            name: _number(variable, given[variable], kind)
            for variable, (name, kind) in _NUMBERS.items()
            if variable in given
        }
        origins = (origin.strip() for origin in given.get("ALLOW_ORIGINS", "").split(","))
        log = given.get("LOG_FORMAT", "json")
        return cls(
            api_key=given.get("API_KEY"),
            allow_origins=tuple(filter(None, origins)),
            log=None if log == "none" else log,
            **fields,
        )


_NUMBERS: dict[str, tuple[str, type[int] | type[float]]] = {
    "MAX_BODY_BYTES": ("max_body_bytes", int),
    "MAX_CONCURRENCY": ("max_concurrency", int),
    "BODY_TIMEOUT_SECONDS": ("body_seconds", float),
    "REQUEST_TIMEOUT_SECONDS": ("request_seconds", float),
    "DRAIN_SECONDS": ("drain_seconds", float),
}


def _number(variable: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(text)
    except ValueError:
        raise ConfigInvalid(f"{variable} is '{text}', which is no number") from None


def _origin(origin: str) -> str:
    """An origin as browsers send it: scheme, host and port, no path."""
    if origin == "*":
        return origin
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise ConfigInvalid(
            f"ALLOW_ORIGINS has '{origin}', which is no origin; write scheme, host and port: https://app.example"
        )
    return f"{parts.scheme}://{parts.netloc}".lower()
