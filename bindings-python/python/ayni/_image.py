"""Images from prompts, and from images and prompts."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ayni import _ayni, _images
from ayni._calls import CallOptions, Handle, ProgressSink, awaited, merged, split_options
from ayni._images import ImageSource
from ayni._results import Progress, Route, Usage

if TYPE_CHECKING:
    import os

    import PIL.Image
    from typing_extensions import Unpack

    from ayni._configs import ImageConfig, ImageFields


class GenerateOptions(CallOptions, total=False):
    """The options of an image."""

    negative_prompt: str | None
    count: int | None
    size: tuple[int, int] | None
    """Width and height in pixels."""
    aspect_ratio: str | None
    """The aspect ratio (``16:9``), for backends that choose the size themselves."""
    resolution: Literal["standard", "high"] | None
    steps: int | None
    guidance: float | None
    scheduler: str | None
    seed: int | None
    temperature: float | None
    extra: Mapping[str, Any] | None


class RefineOptions(CallOptions, total=False):
    """How to change images."""

    mask: ImageSource | None
    """The area to change, for backends that support masks."""
    negative_prompt: str | None
    strength: float | None
    """How much to change, from 0 to 1."""
    steps: int | None
    guidance: float | None
    seed: int | None
    size: tuple[int, int] | None
    extra: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded image."""

    data: bytes
    media_type: str

    def to_pil(self) -> PIL.Image.Image:
        """The image as a Pillow image. Needs the package ``pillow``."""
        import PIL.Image

        image = PIL.Image.open(io.BytesIO(self.data))
        image.load()
        return image

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the encoded bytes to a file."""
        Path(path).write_bytes(self.data)

    def __repr__(self) -> str:
        return f"Image({self.media_type}, {len(self.data)} bytes)"


@dataclass(frozen=True, slots=True)
class SafetyConcept:
    """A concept that a safety checker found in an image."""

    concept: int
    """Its number in the checker's list; what it stands for is not published."""
    score: float
    """How far the image is above the threshold, in cosine."""


@dataclass(frozen=True, slots=True)
class ImageSafety:
    """What a local model's safety checker said of an image, and what was done."""

    flagged: bool
    """Whether it found something."""
    blanked: bool
    """Whether the image is black because of that."""
    concepts: tuple[SafetyConcept, ...] = ()

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> ImageSafety:
        return cls(**{**fields, "concepts": tuple(SafetyConcept(**concept) for concept in fields["concepts"])})


@dataclass(frozen=True, slots=True)
class ImageResponse:
    """Images, and how they were generated, as far as the backend reports it."""

    images: tuple[Image, ...]
    usage: Usage
    route: Route
    seed: int | None = None
    size: tuple[int, int] | None = None
    scheduler: str | None = None
    steps: int | None = None
    revised_prompt: str | None = None
    safety: tuple[ImageSafety, ...] = ()
    """What a local model's safety checker said of each image, where one ran."""

    @property
    def image(self) -> Image:
        """The first image."""
        return self.images[0]

    @classmethod
    def _of(cls, native: tuple[Any, dict[str, Any]]) -> ImageResponse:
        images, fields = native
        size = fields["size"]
        return cls(
            images=tuple(Image(*image) for image in images),
            usage=Usage(**fields["usage"]),
            route=Route._of(fields["route"]),
            seed=fields["seed"],
            size=None if size is None else (size[0], size[1]),
            scheduler=fields["scheduler"],
            steps=fields["steps"],
            revised_prompt=fields["revised_prompt"],
            safety=tuple(ImageSafety._of(safety) for safety in fields.get("safety", ())),
        )


@dataclass(frozen=True, slots=True)
class ImageReplay:
    """An image that was drawn again by its receipt, and how far it is from the first."""

    image: Image
    receipt: dict[str, Any]
    """How the first was made."""
    max_difference: int
    """The largest difference of a channel of a pixel, of 255."""
    mean_difference: float

    @classmethod
    def _of(cls, native: tuple[tuple[bytes, str], dict[str, Any]]) -> ImageReplay:
        return cls(image=Image(*native[0]), **native[1])


def _refinement(
    prompt: str, images: ImageSource | Iterable[ImageSource], options: Mapping[str, Any]
) -> dict[str, Any]:
    single = isinstance(images, (str, bytes, bytearray, memoryview, Path, _images.PillowImage))
    listed = [images] if single else list(images)  # type: ignore[arg-type]
    request = {"prompt": prompt, "images": [_images.as_bytes(image) for image in listed], **options}
    if "mask" in request:
        request["mask"] = _images.as_bytes(request["mask"])
    return request


