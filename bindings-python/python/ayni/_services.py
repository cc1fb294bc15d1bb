"""The models and the health of hosted services, and the chat modes of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ayni import _ayni
from ayni._calls import CallOptions, awaited, merged, split_options
from ayni._chat import Chat
from ayni._results import Hardware

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True, slots=True)
class ModeInfo:
    """The setup of one chat mode, without secrets."""

    mode: str
    what: str
    model: str | None = None
    endpoint: str | None = None
    """Where requests go; ``None`` for what runs in this process."""
    problem: str | None = None
    """What must be fixed before the mode can be used."""


class ChatModes:
    """The chat modes that environment variables set up (``DEFAULT_LLM_MODE`` and related ones).

    A mode that cannot be opened fails with its own reason; modes do not fall back to each other.

    >>> modes = ChatModes({"DEFAULT_LLM_MODE": "mock"})
    >>> modes.open().chat_sync("hello").route.model
    'mock'
    """

    __slots__ = ("_native",)

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._native = _ayni.Modes(env if env is None else dict(env))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ChatModes:
        """The same as calling the class."""
        return cls(env)

    def names(self) -> tuple[str, ...]:
        """The names of all modes."""
        return tuple(mode.mode for mode in self.describe())

    @property
    def default_mode(self) -> str | None:
        """The mode of requests that name none."""
        return self._native.default_mode()

    def describe(self) -> tuple[ModeInfo, ...]:
        """The setup of every mode. Opens nothing."""
        return tuple(ModeInfo(**mode) for mode in self._native.describe())

    def open(self, mode: str | None = None) -> Chat:
        """The backend of a mode, or of the default one: opened once and shared."""
        return Chat._around(self._native.open(mode))

    async def warm_up(self, **options: Unpack[CallOptions]) -> None:
        """Prepares what a service needs at its start. Fails if the default mode cannot be used."""
        await awaited(self._native.warm_up, setting=split_options(options)[1])

    def warm_up_sync(self, **options: Unpack[CallOptions]) -> None:
        """The same, on the calling thread."""
        self._native.warm_up(split_options(options)[1])


async def models(
    config: Mapping[str, Any], /, *, env: Mapping[str, str] | None = None, **options: Unpack[CallOptions]
) -> list[dict[str, Any]]:
    """The models that the vendor of an ``openai`` configuration lists."""
    variables = env if env is None else dict(env)
    setting = split_options(options)[1]
    found: list[dict[str, Any]] = await awaited(_ayni.models, merged(config, {}), variables, setting=setting)
    return found


def models_sync(
    config: Mapping[str, Any], /, *, env: Mapping[str, str] | None = None, **options: Unpack[CallOptions]
) -> list[dict[str, Any]]:
    """The same, on the calling thread."""
    variables = env if env is None else dict(env)
    found: list[dict[str, Any]] = _ayni.models(merged(config, {}), variables, split_options(options)[1])
    return found


async def health(
    config: Mapping[str, Any], /, *, env: Mapping[str, str] | None = None, **options: Unpack[CallOptions]
) -> dict[str, Any]:
    """What the service of a ``clip_service`` or ``image_engine`` configuration reports about itself."""
    variables = env if env is None else dict(env)
    setting = split_options(options)[1]
    found: dict[str, Any] = await awaited(_ayni.health, merged(config, {}), variables, setting=setting)
    return found


def health_sync(
    config: Mapping[str, Any], /, *, env: Mapping[str, str] | None = None, **options: Unpack[CallOptions]
) -> dict[str, Any]:
    """The same, on the calling thread."""
    variables = env if env is None else dict(env)
    found: dict[str, Any] = _ayni.health(merged(config, {}), variables, split_options(options)[1])
    return found


def hardware(env: Mapping[str, str] | None = None) -> Hardware:
    """What models in this process compute with where nothing else is configured.

    >>> hardware().device
    'cpu'
    """
    return Hardware(**_ayni.hardware(env if env is None else dict(env)))


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A well-known embedding model, as its publisher documents it."""

    id: str
    """Its id on the Hub."""
    dimensions: int
    """The width of its vectors."""
    pooling: str | None
    """How the vectors of tokens become one; ``None`` for models of texts and images."""
    architecture: str
    """The ``model_type`` of its configuration."""
    window: int
    """The most tokens of a text."""
    parameters_in_millions: int
    languages: str
    """``English``, ``Chinese`` or ``multilingual``."""
    licence: str | None
    """The licence of the weights; ``None`` where the publisher names none."""


@dataclass(frozen=True, slots=True)
class SampleModel:
    """A model that comes with the package, or a short name for one that is fetched."""

    reference: str
    """What to open: ``tiny:clip``."""
    what: str
    """What it does, in a sentence."""
    bytes: int | None
    """How large its files are; ``None`` for what does not come with the package."""
    fetched_from: str | None
    """The model on the Hub that it stands for, if it does not come with the package."""


def embedding_architectures() -> tuple[str, ...]:
    """The architectures of embedding models that run in this process, as ``model_type`` names them."""
    return tuple(_ayni.known_models()[0])


def known_models() -> tuple[KnownModel, ...]:
    """The well-known embedding models. Others of the :func:`embedding_architectures` run too.

    >>> known_models()[0].dimensions
    384
    """
    return tuple(KnownModel(**model) for model in _ayni.known_models()[1])


def sample_models() -> tuple[SampleModel, ...]:
    """The sample models. Those of the package need no network.

    >>> [model.reference for model in sample_models() if model.bytes]
    ['tiny:clip', 'tiny:text']
    """
    return tuple(SampleModel(**model) for model in _ayni.known_models()[2])


def prometheus_text() -> str:
    """The counters of all calls of this process, as Prometheus reads them."""
    return _ayni.prometheus_text()
