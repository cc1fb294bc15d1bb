"""Failures as callers see them: a status, and JSON that says the kind and one sentence."""

from __future__ import annotations

import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from ayni import AyniError, _ayni

STATUSES: dict[str, int] = _ayni.STATUSES
"""The status of each kind of error. A credential that a hosted backend refuses is the service's, not the caller's."""

# What the statuses of the service itself mean, in the words of the error kinds.
KINDS = {400: "invalid_request", 401: "unauthenticated", 404: "not_found", 405: "invalid_request", 408: "timeout"}
KINDS |= {413: "invalid_request", 421: "invalid_request", 422: "invalid_request", 429: "rate_limited", 503: "unavailable", 504: "timeout"}

# Asked to wait, but not for how long.
SOON = 1


class FailureDetails(BaseModel):
    """What went wrong, for programs."""

    model_config = ConfigDict(extra="allow")

    kind: str
    """One of ayni's error kinds."""
    message: str
    type: str
    code: str | None = None
    param: str | None = None
    retryable: bool = False
    retry_after: float | None = None
    backend: str | None = None
    request_id: str | None = None
    upstream: dict[str, Any] | None = None
    """What the hosted service behind the backend answered: its `status`, and the beginning of its own words as `reason`."""


class Failure(BaseModel):
    """Why a request failed."""

    detail: str
    """One sentence."""
    error: FailureDetails

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "detail": "`text` is empty",
                    "error": {
                        "kind": "invalid_request",
                        "message": "`text` is empty",
                        "type": "invalid_request_error",
                        "code": "invalid_request",
                        "retryable": False,
                        "request_id": "5f0c6f0d8a6b4f0e9d3f0f6f8c1b2a3d",
                    },
                }
            ]
        }
    )


def _documented(status: int, kind: str, description: str, message: str, **more: Any) -> dict[str, Any]:
    """One failure of the documentation, with an example of its own."""
    example = failure_body(status, kind, message, request_id="5f0c6f0d8a6b4f0e9d3f0f6f8c1b2a3d", **more)
    return {"model": Failure, "description": description, "content": {"application/json": {"example": example}}}


def _documentation() -> dict[int | str, dict[str, Any]]:
    wait = {"retryable": True, "retry_after": 2.0}
    upstream = {"upstream_status": 401, "upstream_reason": '{"error":"invalid key ***"}', "backend": "openai"}
    rows: list[tuple[int, str, str, str, dict[str, Any]]] = [
        (400, "invalid_request", "What was sent cannot be served", "`text` is empty", {}),
        (401, "unauthenticated", "`X-API-Key` is missing or wrong", "Invalid API key", {}),
        (404, "not_found", "There is no such model, mode or record", "the model 'gpt-5' is not served here; valid: small", {}),
        (408, "timeout", "The body took too long to arrive", "the body did not arrive within 30 seconds", {}),
        (413, "invalid_request", "The body is too large", "the body is larger than 4194304 bytes", {}),
        (421, "invalid_request", "The name in `Host` is not served", "this host name is not served; set ALLOW_HOSTS, or API_KEY", {}),
        (
            422, "invalid_request", "The body or a parameter has the wrong form, or a filter refused the content",
            "`text`: Field required", {"param": "text"},
        ),
        (
            429, "rate_limited", "Too many requests, here or at the backend; `Retry-After` says how long to wait",
            "the service is at its limit of concurrent requests; come back soon", wait,
        ),
        (500, "model_load", "The model cannot be loaded, or a defect", "model.safetensors is cut off", {}),
        (501, "config_invalid", "This service is not set up for it", "HF_API_TOKEN is not set", {}),
        (
            502, "unauthenticated", "The backend's answer is of no use, or it refuses the service's credential",
            "the backend refuses the credential", upstream,
        ),
        (503, "unavailable", "The backend is away or waking up, or this service is loading", "the backend is away", wait),
        (504, "timeout", "The backend took too long", "api.example gave no answer within 60.0 s", {"retryable": True}),
        (507, "out_of_memory", "The work does not fit into memory", "the device has no room for 512 MB", {}),
    ]  # fmt: skip
    return {status: _documented(status, kind, what, message, **more) for status, kind, what, message, more in rows}


