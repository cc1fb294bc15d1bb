"""Vectors for texts and images."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Union

from ayni import _ayni, _images, _vectors
from ayni._calls import CallOptions, Handle, ProgressSink, awaited, merged, split_options
from ayni._images import ImageSource
from ayni._results import EmbeddingSpace, Parity, Progress, Route, Usage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import TypeAlias, Unpack

    from ayni._configs import EmbedderConfig, EmbedderFields

# How many inputs of a list go into a stream at once.
INPUTS_AT_ONCE = 64
# How many a synchronous stream embeds at once: nothing is read meanwhile.
INPUTS_AT_ONCE_SYNC = 256

EmbedInput: TypeAlias = Union[str, ImageSource]
"""Something to embed: a ``str`` is text, anything else an image."""


class EmbedOptions(CallOptions, total=False):
    """The options of an embedding."""

    role: Literal["query", "document"] | None
    """Which side of a search the inputs are on, for models that embed queries and documents differently."""
    dimensions: int | None
    """Shortens the vectors to this width, for models trained for it (Matryoshka)."""
    truncation: Literal["end", "refuse"] | None
    """What to do with an input longer than the model's window: cut it and say so (``end``, the default), or fail."""
    encoding: Literal["f32", "f16", "int8", "ubinary"] | None
    """The number format: ``f32`` (the default), ``f16``, ``int8`` with ``scales``, or ``ubinary``, one bit a number."""
    extra: Mapping[str, Any] | None
    """Further fields of the request body, sent as they are."""


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
        """One row for each input, in their order: float32, float16, int8, or uint8 with eight bits a byte. Read-only memory
        of the native code, not a copy. Needs numpy; :meth:`tolist` and :meth:`tobytes` do not."""
        return self._array("vectors", self._block)

    @property
    def scales(self) -> npt.NDArray[np.float32] | None:
        """Of ``int8``: the scale of each row; row × scale ≈ original. Needs numpy."""
        scales = self._block.scales
        return None if scales is None else self._array("scales", scales)

    def tolist(self) -> list[list[Any]]:
        """One list of numbers for each input, in their order: floats, or integers of ``int8`` and ``ubinary``."""
        return _vectors.rows(self._block)

    def tobytes(self) -> bytes:
        """The numbers of all inputs, one after the other, little-endian."""
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
    a configuration: keyword arguments are the fields of docs/reference/configuration.md. ``env`` replaces the process's
    environment variables, which complete it.

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
        """The embedder that ``EMBEDDING_PROVIDER`` and related variables name."""
        made = cls.__new__(cls)
        Handle.__init__(made, _ayni.Embedder(None, env if env is None else dict(env)))
        return made

    def space(self) -> EmbeddingSpace:
        """Which vectors its own may be compared with. Complete once a local model is loaded."""
        return EmbeddingSpace(**self._native.space())

    async def ready(self, **options: Unpack[CallOptions]) -> None:
        """Waits until a local model is loaded; a hosted one is not called."""
        await awaited(self._native.ready, setting=split_options(options)[1])

    def ready_sync(self, **options: Unpack[CallOptions]) -> None:
        """The same, on the calling thread."""
        self._native.ready(split_options(options)[1])

    def count_tokens(self, text: str, /, *, role: Literal["query", "document"] | None = None) -> int:
        """How many tokens a text has for a local model that is :meth:`ready`, before it is cut to :meth:`window`."""
        return self._native.count_tokens(text, role)

    def window(self) -> int | None:
        """The most tokens of a text; longer ones are cut. ``None`` where it is not known: for most hosted backends, and
        for a local model until it is :meth:`ready`."""
        return self._native.window()

    async def embed(self, inputs: Iterable[EmbedInput] | EmbedInput, /, **options: Unpack[EmbedOptions]) -> EmbedResponse:
        """Embeds any number of texts and images; a lone text or image counts as a list of one."""
        request, setting = split_options(options)
        encoding = request.pop("encoding", None)
        given = await _images.ready_async(_images.listed(inputs))
        return _response(await awaited(self._native.embed, given, request, encoding, setting=setting))

    def embed_sync(self, inputs: Iterable[EmbedInput] | EmbedInput, /, **options: Unpack[EmbedOptions]) -> EmbedResponse:
        """The same, on the calling thread."""
        request, setting = split_options(options)
        encoding = request.pop("encoding", None)
        given = _images.ready(_images.listed(inputs))
        return _response(self._native.embed(given, request, encoding, setting))

    async def embed_stream(
        self, inputs: AsyncIterable[EmbedInput] | Iterable[EmbedInput] | EmbedInput, /, **options: Unpack[EmbedOptions]
    ) -> AsyncGenerator[EmbedResponse, None]:
        """Embeds any number of inputs as they arrive, in order. Each response is for the next few of them, and its positions
        count from the first of these.

        At most about two thousand inputs are held in memory; no more are read until vectors are taken. An exception of the
        inputs is raised after the vectors of those before it. Closing the generator stops the work.
        """
        request, setting = split_options(options)
        encoding = request.pop("encoding", None)
        stream: _ayni.VectorStream = await awaited(self._native.embed_stream, request, encoding, setting=setting)
        feeding = asyncio.ensure_future(_feed(stream, _images.listed(inputs)))
        # The loop below raises its exception, unless the caller leaves before.
        feeding.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            while (part := await awaited(stream.next)) is not None:
                yield _response(part)
            await feeding
        finally:
            feeding.cancel()
            stream.close()

    def embed_stream_sync(
        self, inputs: Iterable[EmbedInput] | EmbedInput, /, **options: Unpack[EmbedOptions]
    ) -> Generator[EmbedResponse, None, None]:
        """The same on the calling thread, which reads the next inputs when their vectors are asked for."""
        deadline, sink = options.pop("deadline", None), options.pop("progress", None)
        end = None if deadline is None else time.monotonic() + deadline
        rest, done, failure = iter(_images.listed(inputs)), 0, None
        while failure is None:
            some: list[EmbedInput] = []
            try:
                # One by one, so that those before an exception are kept.
                for one in islice(rest, INPUTS_AT_ONCE_SYNC):
                    some.append(one)  # noqa: PERF402
            except Exception as error:
                failure = error
            if not some:
                break
            left: EmbedOptions = {} if end is None else {"deadline": max(0.0, end - time.monotonic())}
            part: EmbedOptions = {**options, **left, "progress": _counting(sink, done)}
            yield self.embed_sync(some, **part)
            done += len(some)
        if failure is not None:
            raise failure

    async def verify(self, **options: Unpack[CallOptions]) -> Parity:
        """Measures how close the vectors of a local model are to those that the same weights make in f32, on texts in several
        languages and, where the model takes them, images. Loads a second copy of the weights for that time."""
        return Parity._of(await awaited(self._native.verify, setting=split_options(options)[1]))

    def verify_sync(self, **options: Unpack[CallOptions]) -> Parity:
        """The same, on the calling thread."""
        return Parity._of(self._native.verify(split_options(options)[1]))


def _counting(sink: ProgressSink | None, before: int) -> ProgressSink | None:
    """Reports the inputs of one part as those of the whole stream."""
    if sink is None:
        return None

    def report(event: Progress) -> object:
        if event.type == "inputs" and event.done is not None and event.of is not None:
            event = replace(event, done=event.done + before, of=event.of + before)
        return sink(event)

    return report


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
        # One by one, because the next may be slow.
        async for one in inputs:
            yield [one]
    else:
        rest = iter(inputs)
        while some := list(islice(rest, INPUTS_AT_ONCE)):
            yield some
