"""OpenAI's routes on ayni's backends: chat completions, responses, embeddings, images, models, tokens."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from importlib import resources
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.types import Receive, Scope, Send

from ayni import AyniError, Chat, Embedder, ImageGenerator, InvalidRequest, NotFound, __version__, _ayni
from ayni._calls import awaited
from ayni.fastapi._failures import body_of, failure_body, request_id_of, status_of
from ayni.fastapi._guard import text_route
from ayni.fastapi._pages import Form, Input
from ayni.fastapi._service import Part, ServiceRouter
from ayni.fastapi._settings import ServiceSettings

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


class Answered(Loose):
    """An answer of the API `responses`."""

    id: str
    created_at: int
    model: str
    status: str
    output: list[dict[str, Any]]


class TokenCount(BaseModel):
    """How many tokens a text or a conversation has."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"count": 2, "max_model_len": 512, "tokens": None}]})
    count: int
    max_model_len: int | None
    tokens: list[int] | None
    """The tokens, for models of embeddings."""


class Served(BaseModel):
    """What is known about one model."""

    model_config = ConfigDict(extra="allow")
    id: str
    kind: str
    backend: str
    model: str
    device: str | None = None
    precision: str | None = None


class About(BaseModel):
    """The version and the models."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"version": "0.1.0", "models": [{"id": "m", "kind": "chat", "backend": "openai", "model": "m"}]}]
        }
    )
    version: str
    models: list[Served]


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
        """Loads local models and runs embedders once; hosted backends are not called."""
        for chat in self.chats.values():
            if chat.info().backend == "local":
                await chat.ready(progress=self.show_progress)
        for embedder in self.embedders.values():
            if embedder.info().backend == "local":
                await embedder.ready(progress=self.show_progress)
                await embedder.embed(["warm-up"])
        self.loaded = True

    def is_paid(self) -> bool:
        """Whether somebody else's service does some of the work."""
        return any(handle.info().host is not None for handles in self.handles().values() for handle in handles.values())

    def forms(self) -> Sequence[Form]:
        """One form a capability."""
        prompt = Input("prompt", "Message", "text", "hola")
        forms = []
        if self.chats:
            model = Input("model", "Model", "choice", choices=list(self.chats))
            body = {"model": "$model", "messages": [{"role": "user", "content": "$prompt"}]}
            forms.append(Form("Chat", "/v1/chat/completions", [model, prompt], "text", body))
        if self.embedders:
            model = Input("model", "Model", "choice", choices=list(self.embedders))
            text = Input("prompt", "Text", "text", "hola")
            forms.append(Form("Vector of a text", "/v1/embeddings", [model, text], "vector", {"model": "$model", "input": "$prompt"}))
        if self.generators:
            model = Input("model", "Model", "choice", choices=list(self.generators))
            shown = Input("prompt", "What the image shows", "text", "a red fox in the snow")
            body = {"model": "$model", "prompt": "$prompt"}
            forms.append(Form("Make an image", "/v1/images/generations", [model, shown], "images", body))
        return forms

    def about(self) -> list[dict[str, Any]]:
        """What is known about every model, without asking anybody."""
        found = []
        for kind, handles in self.handles().items():
            for name, handle in handles.items():
                info = handle.info()
                one: dict[str, Any] = {"id": name, "kind": kind, "backend": info.backend, "model": info.model}
                one |= {"device": info.device, "precision": info.precision}
                if not isinstance(handle, ImageGenerator):
                    one["window"] = handle.window()
                if isinstance(handle, Embedder):
                    one["dimensions"] = handle.space().dimensions
                found.append(one)
        return found

    def handles(self) -> dict[str, Mapping[str, Chat | Embedder | ImageGenerator]]:
        """The handles of each capability."""
        return {"chat": self.chats, "embeddings": self.embedders, "images": self.generators}

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
        raise NotFound(f"this service serves no {what}")
    if model not in handles:
        raise NotFound(f"the model '{model[:80]}' is not served here; valid for {what}: {', '.join(handles)}")
    return handles[model]


