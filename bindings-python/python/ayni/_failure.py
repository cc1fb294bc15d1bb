"""The base class of all errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ayni._results import RouteFailure


class AyniError(Exception):
    """Why a call failed. Its text is one line and holds no prompt, no input and no key.

    There is no need to parse it: the class (or ``kind``) says what went wrong, ``retryable`` whether another attempt may
    help, ``retry_after`` how many seconds to wait.
    """

    kind: ClassVar[str] = "unexpected"
    _usually_retryable: ClassVar[bool] = False

    message: str
    """One sentence for the person who can fix it."""
    retryable: bool
    """Whether another attempt may help now; false once the attempts allowed are used up."""
    retry_after: float | None
    """How many seconds to wait before the next attempt, where the backend says so."""
    status: int | None
    """The HTTP status, where one arrived."""
    backend: str | None
    request_id: str | None
    """The backend's id of the failed request."""
    route: tuple[RouteFailure, ...]
    """The backends that were tried, where there was more than one; the last is the one of this error."""
    operation: str | None
    persistence: str
    """``permanent``, ``temporary`` or ``exhausted``."""
    sent: str
    """Whether the backend may have received the request: ``no``, ``maybe`` or ``yes``."""
    partial_text: str | None
    """The text that was delivered before the failure; of a refusal its sentence."""
    response_excerpt: str | None
    """The beginning of the backend's own words, credentials masked. They may repeat the prompt: don't log them."""
    context: Mapping[str, str]
    """Named facts about the failure."""

    def __init__(
        self,
        text: str = "",
        *,
        message: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        backend: str | None = None,
        request_id: str | None = None,
        route: Sequence[RouteFailure | Mapping[str, str]] = (),
        operation: str | None = None,
        persistence: str | None = None,
        sent: str = "no",
        partial_text: str | None = None,
        response_excerpt: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.message = text if message is None else message
        self.retryable = self._usually_retryable if retryable is None else retryable
        self.retry_after = retry_after
        self.status = status
        self.backend = backend
        self.request_id = request_id
        self.route = tuple(
            failure if isinstance(failure, RouteFailure) else RouteFailure(**failure) for failure in route
        )
        self.operation = operation
        self.persistence = persistence or ("temporary" if self.retryable else "permanent")
        self.sent = sent
        self.partial_text = partial_text
        self.response_excerpt = response_excerpt
        self.context = dict(context or {})

    @classmethod
    def _of(cls, text: str, fields: Mapping[str, Any]) -> AyniError:
        """The error of native code, from its text and its data."""
        wait = fields["retry_after_ms"]
        return cls(
            text,
            message=fields["message"],
            retryable=fields["retryable"],
            retry_after=None if wait is None else wait / 1000,
            status=fields["http_status"],
            backend=fields["backend"],
            request_id=fields["request_id"],
            route=fields["failed"],
            operation=fields["operation"],
            persistence=fields["persistence"],
            sent=fields["sent"],
            partial_text=fields["partial_text"],
            response_excerpt=fields["response_excerpt"],
            context=fields["context"],
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args[0], dict(self.__dict__))


def _again(kind: type[AyniError], text: str, attributes: dict[str, Any]) -> AyniError:
    error = kind(text)
    error.__dict__.update(attributes)
    return error
