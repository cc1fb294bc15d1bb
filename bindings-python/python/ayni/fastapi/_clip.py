"""The CLIP embedding service: ``/embed/text``, ``/embed/image``."""

import asyncio
import base64
import binascii
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from ayni import Embedder, EmbedResponse, InvalidRequest
from ayni.fastapi._guard import text_route
from ayni.fastapi._pages import Form, Input
from ayni.fastapi._service import Part, ServiceRouter

DEFAULT_MODEL = "openai/clip-vit-base-patch32"

# Captions are short: a model's window is 77 tokens.
MAX_TEXT = 10_000

# Decoding more than this would block the event loop for too long.
DECODE_INLINE_BELOW = 1 << 18

_DATA_URL = re.compile(r"\s*data:[^,]{0,200},", re.IGNORECASE)

# The smallest PNG: one grey pixel.
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="


class TextToEmbed(BaseModel):
    """A text."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "a photo of a dog"}]})
    text: str = Field(min_length=1, max_length=MAX_TEXT)


class ImageToEmbed(BaseModel):
    """An image."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": _PIXEL, "mime_type": "image/png"}]})
    image: str = Field(min_length=1)
    """Base64 of an image file; the prefix of a ``data:`` URL is tolerated."""
    mime_type: str | None = None
    """Ignored: the first bytes of the file decide."""


class Embedding(BaseModel):
    """A vector of unit length."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"embedding": [0.6, 0.8], "dimensions": 2, "model": DEFAULT_MODEL, "truncated": False}]
        }
    )
    embedding: list[float]
    dimensions: int
    model: str
    truncated: bool
    """Whether the text was cut to the model's window."""


def decoded(text: str, name: str = "image") -> bytes:
    """Decodes base64, with or without the prefix of a ``data:`` URL."""
    if prefix := _DATA_URL.match(text):
        text = text[prefix.end() :]
    try:
        found = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"`{name}` is not base64") from None
    if not found:
        raise InvalidRequest(f"`{name}` is empty")
    return found


async def decoded_off_loop(text: str, name: str = "image") -> bytes:
    """The same, on another thread if it is slow."""
    return decoded(text, name) if len(text) < DECODE_INLINE_BELOW else await asyncio.to_thread(decoded, text, name)


class EmbedderPart(Part):
    """An embedder that is opened at start-up, or when it is first needed."""

    name = "embedder"

    def __init__(self, embedder: Embedder | str | Mapping[str, Any]) -> None:
        self._config = None if isinstance(embedder, Embedder) else embedder
        self._embedder = embedder if isinstance(embedder, Embedder) else None
        self.loaded = False

    @property
    def embedder(self) -> Embedder:
        """The embedder."""
        if self._embedder is None:
            self._embedder = Embedder(self._config)
        return self._embedder

    def title(self) -> str:
        """The model."""
        return f"the model {self.model_name()}"

    async def load(self) -> None:
        """Loads the model and runs it once; a hosted one is not called."""
        # Finding a model's files may take a while.
        embedder = await asyncio.to_thread(lambda: self.embedder)
        if embedder.info().backend == "local":
            await embedder.ready(progress=self.show_progress)
            await embedder.embed(["warm-up"])
        self.loaded = True

    def is_paid(self) -> bool:
        """Whether somebody else's service embeds."""
        return self.embedder.info().host is not None

    def forms(self) -> Sequence[Form]:
        """A text, and an image."""
        text = Input("text", "Text", "text", "a photo of a dog")
        image = Input("image", "Image", "image")
        return (
            Form("Vector of a text", "/embed/text", [text], "vector", {"text": "$text"}),
            Form("Vector of an image", "/embed/image", [image], "vector", {"image": "$image"}),
        )

    async def close(self) -> None:
        """Closes an embedder that was opened here."""
        self.loaded = False
        if self._config is not None and self._embedder is not None:
            self._embedder.close()
            self._embedder = None

    @property
    def device(self) -> str:
        """The device of a local model, ``cpu`` or ``cuda``; ``cpu`` for a hosted one."""
        return (self.embedder.info().device or "cpu").partition(":")[0]

    def model_name(self) -> str:
        """The name of the model in its space."""
        return self.embedder.space().model

    def health(self) -> Mapping[str, Any]:
        """The fields of ``/health``."""
        return {"model_loaded": self.loaded, "device": self.device, "model_name": self.model_name()}

    def problem(self) -> str | None:
        """Why it cannot serve yet."""
        return None if self.loaded else "the model is not loaded"


def embedding_response(found: EmbedResponse) -> Response:
    """The response with one vector."""
    [vector] = found.tolist()
    truncated = "true" if found.truncated else "false"
    model = json.dumps(found.space.model)
    numbers = ",".join(map(repr, vector))
    body = f'{{"embedding":[{numbers}],"dimensions":{len(vector)},"model":{model},"truncated":{truncated}}}'
    return Response(body.encode(), media_type="application/json")


def clip_router(embedder: Embedder | str | Mapping[str, Any] | None = None) -> ServiceRouter:
    """A router that embeds texts and images into one space.

    Without an embedder it uses that of the environment (``EMBEDDING_PROVIDER``, ``EMBEDDING_MODEL``), else the local model
    ``openai/clip-vit-base-patch32``. A string is the reference of a local model, an object a configuration.
    """
    part = EmbedderPart(_of_environment() if embedder is None else embedder)
    router = ServiceRouter(part, tags=["embeddings"])

    @router.post("/embed/text", response_model=Embedding, summary="The vector of a text")
    @text_route
    async def embed_text(body: TextToEmbed) -> Response:
        if not body.text.strip():
            raise InvalidRequest("`text` is empty")
        return embedding_response(await part.embedder.embed([body.text]))

    @router.post("/embed/image", response_model=Embedding, summary="The vector of an image")
    async def embed_image(body: ImageToEmbed) -> Response:
        image = await decoded_off_loop(body.image)
        return embedding_response(await part.embedder.embed([image]))

    return router


def _of_environment() -> Embedder | str:
    if os.environ.get("EMBEDDING_PROVIDER", "").strip() not in ("", "local"):
        return Embedder.from_env()
    return os.environ.get("EMBEDDING_MODEL", "").strip() or DEFAULT_MODEL