def _documented(name: str, model: str | None) -> dict[str, Any]:
    """A request body for /docs, whose example asks for a model that is served. The native module reads the body: it says which
    field is wrong and stops there."""
    schema = json.loads(resources.files("ayni.fastapi").joinpath("openai-requests.schema.json").read_text())[name]
    if model is not None:
        schema["examples"] = [{**example, "model": model} for example in schema["examples"]]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_EDITS = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image", "prompt"],
                    "properties": {
                        "image": {"type": "string", "contentMediaType": "image/*", "contentEncoding": "binary"},
                        "mask": {"type": "string", "contentMediaType": "image/*", "contentEncoding": "binary"},
                        "prompt": {"type": "string", "minLength": 1},
                        "model": {"type": "string"},
                        "size": {"type": "string"},
                    },
                }
            }
        },
    }
}


async def _sent(request: Request) -> tuple[bytes, str | None]:
    return await request.body(), request.headers.get("content-type")


def _as_texts(body: bytes, text_of: Callable[[list[int]], str]) -> bytes:
    """The body with texts where it has token ids."""
    asked = json.loads(body)
    given = asked.get("input") if isinstance(asked, dict) else None
    if not isinstance(given, list) or not given:
        return body
    lists = [given] if isinstance(given[0], int) else given
    if not all(isinstance(one, list) and one and all(type(token) is int and token >= 0 for token in one) for one in lists):
        return body
    try:
        asked["input"] = [text_of(one) for one in lists]
    except (KeyError, ValueError, OverflowError):
        message = "`input` holds a number that is no token"
        raise InvalidRequest(message=message, context={"param": "input"}) from None
    return json.dumps(asked).encode()


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


