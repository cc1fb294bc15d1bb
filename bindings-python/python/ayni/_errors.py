"""One class a kind of error, all under ``AyniError``."""

# Written by `make gen` from the code. Change the code, not this file.

from __future__ import annotations

from typing import ClassVar

from ayni._failure import AyniError

__all__ = [
    "AyniError",
    "Cancelled",
    "ColdStart",
    "ConfigInvalid",
    "Conflict",
    "ContentRejected",
    "ContextTooLong",
    "CreditsExhausted",
    "DeviceUnavailable",
    "Interrupted",
    "InvalidRequest",
    "ModelLoad",
    "NotFound",
    "Offline",
    "OutOfMemory",
    "PermissionDenied",
    "QuotaExceeded",
    "RateLimited",
    "ResponseInvalid",
    "Timeout",
    "Unauthenticated",
    "Unavailable",
    "Unexpected",
    "Unsupported",
]


class ConfigInvalid(AyniError):
    """A configuration value is missing, misspelt or contradicts another."""

    __module__ = "ayni"
    kind: ClassVar[str] = "config_invalid"
    _usually_retryable: ClassVar[bool] = False


class InvalidRequest(AyniError):
    """The request itself is wrong; sending it again cannot help."""

    __module__ = "ayni"
    kind: ClassVar[str] = "invalid_request"
    _usually_retryable: ClassVar[bool] = False


class ContextTooLong(AyniError):
    """The input is longer than the model's context window."""

    __module__ = "ayni"
    kind: ClassVar[str] = "context_too_long"
    _usually_retryable: ClassVar[bool] = False


class Unauthenticated(AyniError):
    """No credential was sent, or the backend does not accept it."""

    __module__ = "ayni"
    kind: ClassVar[str] = "unauthenticated"
    _usually_retryable: ClassVar[bool] = False


class PermissionDenied(AyniError):
    """The credential is known but may not do this."""

    __module__ = "ayni"
    kind: ClassVar[str] = "permission_denied"
    _usually_retryable: ClassVar[bool] = False


class CreditsExhausted(AyniError):
    """The account's money or credits are spent."""

    __module__ = "ayni"
    kind: ClassVar[str] = "credits_exhausted"
    _usually_retryable: ClassVar[bool] = False


class NotFound(AyniError):
    """The model, record or route does not exist at this backend."""

    __module__ = "ayni"
    kind: ClassVar[str] = "not_found"
    _usually_retryable: ClassVar[bool] = False


class Conflict(AyniError):
    """The request contradicts the current state of the resource."""

    __module__ = "ayni"
    kind: ClassVar[str] = "conflict"
    _usually_retryable: ClassVar[bool] = False


class Unsupported(AyniError):
    """The backend does not offer this operation, or was compiled without it."""

    __module__ = "ayni"
    kind: ClassVar[str] = "unsupported"
    _usually_retryable: ClassVar[bool] = False


class ContentRejected(AyniError):
    """A safety filter refused the prompt or the answer."""

    __module__ = "ayni"
    kind: ClassVar[str] = "content_rejected"
    _usually_retryable: ClassVar[bool] = False


class RateLimited(AyniError):
    """Too many requests for the moment."""

    __module__ = "ayni"
    kind: ClassVar[str] = "rate_limited"
    _usually_retryable: ClassVar[bool] = True


class QuotaExceeded(AyniError):
    """A quota is used up until a known or distant time; waiting a little does not help."""

    __module__ = "ayni"
    kind: ClassVar[str] = "quota_exceeded"
    _usually_retryable: ClassVar[bool] = False


class Timeout(AyniError, TimeoutError):
    """A phase of the call, or the whole call, took too long."""

    __module__ = "ayni"
    kind: ClassVar[str] = "timeout"
    _usually_retryable: ClassVar[bool] = True


class Unavailable(AyniError):
    """The backend cannot be reached or cannot serve now."""

    __module__ = "ayni"
    kind: ClassVar[str] = "unavailable"
    _usually_retryable: ClassVar[bool] = True


class ColdStart(AyniError):
    """The model or Space is waking up or loading."""

    __module__ = "ayni"
    kind: ClassVar[str] = "cold_start"
    _usually_retryable: ClassVar[bool] = True


class Interrupted(AyniError):
    """The answer broke off before its end."""

    __module__ = "ayni"
    kind: ClassVar[str] = "interrupted"
    _usually_retryable: ClassVar[bool] = True


class ResponseInvalid(AyniError):
    """The answer arrived but is not what the protocol promises."""

    __module__ = "ayni"
    kind: ClassVar[str] = "response_invalid"
    _usually_retryable: ClassVar[bool] = False


class ModelLoad(AyniError):
    """Local weights are missing, damaged or of an unknown architecture."""

    __module__ = "ayni"
    kind: ClassVar[str] = "model_load"
    _usually_retryable: ClassVar[bool] = False


class DeviceUnavailable(AyniError):
    """The requested device does not exist or does not work."""

    __module__ = "ayni"
    kind: ClassVar[str] = "device_unavailable"
    _usually_retryable: ClassVar[bool] = False


class OutOfMemory(AyniError):
    """The work does not fit into the device's memory."""

    __module__ = "ayni"
    kind: ClassVar[str] = "out_of_memory"
    _usually_retryable: ClassVar[bool] = False


class Cancelled(AyniError):
    """The caller cancelled the work."""

    __module__ = "ayni"
    kind: ClassVar[str] = "cancelled"
    _usually_retryable: ClassVar[bool] = False


class Offline(AyniError):
    """The network is needed but offline mode is on."""

    __module__ = "ayni"
    kind: ClassVar[str] = "offline"
    _usually_retryable: ClassVar[bool] = False


class Unexpected(AyniError):
    """A defect in ayni; please report it."""

    __module__ = "ayni"
    kind: ClassVar[str] = "unexpected"
    _usually_retryable: ClassVar[bool] = False


CLASSES: dict[str, type[AyniError]] = {
    "config_invalid": ConfigInvalid,
    "invalid_request": InvalidRequest,
    "context_too_long": ContextTooLong,
    "unauthenticated": Unauthenticated,
    "permission_denied": PermissionDenied,
    "credits_exhausted": CreditsExhausted,
    "not_found": NotFound,
    "conflict": Conflict,
    "unsupported": Unsupported,
    "content_rejected": ContentRejected,
    "rate_limited": RateLimited,
    "quota_exceeded": QuotaExceeded,
    "timeout": Timeout,
    "unavailable": Unavailable,
    "cold_start": ColdStart,
    "interrupted": Interrupted,
    "response_invalid": ResponseInvalid,
    "model_load": ModelLoad,
    "device_unavailable": DeviceUnavailable,
    "out_of_memory": OutOfMemory,
    "cancelled": Cancelled,
    "offline": Offline,
    "unexpected": Unexpected,
}
"""The class of every kind."""