def status_of(error: AyniError) -> int:
    """The status of an error."""
    if error.context.get("body") == "malformed":
        return 422
    if error.kind == "unsupported" and "option" in error.context:
        # The caller can leave it out; clients would repeat a request that failed with a 5xx.
        return 400
    return STATUSES.get(error.kind, 500)


def failure_body(
    status: int,
    kind: str,
    message: str,
    *,
    retryable: bool = False,
    retry_after: float | None = None,
    backend: str | None = None,
    param: str | None = None,
    request_id: str | None = None,
    upstream_status: int | None = None,
    upstream_reason: str | None = None,
) -> dict[str, Any]:
    """The JSON of a failure."""
    return _ayni.failure_body(
        {
            "status": status,
            "kind": kind,
            "message": message,
            "retryable": retryable,
            "retry_after": retry_after,
            "backend": backend,
            "param": param,
            "request_id": request_id,
            "upstream_status": upstream_status,
            "upstream_reason": upstream_reason,
        }
    )


DOCUMENTED: dict[int | str, dict[str, Any]] = _documentation()
"""What routes document beside their success."""


def body_of(error: AyniError, request_id: str | None, *, discreet: bool = False) -> dict[str, Any]:
    """The JSON of an error. Unless it is to be discreet, it repeats the hosted service's own words, which may repeat what was
    sent to it."""
    return failure_body(
        status_of(error),
        error.kind,
        error.message,
        retryable=error.retryable,
        retry_after=error.retry_after,
        backend=error.backend,
        param=error.context.get("param"),
        request_id=request_id,
        upstream_status=error.status,
        upstream_reason=None if discreet else error.response_excerpt,
    )


def failure_response(
    status: int, kind: str, message: str, request_id: str | None, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """A failure as a response."""
    body = failure_body(status, kind, message, request_id=request_id, **more)
    return JSONResponse(body, status, headers=headers)


def wait_header(status: int, retry_after: float | None) -> dict[str, str]:
    """``Retry-After``, where the status asks for it."""
    if retry_after is None and status not in (429, 503):
        return {}
    return {"Retry-After": str(max(1, math.ceil(SOON if retry_after is None else retry_after)))}


def request_id_of(request: Request) -> str | None:
    """The id under which the guard runs the request."""
    found = request.scope.get("state", {}).get("request_id")
    return found if isinstance(found, str) else None


def response_of(error: AyniError, request_id: str | None, *, discreet: bool = False) -> JSONResponse:
    """The response to an error."""
    status = status_of(error)
    body = body_of(error, request_id, discreet=discreet)
    return JSONResponse(body, status, headers=wait_header(status, error.retry_after))


async def _ayni_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AyniError)
    request.scope["ayni.kind"] = error.kind
    return response_of(error, request_id_of(request), discreet="ayni.discreet" in request.scope)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = KINDS.get(error.status_code, "invalid_request" if error.status_code < 500 else "unexpected")
    request.scope["ayni.kind"] = kind
    message, headers = str(error.detail), dict(error.headers or {})
    return failure_response(error.status_code, kind, message, request_id_of(request), headers)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    request.scope["ayni.kind"] = "invalid_request"
    message, param = sentence(error)
    return failure_response(422, "invalid_request", message, request_id_of(request), param=param)


def sentence(error: RequestValidationError) -> tuple[str, str | None]:
    """Where the first fault is and what it is; never what was sent."""
    faults = error.errors()
    first = faults[0]
    if first["type"] == "json_invalid":
        return "the body is not JSON", None
    # The first says where the field is: in the body, the query, the path or a header. A field may have such a name too.
    place = [str(part) for part in first["loc"][1:]]
    name = ".".join(place)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if not name:
        return f"the body: {first['msg']}{more}", None
    return f"`{name}`: {first['msg']}{more}", name


def add_failure_handlers(app: FastAPI) -> None:
    """Makes an app answer failures as JSON with their kind. :func:`ayni.fastapi.guard` does so."""
    app.add_exception_handler(AyniError, _ayni_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