class ImageGenerator(Handle[_ayni.ImageGenerator]):
    """Generates images.

    A string is the reference of a local model; anything else is a configuration, as for :class:`Embedder`.

    >>> images = ImageGenerator(backend="scripted")
    >>> images.generate_sync("a lighthouse in Valparaíso", size=(64, 48), seed=7).size
    (64, 48)
    """

    __slots__ = ("_config",)

    _config: Mapping[str, Any] | None
    """What it was opened with, for a service that asks the engines behind it how they are."""

    def __init__(
        self,
        model_or_config: str | ImageConfig | Mapping[str, Any] | None = None,
        /,
        *,
        env: Mapping[str, str] | None = None,
        **config: Unpack[ImageFields],
    ) -> None:
        self._config = merged(model_or_config, config)
        super().__init__(_ayni.ImageGenerator(self._config, env if env is None else dict(env)))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ImageGenerator:
        """The image engines that ``IMAGE_ENGINE_MODE`` and related variables name."""
        made = cls.__new__(cls)
        made._config = None
        Handle.__init__(made, _ayni.ImageGenerator(None, env if env is None else dict(env)))
        return made

    async def ready(self, **options: Unpack[CallOptions]) -> None:
        """Waits until a local model is loaded; a hosted one is not called."""
        await awaited(self._native.ready, setting=split_options(options)[1])

    def ready_sync(self, **options: Unpack[CallOptions]) -> None:
        """The same, on the calling thread."""
        self._native.ready(split_options(options)[1])

    async def generate(self, prompt: str, /, **options: Unpack[GenerateOptions]) -> ImageResponse:
        """Generates images from a prompt."""
        request, setting = split_options(options)
        return ImageResponse._of(await awaited(self._native.generate, {"prompt": prompt, **request}, setting=setting))

    def generate_sync(self, prompt: str, /, **options: Unpack[GenerateOptions]) -> ImageResponse:
        """The same, on the calling thread."""
        request, setting = split_options(options)
        return ImageResponse._of(self._native.generate({"prompt": prompt, **request}, setting))

    async def refine(
        self, prompt: str, images: ImageSource | Iterable[ImageSource], /, **options: Unpack[RefineOptions]
    ) -> ImageResponse:
        """Generates images from images and a prompt: one for each, in order."""
        request, setting = split_options(options)
        fields = await asyncio.to_thread(_refinement, prompt, images, request)
        return ImageResponse._of(await awaited(self._native.refine, fields, setting=setting))

    def refine_sync(
        self, prompt: str, images: ImageSource | Iterable[ImageSource], /, **options: Unpack[RefineOptions]
    ) -> ImageResponse:
        """The same, on the calling thread."""
        request, setting = split_options(options)
        return ImageResponse._of(self._native.refine(_refinement(prompt, images, request), setting))

    async def replay(
        self, image: ImageSource, /, *sources: ImageSource, **options: Unpack[CallOptions]
    ) -> ImageReplay:
        """Draws an image of a local model again by the receipt in it. One that was refined needs ``sources``: the image
        that it was made from, and the mask where there was one."""
        images = await asyncio.to_thread(lambda: [_images.as_bytes(source) for source in (image, *sources)])
        return ImageReplay._of(await awaited(self._native.replay, images, setting=split_options(options)[1]))

    def replay_sync(
        self, image: ImageSource, /, *sources: ImageSource, **options: Unpack[CallOptions]
    ) -> ImageReplay:
        """The same, on the calling thread."""
        images = [_images.as_bytes(source) for source in (image, *sources)]
        return ImageReplay._of(self._native.replay(images, split_options(options)[1]))

    def generate_events(
        self, prompt: str, /, **options: Unpack[GenerateOptions]
    ) -> AsyncGenerator[Progress | ImageResponse, None]:
        """Generates images and yields every :class:`Progress`, and finally the :class:`ImageResponse`.

        The work stops when the iterator is closed or collected.
        """

        def start(sink: ProgressSink) -> Coroutine[Any, Any, ImageResponse]:
            options["progress"] = sink
            return self.generate(prompt, **options)

        return _with_events(start, options)

    def refine_events(
        self, prompt: str, images: ImageSource | Iterable[ImageSource], /, **options: Unpack[RefineOptions]
    ) -> AsyncGenerator[Progress | ImageResponse, None]:
        """The same for :meth:`refine`."""

        def start(sink: ProgressSink) -> Coroutine[Any, Any, ImageResponse]:
            options["progress"] = sink
            return self.refine(prompt, images, **options)

        return _with_events(start, options)


async def _with_events(
    start: Callable[[ProgressSink], Coroutine[Any, Any, ImageResponse]], options: CallOptions
) -> AsyncGenerator[Progress | ImageResponse, None]:
    if options.get("progress") is not None:
        raise TypeError("the events are the progress: there is no `progress` beside them")
    events: asyncio.Queue[Progress | None] = asyncio.Queue()
    work = asyncio.ensure_future(start(events.put_nowait))
    work.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield event
        yield await work
    finally:
        work.cancel()
