"""The settings of a service."""

from __future__ import annotations

import os
import re
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
    """Which pages of other origins may call; ``ALLOW_ORIGINS``, separated by commas. None by default. A ``*`` stands for one
    part of a host's name: ``https://*.vercel.app``; alone for any origin."""
    allow_hosts: tuple[str, ...] = ()
    """Names under which a service without a key may be called on this machine, besides ``localhost`` and loopback addresses;
    ``ALLOW_HOSTS``. A page elsewhere can make its own name point here, so that a browser lets it call."""
    max_body_bytes: int = 20 * MEBIBYTE
    """The longest body of a request to routes that take images; ``MAX_BODY_BYTES``."""
    max_text_bytes: int = 4 * MEBIBYTE
    """The longest body of a request to all other routes; ``MAX_TEXT_BYTES``."""
    max_concurrency: int = 128
    """The most requests at a time; more are refused with 429; ``MAX_CONCURRENCY``."""
    max_connections: int = 1000
    """The most open connections of ``ayni serve``; one more closes the oldest that has no request; ``MAX_CONNECTIONS``."""
    header_seconds: float = 10.0
    """How long a caller of ``ayni serve`` may take to send a request's head; ``HEADER_TIMEOUT_SECONDS``."""
    write_seconds: float = 30.0
    """How long a caller may take none of an answer; ``WRITE_TIMEOUT_SECONDS``."""
    keep_alive_seconds: float = 15.0
    """How long a stream is silent before a comment keeps its connection open; ``KEEP_ALIVE_SECONDS``."""
    body_seconds: float = 30.0
    """How long a caller may take to send a body; ``BODY_TIMEOUT_SECONDS``."""
    request_seconds: float = 300.0
    """How long a request may take; ``REQUEST_TIMEOUT_SECONDS``."""
    drain_seconds: float = 30.0
    """How long to wait for running requests at shutdown; ``DRAIN_SECONDS``."""
    log: str | None = "json"
    """The form of the log where logging is not configured: ``json``, ``text`` or ``None`` for no log; ``LOG_FORMAT``."""

    def __post_init__(self) -> None:
        for name, _ in _NUMBERS.values():
            if not getattr(self, name) > 0:
                raise ConfigInvalid(f"`{name}` is {getattr(self, name)}; it must be a number above 0")
        if self.log not in ("json", "text", None):
            raise ConfigInvalid(f"`log` is '{self.log}', which is unknown; valid: json, text")
        if self.api_key is not None and not self.api_key.strip():
            raise ConfigInvalid("`api_key` is empty; leave it out for a service without one")
        object.__setattr__(self, "allow_origins", tuple(map(_origin, self.allow_origins)))
        object.__setattr__(self, "allow_hosts", tuple(host.strip().lower() for host in self.allow_hosts))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ServiceSettings:
        """The settings of the environment. An empty variable counts as unset, except ``API_KEY``: whoever sets it wants a
        service that is closed."""
        found = os.environ if env is None else env
        given = {name: value.strip() for name, value in found.items() if value.strip()}
        if "API_KEY" in found and "API_KEY" not in given:
            raise ConfigInvalid("API_KEY is blank; set a key, or unset the variable for a service that is open to everybody")
        fields: dict[str, Any] = {
            name: _number(variable, given[variable], kind)
            for variable, (name, kind) in _NUMBERS.items()
            if variable in given
        }
        log = given.get("LOG_FORMAT", "json")
        return cls(
            api_key=given.get("API_KEY"),
            allow_origins=_listed(given.get("ALLOW_ORIGINS", "")),
            allow_hosts=_listed(given.get("ALLOW_HOSTS", "")),
            log=None if log == "none" else log,
            **fields,
        )

    def origin_pattern(self) -> str | None:
        """A regular expression for the origins that are written with ``*``."""
        patterns = [origin for origin in self.allow_origins if "*" in origin and origin != "*"]
        one_part = "[a-z0-9-]+"
        return "|".join(re.escape(origin).replace(r"\*", one_part) for origin in patterns) or None


_NUMBERS: dict[str, tuple[str, type[int] | type[float]]] = {
    "MAX_BODY_BYTES": ("max_body_bytes", int),
    "MAX_TEXT_BYTES": ("max_text_bytes", int),
    "MAX_CONCURRENCY": ("max_concurrency", int),
    "MAX_CONNECTIONS": ("max_connections", int),
    "HEADER_TIMEOUT_SECONDS": ("header_seconds", float),
    "WRITE_TIMEOUT_SECONDS": ("write_seconds", float),
    "KEEP_ALIVE_SECONDS": ("keep_alive_seconds", float),
    "BODY_TIMEOUT_SECONDS": ("body_seconds", float),
    "REQUEST_TIMEOUT_SECONDS": ("request_seconds", float),
    "DRAIN_SECONDS": ("drain_seconds", float),
}


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


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
    if "*" in origin and not re.fullmatch(r"\*(\.[^*.]+){2,}", parts.netloc):
        raise ConfigInvalid(
            f"ALLOW_ORIGINS has '{origin}'; a `*` stands for the first part of a host's name only: https://*.vercel.app"
        )
    return f"{parts.scheme}://{parts.netloc}".lower()
