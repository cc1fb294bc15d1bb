"""OpenAI's routes on ayni's backends: chat completions, embeddings, images, models."""

import json
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from importlib import resources
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.types import Receive, Scope, Send

from ayni import Chat, Embedder, ImageGenerator, NotFound, Unsupported, _ayni
from ayni._calls import awaited
from ayni.fastapi._failures import request_id_of
from ayni.fastapi._service import Part, ServiceRouter

HandleT = TypeVar("HandleT", Chat, Embedder, ImageGenerator)


class Loose(BaseModel):
    """An object of OpenAI's API, as its own reference describes it."""

    model_config = ConfigDict(extra="allow")
    object: str


class ChatCompletion(Loose):
    """A chat completion."""

    id: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


class EmbeddingList(Loose):
    """Embeddings, in the order of the inputs."""

    model: str
    data: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


class ImageList(BaseModel):
    """Images as base64."""

    created: int
    data: list[dict[str, Any]]


class ModelList(Loose):
    """The models that are served."""

    data: list[dict[str, Any]]


class OpenAiPart(Part):
    """The handles that answer, each by its name."""

    name = "openai"

    def __init__(
        self, chats: dict[str, Chat], embedders: dict[str, Embedder], generators: dict[str, ImageGenerator]
    ) -> None:
        self.chats, self.embedders, self.generators = chats, embedders, generators
        self.loaded = False
        self.created = int(time.time())

    async def load(self) -> None:
        """Loads local embedders and runs them once; hosted backends are not called."""
        for embedder in self.embedders.values():
            if embedder.info().backend == "local":
                await embedder.embed(["warm-up"])
        self.loaded = True

    def names(self) -> list[str]:
        """The names of all models."""
        return list(dict.fromkeys([*self.chats, *self.embedders, *self.generators]))

    def health(self) -> Mapping[str, Any]:
        """The models."""
        return {"models": self.names()}

    def problem(self) -> str | None:
        """Why they cannot serve yet."""
        return None if self.loaded else "the models are not loaded"


def _named(given: HandleT | Mapping[str, HandleT] | None) -> dict[str, HandleT]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    return {given.info().model: given}


def _served(handles: dict[str, HandleT], model: str, what: str) -> HandleT:
    if not handles:
        raise Unsupported(f"this service serves no {what}")
    if model not in handles:
        raise NotFound(f"the model '{model[:80]}' is not served here; valid for {what}: {', '.join(handles)}")
    return handles[model]


def _documented(name: str) -> dict[str, Any]:
    """A request body for /docs. The native module reads it: it says which field is wrong and stops there."""
    schemas = json.loads(resources.files("ayni.fastapi").joinpath("openai-requests.schema.json").read_text())
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schemas[name]}}}}


async def _sent(request: Request) -> tuple[bytes, str | None]:
    return await request.body(), request.headers.get("content-type")


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


class _Events(Response):
    """Server-sent events. The stream stops when the caller disconnects."""

    media_type = "text/event-stream"

    def __init__(self, events: _ayni.OpenAiEvents) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for part in self._parts(scope):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._events.close()

    async def _parts(self, scope: Scope) -> AsyncGenerator[bytes, None]:
        kind = None
        while kind is None:
            part, kind = await awaited(self._events.next)
            if not part:
                return
            if kind is not None:
                # The status is sent already; OpenAI's clients raise on an event with `error`.
                scope["ayni.kind"] = kind
            yield part


def openai_router(
    chat: Chat | Mapping[str, Chat] | None = None,
    embedder: Embedder | Mapping[str, Embedder] | None = None,
    images: ImageGenerator | Mapping[str, ImageGenerator] | None = None,
) -> ServiceRouter:
    """OpenAI's routes. A handle is served under its model's name; a mapping gives the names."""
    part = OpenAiPart(_named(chat), _named(embedder), _named(images))
    router = ServiceRouter(part, prefix="/v1", tags=["openai"])

    @router.post(
        "/chat/completions",
        response_model=ChatCompletion,
        openapi_extra=_documented("chat"),
        summary="An answer, whole or streamed",
    )
    async def chat_completions(request: Request) -> Response:
        asked = _ayni.OpenAiRequest("chat", *await _sent(request))
        native = _served(part.chats, asked.model or "", "chat")._native
        head = (f"chatcmpl-{uuid.uuid4().hex}", int(time.time()))
        if asked.stream:
            return _Events(await awaited(asked.events, native, *head, request_id_of(request)))
        return _json(await awaited(asked.answer, native, *head))

    @router.post(
        "/embeddings", response_model=EmbeddingList, openapi_extra=_documented("embeddings"), summary="Vectors of texts"
    )
    async def embeddings(request: Request) -> Response:
        asked = _ayni.OpenAiRequest("embeddings", *await _sent(request))
        handle = _served(part.embedders, asked.model or "", "embeddings")
        return _json(await awaited(asked.answer, handle._native, "", 0))

    @router.post(
        "/images/generations",
        response_model=ImageList,
        openapi_extra=_documented("images"),
        summary="Images from a prompt",
    )
    async def image_generations(request: Request) -> Response:
        asked = _ayni.OpenAiRequest("images", *await _sent(request))
        handle = _served(part.generators, asked.model or next(iter(part.generators), ""), "images")
        return _json(await awaited(asked.answer, handle._native, "", int(time.time())))

    @router.get("/models", response_model=ModelList, summary="The models that are served")
    async def models() -> JSONResponse:
        return JSONResponse(_ayni.openai_models(part.names(), part.created, None))

    @router.get("/models/{model:path}", response_model=Loose, summary="One model")
    async def model(model: str) -> JSONResponse:
        names = part.names()
        if model not in names:
            raise NotFound(f"the model '{model[:80]}' is not served here; valid: {', '.join(names)}")
        return JSONResponse(_ayni.openai_models(names, part.created, model))

    return router
