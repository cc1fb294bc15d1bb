"""OpenAI's routes over ayni's backends: chat completions, embeddings, images, models."""

import base64
import json
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar, cast

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.types import Receive, Scope, Send

from ayni import AsyncChatStream, AyniError, Chat, Embedder, Finish, ImageGenerator, InvalidRequest, NotFound, Unsupported
from ayni.fastapi._failures import body_of, request_id_of, status_of
from ayni.fastapi._openai_wire import (
    ChatBody,
    EmbeddingsBody,
    ImagesBody,
    chunk,
    completion,
    message_of,
    options_of,
    usage_of,
)
from ayni.fastapi._service import Part, ServiceRouter

HandleT = TypeVar("HandleT", Chat, Embedder, ImageGenerator)

MOST_INPUTS = 2048


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
        """Until they are loaded."""
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


class _Events(Response):
    """Server-sent events. The stream ends when the caller leaves."""

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for line in self._lines:
                await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._lines.aclose()


def _event(data: Any) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


async def _lines(
    stream: AsyncChatStream, first: Any, head: dict[str, Any], with_usage: bool, request: Request
) -> AsyncGenerator[bytes, None]:
    start = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None, "logprobs": None}
    no_usage = {"usage": None} if with_usage else {}
    async with stream:
        try:
            yield _event(head | {"object": "chat.completion.chunk", "choices": [start]} | no_usage)
            event = first
            while event is not None:
                if (piece := chunk(event, head)) is not None:
                    yield _event(piece | no_usage)
                if isinstance(event, Finish) and with_usage:
                    last: dict[str, Any] = {"object": "chat.completion.chunk", "choices": [], "usage": usage_of(event.usage)}
                    yield _event(head | last)
                event = await anext(stream, None)
            yield b"data: [DONE]\n\n"
        except AyniError as error:
            # The status is gone; OpenAI's clients raise on an event with `error`.
            request.scope["ayni.kind"] = error.kind
            yield _event(body_of(error, request_id_of(request)) | {"status": status_of(error)})


def openai_router(
    chat: Chat | Mapping[str, Chat] | None = None,
    embedder: Embedder | Mapping[str, Embedder] | None = None,
    images: ImageGenerator | Mapping[str, ImageGenerator] | None = None,
) -> ServiceRouter:
    """OpenAI's routes. A handle is served under its model's name; a mapping gives the names."""
    part = OpenAiPart(_named(chat), _named(embedder), _named(images))
    router = ServiceRouter(part, prefix="/v1", tags=["openai"])

    @router.post("/chat/completions", response_model=ChatCompletion, summary="An answer, whole or streamed")
    async def chat_completions(body: ChatBody, request: Request) -> Response:
        handle = _served(part.chats, body.model, "chat")
        messages, options = [message_of(message) for message in body.messages], options_of(body)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body.model}
        if not body.stream:
            response = await handle.chat(messages, **options)
            return JSONResponse(completion(response, head | {"model": response.route.model}))
        stream = handle.stream(messages, **options)
        # Until the first event a failure still has a status.
        first = await anext(stream, None)
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return _Events(_lines(stream, first, head, with_usage, request))

    @router.post("/embeddings", response_model=EmbeddingList, summary="Vectors of texts")
    async def embeddings(body: EmbeddingsBody) -> JSONResponse:
        handle = _served(part.embedders, body.model, "embeddings")
        texts = [body.input] if isinstance(body.input, str) else body.input
        if not texts or len(texts) > MOST_INPUTS:
            raise InvalidRequest(f"`input` has {len(texts)} texts; it must have 1 to {MOST_INPUTS}")
        if not all(isinstance(text, str) for text in texts):
            raise Unsupported("`input` of token ids is not offered: send texts")
        found = await handle.embed(cast("list[str]", texts), dimensions=body.dimensions)
        if body.encoding_format == "base64":
            raw = found.tobytes()
            size = len(raw) // len(found)
            rows = (raw[start : start + size] for start in range(0, len(raw), size))
            vectors: list[Any] = [base64.b64encode(row).decode() for row in rows]
        else:
            vectors = found.tolist()
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        given = found.usage.input_tokens or 0
        usage = {"prompt_tokens": given, "total_tokens": given}
        return JSONResponse({"object": "list", "model": body.model, "data": data, "usage": usage})

    @router.post("/images/generations", response_model=ImageList, summary="Images from a prompt")
    async def image_generations(body: ImagesBody) -> JSONResponse:
        name = body.model or next(iter(part.generators), "")
        handle = _served(part.generators, name, "images")
        if body.response_format == "url":
            raise Unsupported("`response_format` url is not offered: nothing is kept to fetch; use b64_json")
        width, _, height = (body.size or "").partition("x")
        size = (int(width), int(height)) if height else None
        made = await handle.generate(body.prompt, count=body.n, size=size)
        data = [
            {"b64_json": base64.b64encode(image.data).decode(), "revised_prompt": made.revised_prompt}
            for image in made.images
        ]
        return JSONResponse({"created": int(time.time()), "data": data})

    @router.get("/models", response_model=ModelList, summary="The models that are served")
    async def models() -> JSONResponse:
        data = [_model(name, part.created) for name in part.names()]
        return JSONResponse({"object": "list", "data": data})

    @router.get("/models/{model:path}", response_model=Loose, summary="One model")
    async def model(model: str) -> JSONResponse:
        if model not in part.names():
            raise NotFound(f"the model '{model[:80]}' is not served here; valid: {', '.join(part.names())}")
        return JSONResponse(_model(model, part.created))

    return router


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "ayni"}
