"""Analyses of tenders: which models may be asked, and answers as they come about."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal, get_args

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from ayni import AyniError, Chat, ConfigInvalid, InvalidRequest, Procurement
from ayni.documents import Analysis, analyse
from ayni.fastapi._failures import body_of, request_id_of
from ayni.fastapi._settings import ServiceSettings

Ask = Literal["summary", "requirements", "risks", "go_no_go", "deadlines"]

HOSTED: dict[str, tuple[str, str, str]] = {
    "gemini": ("GEMINI_API_KEY", "GEMINI_MODEL", "GOOGLE_GEMINI_BASE_URL"),
    "groq": ("GROQ_API_KEY", "GROQ_MODEL", "GROQ_BASE_URL"),
    "featherless": ("FEATHERLESS_API_KEY", "FEATHERLESS_MODEL", "FEATHERLESS_BASE_URL"),
}
"""The variables of each hosted model: its key, its name, its address."""

LOCAL = "LOCAL_CHAT_MODEL"
"""The variable with the reference of a model in this process."""


class Model(BaseModel):
    """A model that may be asked, or why it cannot be."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "gemini", "model": "gemini-2.5-flash", "problem": None}]})
    name: str
    """What requests call it."""
    model: str | None = None
    problem: str | None = None


class Models(BaseModel):
    """The models that may be asked, and the one that answers where none is named."""

    models: list[Model]
    default: str | None


class Questions(BaseModel):
    """What to ask about a tender, one question after the other: prepared ones, or a free one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"asks": ["summary", "risks"], "language": "es"}]})
    asks: list[Ask] = Field(default=["summary"], min_length=1, max_length=len(get_args(Ask)))
    question: str | None = Field(default=None, min_length=1, max_length=4_000, description="Instead of `asks`")
    language: Literal["es", "en"] = "es"
    model: str | None = Field(default=None, max_length=64, description="One of `GET /api/models`")

    def each(self) -> list[dict[str, Any]]:
        """The questions as :func:`ayni.documents.analyse` takes them."""
        if self.question is not None:
            if "asks" in self.model_fields_set:
                raise InvalidRequest("`asks` and `question` exclude each other: give one of the two")
            return [{"question": self.question, "language": self.language}]
        return [{"ask": ask, "language": self.language} for ask in dict.fromkeys(self.asks)]


class Chats:
    """The chats that may be asked, by name: the given one, else those of the environment. Each is opened when it is first
    asked."""

    def __init__(self, chat: Chat | Mapping[str, Any] | None, env: Mapping[str, str] | None = None) -> None:
        self._given = chat
        found = os.environ if env is None else env
        self._env = {name: value.strip() for name, value in found.items() if value.strip()}
        self._opened: dict[str, Chat] = {}
        self._opening = asyncio.Lock()

    def describe(self) -> Models:
        """What may be asked. Sends nothing and loads nothing."""
        if self._given is not None:
            model = self._given.info().model if isinstance(self._given, Chat) else self._given.get("model")
            return Models(models=[Model(name="default", model=model)], default="default")
        models = [self._hosted(name) for name in HOSTED]
        local = self._env.get(LOCAL)
        models.append(Model(name="local", model=local, problem=None if local else f"{LOCAL} is not set"))
        return Models(models=models, default=next((row.name for row in models if row.problem is None), None))

    def _hosted(self, name: str) -> Model:
        key, model, _ = HOSTED[name]
        if key not in self._env:
            return Model(name=name, model=self._env.get(model), problem=f"{key} is not set")
        return Model(name=name, model=self._open_hosted(name).info().model)

    def _open_hosted(self, name: str) -> Chat:
        if name not in self._opened:
            own = {variable: self._env[variable] for variable in HOSTED[name] if variable in self._env}
            self._opened[name] = Chat.from_env(own)
        return self._opened[name]

    async def open(self, name: str | None) -> Chat:
        """The chat with a name. Without one, those whose keys are set, each standing in for those before it; else the local one."""
        rows = {row.name: row for row in self.describe().models}
        if name is not None and name not in rows:
            raise InvalidRequest(f"the model '{name}' is unknown; valid: {', '.join(rows)}")
        if name is not None and (problem := rows[name].problem) is not None:
            raise ConfigInvalid(problem)
        if name is None and "local" in rows and all(rows[hosted].problem for hosted in HOSTED) and rows["local"].problem is None:
            name = "local"
        if name in HOSTED:
            return self._open_hosted(name)
        async with self._opening:
            if (key := name or "default") not in self._opened:
                self._opened[key] = await asyncio.to_thread(self._open, key)
            return self._opened[key]

    def _open(self, name: str) -> Chat:
        if name == "local":
            return Chat(self._env[LOCAL])
        if isinstance(self._given, Chat):
            return self._given
        return Chat.from_env(self._env) if self._given is None else Chat(self._given)


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def analysis_stream(
    request: Request, procurement: Procurement, chat: Chat, code: str, questions: list[dict[str, Any]]
) -> StreamingResponse:
    """The analyses of a tender as server-sent events: ``record``, then for each question ``asking``, its ``claim``s and
    ``rejected``s and ``answered``, at the end ``done``, or ``error``. A stream without one of these two was cut."""
    # Fails here while there is still a status to be set; the analyses find it in the store.
    record = (await procurement.tender(code)).json
    settings: ServiceSettings = getattr(request.app.state, "ayni_settings", None) or ServiceSettings()
    events = _events(request, procurement, chat, code, questions, record, settings.keep_alive_seconds)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _events(
    request: Request,
    procurement: Procurement,
    chat: Chat,
    code: str,
    questions: list[dict[str, Any]],
    record: str,
    silence: float,
) -> AsyncGenerator[bytes, None]:
    # The text as it is, because a JSON library would round amounts.
    yield b"event: record\ndata: " + record.encode() + b"\n\n"
    for question in questions:
        ask = question.get("ask", "question")
        yield _event("asking", {"ask": ask, "model": chat.info().model, "backend": chat.info().backend})
        work = asyncio.ensure_future(analyse(procurement, code, chat, **question))
        try:
            while not (await asyncio.wait((work,), timeout=silence))[0]:
                yield b": keep-alive\n\n"
            found = work.result()
        except AyniError as error:
            request.scope["ayni.kind"] = error.kind
            yield _event("error", {"ask": ask, **body_of(error, request_id_of(request), discreet=True)})
            return
        finally:
            work.cancel()
        for part in _parts(ask, found):
            yield part
    yield _event("done", {"code": code})


def _parts(ask: str, found: Analysis) -> list[bytes]:
    claims = [_event("claim", {"ask": ask, **claim}) for claim in found.claims]
    rejected = [_event("rejected", {"ask": ask, **claim}) for claim in found.rejected]
    kept = ("verdict", "left_out", "route", "usage", "repaired", "as_of", "source")
    answered = {"ask": ask, **{name: found.fields.get(name) for name in kept}}
    return [*claims, *rejected, _event("answered", answered)]
