"""The native module: conversions only. Use the package ``ayni``."""

from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, final

__all__ = [
    "ERROR_KINDS",
    "STATUSES",
    "Block",
    "Cancellation",
    "Chat",
    "Embedder",
    "EventStream",
    "Health",
    "ImageGenerator",
    "Models",
    "Modes",
    "OpenAiChat",
    "OpenAiEmbeddings",
    "OpenAiEvents",
    "OpenAiImages",
    "Procurement",
    "Running",
    "Setting",
    "VectorStream",
    "__version__",
    "failure_body",
    "openai_models",
    "prometheus_text",
    "similarity",
    "top_k",
]

ERROR_KINDS: list[str]
STATUSES: dict[str, int]
__version__: str

_Fields: TypeAlias = Mapping[str, Any]
_Env: TypeAlias = dict[str, str] | None
_Future: TypeAlias = Future[Any] | None

@final
class Setting:
    def __new__(
        cls,
        deadline: float | None = None,
        progress: Callable[[Any], object] | None = None,
        cancellation: Cancellation | None = None,
        connect: float | None = None,
        first_byte: float | None = None,
        idle: float | None = None,
    ) -> Setting: ...

@final
class Cancellation:
    """Stops the calls that it was given to."""

    def __new__(cls) -> Cancellation: ...
    def cancel(self) -> None: ...
    @property
    def cancelled(self) -> bool: ...

@final
class Running:
    def cancel(self) -> None: ...

@final
class Block:
    @property
    def __array_interface__(self) -> dict[str, Any]: ...
    def __len__(self) -> int: ...
    def tobytes(self) -> bytes: ...
    @property
    def scales(self) -> Block | None: ...

@final
class Embedder:
    def __new__(cls, fields: _Fields, env: _Env = None) -> Embedder: ...
    @staticmethod
    def from_env(env: _Env = None) -> Embedder: ...
    def info(self) -> dict[str, Any]: ...
    def space(self) -> dict[str, Any]: ...
    def ready(self, setting: Setting | None = None, future: _Future = None) -> Any: ...
    def count_tokens(self, text: str, role: str | None) -> tuple[int, int]: ...
    def embed(
        self,
        list: list[Any],
        options: _Fields,
        encoding: str | None = None,
        setting: Setting | None = None,
        future: _Future = None,
    ) -> Any: ...
    def embed_stream(
        self,
        options: _Fields,
        encoding: str | None = None,
        setting: Setting | None = None,
        future: _Future = None,
    ) -> Any: ...

@final
class VectorStream:
    def push(self, list: list[Any], future: _Future = None) -> Any: ...
    def finish(self) -> None: ...
    def next(self, future: _Future = None) -> Any: ...
    def close(self) -> None: ...

@final
class Chat:
    def __new__(cls, fields: _Fields, env: _Env = None) -> Chat: ...
    @staticmethod
    def from_env(env: _Env = None) -> Chat: ...
    def info(self) -> dict[str, Any]: ...
    def chat(self, fields: _Fields, setting: Setting | None = None, future: _Future = None) -> Any: ...
    def stream(self, fields: _Fields, setting: Setting | None = None, future: _Future = None) -> Any: ...

@final
class EventStream:
    def next(self, future: _Future = None) -> Any: ...
    def close(self) -> None: ...

@final
class Modes:
    def __new__(cls, env: _Env = None) -> Modes: ...
    def names(self) -> list[str]: ...
    def default_mode(self) -> str | None: ...
    def describe(self) -> list[dict[str, Any]]: ...
    def open(self, mode: str | None = None) -> Chat: ...
    def warm_up(self, setting: Setting | None = None, future: _Future = None) -> Any: ...

@final
class ImageGenerator:
    def __new__(cls, fields: _Fields, env: _Env = None) -> ImageGenerator: ...
    @staticmethod
    def from_env(env: _Env = None) -> ImageGenerator: ...
    def info(self) -> dict[str, Any]: ...
    def generate(self, fields: _Fields, setting: Setting | None = None, future: _Future = None) -> Any: ...
    def refine(self, fields: _Fields, setting: Setting | None = None, future: _Future = None) -> Any: ...

@final
class OpenAiChat:
    def __new__(cls, body: bytes, content_type: str | None = None) -> OpenAiChat: ...
    @property
    def model(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    def answer(self, chat: Chat, id: str, created: int, future: _Future = None) -> Any: ...
    def events(
        self, chat: Chat, id: str, created: int, request_id: str | None = None, future: _Future = None
    ) -> Any: ...

@final
class OpenAiEvents:
    def next(self, future: _Future = None) -> Any: ...
    def close(self) -> None: ...

@final
class OpenAiEmbeddings:
    def __new__(cls, body: bytes, content_type: str | None = None) -> OpenAiEmbeddings: ...
    @property
    def model(self) -> str: ...
    def answer(self, embedder: Embedder, future: _Future = None) -> Any: ...

@final
class OpenAiImages:
    def __new__(cls, body: bytes, content_type: str | None = None) -> OpenAiImages: ...
    @property
    def model(self) -> str | None: ...
    def answer(self, generator: ImageGenerator, created: int, future: _Future = None) -> Any: ...

def openai_models(names: list[str], created: int, name: str | None = None) -> dict[str, Any]: ...
def failure_body(
    status: int,
    kind: str,
    message: str,
    retryable: bool = False,
    retry_after: float | None = None,
    backend: str | None = None,
    param: str | None = None,
    request_id: str | None = None,
) -> dict[str, Any]: ...

@final
class Procurement:
    def __new__(cls, fields: _Fields, env: _Env = None) -> Procurement: ...
    @staticmethod
    def from_env(env: _Env = None) -> Procurement: ...
    def info(self) -> dict[str, Any]: ...
    def call(
        self, operation: str, fields: _Fields, setting: Setting | None = None, future: _Future = None
    ) -> Any: ...

@final
class AnalysedTender:
    def json(self) -> str: ...
    def pdf(self, page: _Fields) -> bytes: ...

@final
class Pieces:
    def next(self, future: _Future = None) -> Any: ...
    def close(self) -> None: ...

def analyse(
    procurement: Procurement,
    fields: _Fields,
    chat: Chat,
    question: _Fields,
    setting: Setting | None = None,
    future: _Future = None,
) -> Any: ...
def tender_file(
    procurement: Procurement,
    fields: _Fields,
    form: _Fields,
    setting: Setting | None = None,
    future: _Future = None,
) -> Any: ...
def export(
    procurement: Procurement,
    kind: str,
    fields: _Fields,
    form: _Fields,
    setting: Setting | None = None,
    future: _Future = None,
) -> Any: ...
@final
class Models:
    def __new__(cls, fields: _Fields, env: _Env = None) -> Models: ...
    def models(self, setting: Setting | None = None, future: _Future = None) -> Any: ...

@final
class Health:
    def __new__(cls, fields: _Fields, env: _Env = None) -> Health: ...
    def health(self, setting: Setting | None = None, future: _Future = None) -> Any: ...

def prometheus_text() -> str: ...
def similarity(a: Sequence[float], b: Sequence[float]) -> float: ...
def top_k(
    vectors: Block | Sequence[Sequence[float]], query: Sequence[float], k: int
) -> list[tuple[int, float]]: ...
