"""Answers that follow a Pydantic model. Pydantic is never imported here: the caller's model brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ayni import _errors
from ayni._answers import ChatResponse

if TYPE_CHECKING:
    from pydantic import BaseModel

    ModelT = TypeVar("ModelT", bound=BaseModel)


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The output format that follows the model."""
    try:
        schema = model.model_json_schema()
    except AttributeError:
        raise TypeError(f"{model!r} is no Pydantic model (version 2 or later)") from None
    return {"json_schema": {"name": model.__name__, "schema": schema, "strict": False}}


def parsed(model: type[ModelT], response: ChatResponse) -> ModelT:
    """The answer as a model. The error does not repeat the answer."""
    text = response.text.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].rpartition("```")[0]
    try:
        return model.model_validate_json(text)
    except ValueError as error:
        count = getattr(error, "error_count", lambda: 1)()
        raise _errors.ResponseInvalid(
            f"the answer does not follow {model.__name__}: {count} faults; its finish reason is '{response.finish}'",
            backend=response.route.backend,
            request_id=response.route.request_id,
        ) from error
