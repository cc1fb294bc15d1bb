"""Vectors for texts and images."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Union

from ayni import _ayni, _images, _vectors
from ayni._calls import CallOptions, Handle, awaited, merged, split_options
from ayni._images import ImageSource
from ayni._results import EmbeddingSpace, Route, Usage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import TypeAlias, Unpack

    from ayni._configs import EmbedderConfig, EmbedderFields

# How many inputs of a list go into a stream together.
AT_A_TIME = 64

EmbedInput: TypeAlias = Union[str, ImageSource]
"""Something to embed: a ``str`` is text, anything else an image."""


class EmbedOptions(CallOptions, total=False):
    """How to embed."""

    role: Literal["query", "document"] | None
    """Which side of a search the inputs are on, for models that treat the two differently."""
    dimensions: int | None
    """Shortens the vectors to this width, for models trained to allow it."""
    truncation: Literal["end", "refuse"] | None
    """What to do with an input longer than the model's window: cut it and say so (``end``, the default), or fail."""
    encoding: Literal["f32", "f16", "int8", "ubinary"] | None
    """In which numbers: ``f32`` (the default), ``f16``, ``int8`` with ``scales``, or ``ubinary``, one bit a number."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbedResponse:
    """The vectors, and where they came from."""

    _block: _vectors.Block = field(repr=False)
    truncated: tuple[int, ...]
    """The positions of the inputs that were cut to the model's window, as far as the backend says so."""
    usage: Usage
    route: Route
    space: EmbeddingSpace
    """Which vectors these may be compared with."""
    _arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict, init=False, repr=False)

    @property
    def vectors(self) -> npt.NDArray[Any]:
        """One row an input, in their order: float32, float16, int8, or uint8 with eight bits a byte. Read-only; the memory
        is the one that the native code wrote to. Needs numpy: :meth:`tolist` and :meth:`tobytes` do without."""
        return self._array("vectors", self._block)

    @property
    def scales(self) -> npt.NDArray[np.float32] | None:
        """Of ``int8``: what each row is multiplied with to get back what it was. Needs numpy."""
        scales = self._block.scales
        return None if scales is None else self._array("scales", scales)

    def tolist(self) -> list[list[Any]]:
        """One list of numbers an input, in their order: floats, or whole numbers of ``int8`` and ``ubinary``."""
        return _vectors.rows(self._block)

    def tobytes(self) -> bytes:
        """The numbers of all inputs, one after the other, the least byte of each first."""
        return self._block.tobytes()

    def __len__(self) -> int:
        return len(self._block)

    def __reduce__(self) -> tuple[Any, ...]:
        return EmbedResponse, (self._block, self.truncated, self.usage, self.route, self.space)

    def _array(self, name: str, block: _vectors.Block) -> npt.NDArray[Any]:
        if name not in self._arrays:
            self._arrays[name] = _vectors.array(block)
        return self._arrays[name]


def _response(native: tuple[Any, ...]) -> EmbedResponse:
    block, truncated, usage, route, space = native
    return EmbedResponse(block, tuple(truncated), Usage(**usage), Route._of(route), EmbeddingSpace(**space))


class Embedder(Handle[_ayni.Embedder]):
    """Turns texts and images into vectors.

    A string is the reference of a local model: a folder, or ``org/name[@revision]`` on the Hub. Anything else is
    a configuration: keyword arguments are the fields of docs/reference/configuration.md. ``env`` gives the variables
    that complete it, instead of the process's.

    >>> embedder = Embedder(backend="scripted")
    >>> embedder.embed_sync(["hola", "hello"]).vectors.shape
    (2, 16)
    """

    __slots__ = ()

    def __init__(
        self,
        model_or_config: str | EmbedderConfig | Mapping[str, Any] | None = None,
        /,
        *,
        env: Mapping[str, str] | None = None,
        **config: Unpack[EmbedderFields],
    ) -> None:
        super().__init__(_ayni.Embedder(merged(model_or_config, config), env if env is None else dict(env)))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Embedder:
        """The embedder that ``EMBEDDING_PROVIDER`` and its companions name."""
        made = cls.__new__(cls)
        Handle.__init__(made, _ayni.Embedder.from_env(env if env is None else dict(env)))
        return made

    def space(self) -> EmbeddingSpace:
        """Which vectors its own may be compared with. A local model knows all of it once it is loaded."""
        return EmbeddingSpace(**self._native.space())

    async def ready(self, **options: Unpack[CallOptions]) -> None:
        """Waits until a local model is loaded; a hosted one is not called."""
        await awaited(self._native.ready, split_options(options)[1])

    def ready_sync(self, **options: Unpack[CallOptions]) -> None:
        """The same, on the calling thread."""
        self._native.ready(split_options(options)[1])

    def count_tokens(self, text: str, /, *, role: Literal["query", "document"] | None = None) -> int:
        """How many tokens a text has for a local model that is :meth:`ready`, before it is cut to :meth:`window`."""
        return self._native.count_tokens(text, role)[0]

    def window(self) -> int:
        """The most tokens of a text for a local model that is :meth:`ready`; longer ones are cut."""
        return self._native.count_tokens("", None)[1]

    async def embed(self, inputs: Iterable[EmbedInput] | str, /, **options: Unpack[EmbedOptions]) -> EmbedResponse:
        """Embeds any number of texts and images; a lone ``str`` counts as a list of one."""
        request, setting = split_options(options)
        encoding = request.pop("encoding", None)
        given = await _images.ready_async([inputs] if isinstance(inputs, str) else inputs)
        return _response(await awaited(self._native.embed, given, request, encoding, setting))

    def embed_sync(self, inputs: Iterable[EmbedInput] | str, /, **options: Unpack[EmbedOptions]) -> EmbedResponse:
        """The same, on the calling thread."""
        request, setting = split_options(options)
        encoding = request.pop("encoding", None)
        given = _images.ready([inputs] if isinstance(inputs, str) else inputs)
        return _response(self._native.embed(given, request, encoding, setting))

    async def embed_stream(
        self, inputs: AsyncIterable[EmbedInput] | Iterable[EmbedInput], /, **options: Unpack[EmbedOptions]
    ) -> AsyncGenerator[EmbedResponse, None]:
        """Embeds any number of inputs as they come, in order; each response is for the next of them, and counts from there.

        Some two thousand inputs are held at most: no more are taken while nobody takes vectors. What the inputs raise comes
        after the vectors of those before it. Leaving the loop stops the work at the latest when the generator is closed.
        """
        request, setting = split_options(options)
        encoding = request.pop("encoding", None)
        stream: _ayni.VectorStream = await awaited(self._native.embed_stream, request, encoding, setting)
        feeding = asyncio.ensure_future(_feed(stream, inputs))
        # What it raises is told by the loop below, unless that is left before.
        feeding.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            while (part := await awaited(stream.next)) is not None:
                yield _response(part)
            await feeding
        finally:
            feeding.cancel()
            stream.close()


async def _feed(stream: _ayni.VectorStream, inputs: AsyncIterable[EmbedInput] | Iterable[EmbedInput]) -> None:
    try:
        async for some in _portions(inputs):
            if not await awaited(stream.push, await _images.ready_async(some)):
                return
    finally:
        stream.finish()


async def _portions(
    inputs: AsyncIterable[EmbedInput] | Iterable[EmbedInput],
) -> AsyncGenerator[list[EmbedInput], None]:
    if isinstance(inputs, AsyncIterable):
        # One by one: the next may take its time.
        async for one in inputs:
            yield [one]
    else:
        rest = iter(inputs)
        while some := list(islice(rest, AT_A_TIME)):
            yield some