class _Events(Response):
    """Server-sent events. The work stops when the caller disconnects; while nothing comes, comments keep the connection."""

    media_type = "text/event-stream"

    def __init__(self, opening: asyncio.Future[_ayni.OpenAiEvents], request_id: str | None, silence: float) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._opening, self._request_id, self._silence = opening, request_id, silence
        self._events: _ayni.OpenAiEvents | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def body(part: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": part, "more_body": more})

        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for part in self._parts(scope):
                await body(part)
            await body(b"", more=False)
        except asyncio.CancelledError:
            scope["ayni.kind"] = "interrupted"
            if not scope.get("ayni.left", False):
                message = "the service cut the answer: it is stopping, or the time of a request is over"
                await body(self._failure(503, "interrupted", message, retryable=True), more=False)
            raise
        finally:
            self._opening.cancel()
            if self._events is not None:
                self._events.close()

    async def _parts(self, scope: Scope) -> AsyncGenerator[bytes, None]:
        async for part in self._kept_alive(self._opening):
            yield part
        try:
            self._events = self._opening.result()
        except AyniError as error:
            # The status is sent already; OpenAI's clients raise on an event with `error`.
            scope["ayni.kind"] = error.kind
            yield _event({**body_of(error, self._request_id), "status": status_of(error)})
            return
        kind = None
        while kind is None:
            piece = asyncio.ensure_future(awaited(self._events.next))
            try:
                async for comment in self._kept_alive(piece):
                    yield comment
            finally:
                piece.cancel()
            part, kind = piece.result()
            if not part:
                return
            if kind is not None:
                scope["ayni.kind"] = kind
            yield part

    async def _kept_alive(self, work: asyncio.Future[Any]) -> AsyncGenerator[bytes, None]:
        """Comments until the work is done."""
        while not (await asyncio.wait((work,), timeout=self._silence))[0]:
            yield b": keep-alive\n\n"

    def _failure(self, status: int, kind: str, message: str, **more: Any) -> bytes:
        return _event({**failure_body(status, kind, message, request_id=self._request_id, **more), "status": status})


def _event(fields: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(fields)}\n\n".encode()


async def _streamed(request: Request, opening: asyncio.Future[_ayni.OpenAiEvents]) -> Response:
    """Waits for the first event, whose failure still sets the status; not for longer than a connection may be silent."""
    settings = getattr(request.app.state, "settings", None) or ServiceSettings()
    try:
        await asyncio.wait((opening,), timeout=settings.keep_alive_seconds)
    except asyncio.CancelledError:
        opening.cancel()
        raise
    if opening.done():
        # Fails here where there is no first event.
        opening.result()
    return _Events(opening, request_id_of(request), settings.keep_alive_seconds)


def openai_router(
    chat: Chat | Mapping[str, Chat] | None = None,
    embedder: Embedder | Mapping[str, Embedder] | None = None,
    images: ImageGenerator | Mapping[str, ImageGenerator] | None = None,
    *,
    text_of_tokens: Callable[[list[int]], str] | None = None,
) -> ServiceRouter:
    """OpenAI's routes. A handle is served under its model's name; a mapping gives the names.

    Texts to embed may come as token ids: of the model's own tokenizer, or of the one behind ``text_of_tokens``. Clients that
    take every model for OpenAI's send those of ``tiktoken.get_encoding("cl100k_base").decode``.
    """
    part = OpenAiPart(_named(chat), _named(embedder), _named(images))
    router = ServiceRouter(part, tags=["openai"])
    first = {kind: next(iter(handles), None) for kind, handles in part.handles().items()}

    async def spoken(request: Request, route: str, name: str) -> Response:
        asked = _ayni.OpenAiRequest(route, *await _sent(request))
        native = _served(part.chats, asked.model or "", "chat")._native
        head = (f"{name}{uuid.uuid4().hex}", int(time.time()))
        if asked.stream:
            opening = asyncio.ensure_future(awaited(asked.events, native, *head, request_id_of(request)))
            return await _streamed(request, opening)
        return _json(await awaited(asked.answer, native, *head))

    async def pictured(request: Request, route: str) -> Response:
        asked = _ayni.OpenAiRequest(route, *await _sent(request))
        handle = _served(part.generators, asked.model or first["images"] or "", "images")
        return _json(await awaited(asked.answer, handle._native, "", int(time.time())))

    @router.post(
        "/v1/chat/completions",
        response_model=ChatCompletion,
        openapi_extra=_documented("chat", first["chat"]),
        summary="An answer, whole or streamed",
    )
    async def chat_completions(request: Request) -> Response:
        return await spoken(request, "chat", "chatcmpl-")

    @router.post(
        "/v1/responses",
        response_model=Answered,
        openapi_extra=_documented("responses", first["chat"]),
        summary="The same by OpenAI's newer API; no answers are kept",
    )
    async def responses(request: Request) -> Response:
        return await spoken(request, "responses", "resp_")

    @router.post(
        "/v1/embeddings",
        response_model=EmbeddingList,
        openapi_extra=_documented("embeddings", first["embeddings"]),
        summary="Vectors of texts",
    )
    @text_route
    async def embeddings(request: Request) -> Response:
        body, content_type = await _sent(request)
        if text_of_tokens is not None:
            _ayni.check_body(body, content_type)
            body = await asyncio.to_thread(_as_texts, body, text_of_tokens)
        asked = _ayni.OpenAiRequest("embeddings", body, content_type)
        handle = _served(part.embedders, asked.model or "", "embeddings")
        return _json(await awaited(asked.answer, handle._native, "", 0))

    @router.post(
        "/v1/images/generations",
        response_model=ImageList,
        openapi_extra=_documented("images", first["images"]),
        summary="Images from a prompt",
    )
    @text_route
    async def image_generations(request: Request) -> Response:
        return await pictured(request, "images")

    @router.post("/v1/images/edits", response_model=ImageList, openapi_extra=_EDITS, summary="Images from images and a prompt")
    async def image_edits(request: Request) -> Response:
        return await pictured(request, "edits")

    _add_descriptions(router, part, first)
    return router


def _add_descriptions(router: ServiceRouter, part: OpenAiPart, first: Mapping[str, str | None]) -> None:
    @router.post(
        "/tokenize",
        response_model=TokenCount,
        openapi_extra=_documented("tokens", first["embeddings"] or first["chat"]),
        summary="How many tokens a text or a conversation has for a model in this process",
    )
    @text_route
    async def tokenize(request: Request) -> Response:
        asked = _ayni.OpenAiRequest("tokens", *await _sent(request))
        texts: dict[str, Any] = {**part.chats, **part.embedders}
        handle = _served(texts, asked.model or "", "texts")
        return _json(await awaited(asked.answer, handle._native, "", 0))

    @router.get("/info", response_model=About, summary="The models, and what they run on")
    async def info() -> JSONResponse:
        return JSONResponse({"version": __version__, "models": part.about()})

    @router.get("/v1/models", response_model=ModelList, summary="The models that are served")
    async def models() -> JSONResponse:
        return JSONResponse(_ayni.openai_models(part.names(), part.created, None))

    @router.get("/v1/models/{model:path}", response_model=Loose, summary="One model")
    async def model(model: str) -> JSONResponse:
        names = part.names()
        if model not in names:
            raise NotFound(f"the model '{model[:80]}' is not served here; valid: {', '.join(names)}")
        return JSONResponse(_ayni.openai_models(names, part.created, model))
