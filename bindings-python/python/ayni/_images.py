"""Images in the forms that callers have: bytes, paths, PIL images."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Union, runtime_checkable

from ayni import _errors

if TYPE_CHECKING:
    from typing_extensions import TypeAlias


@runtime_checkable
class PillowImage(Protocol):
    """An image of the Pillow library."""

    @property
    def mode(self) -> str: ...

    def save(self, fp: Any, format: str | None = ..., **params: Any) -> None: ...


ImageSource: TypeAlias = Union[bytes, bytearray, memoryview, "os.PathLike[str]", PillowImage]
"""An image: encoded bytes, the path of a file, or an image of Pillow."""

T = TypeVar("T")


# What each mode that PNG does not have becomes.
SAVED_AS = {
    "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA", "PA": "RGBA", "F": "L", "I": "I;16",
}  # fmt: skip


def encoded(image: PillowImage) -> bytes:
    """A Pillow image as PNG, with little compression because speed matters more here."""
    buffer = io.BytesIO()
    try:
        savable(image).save(buffer, format="PNG", compress_level=1)
    except Exception as error:
        # A file that Pillow opened is read now. What is wrong with it comes as OSError, SyntaxError, ValueError and others.
        raise _errors.InvalidRequest(f"a PIL image cannot be read: {error}") from error
    return buffer.getvalue()


def savable(image: PillowImage) -> PillowImage:
    """The image upright, as its EXIF data says, and in a mode that PNG has."""
    try:
        from PIL import Image, ImageCms, ImageOps
    except ImportError:
        return image
    if not isinstance(image, Image.Image):
        return image
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "LAB":
        lab, rgb = (ImageCms.createProfile(name) for name in ("LAB", "sRGB"))
        return ImageCms.applyTransform(upright, ImageCms.buildTransform(lab, rgb, "LAB", "RGB"))  # type: ignore[return-value]
    if upright.mode.startswith("I;16"):
        # 16 bits in any order of bytes.
        upright = upright.convert("I")
    mode = SAVED_AS.get(upright.mode)
    return upright if mode is None else upright.convert(mode)


def listed(inputs: Any) -> Any:
    """The inputs of a request; a lone text or image is a list of one."""
    alone = (str, bytes, bytearray, memoryview, os.PathLike, PillowImage)
    return [inputs] if isinstance(inputs, alone) else inputs


def light(source: Any) -> Any:
    """Converts text, bytes and paths to what native code takes, and checks everything else."""
    if isinstance(source, (str, bytes)):
        return source
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, os.PathLike):
        return Path(source)
    if isinstance(source, PillowImage):
        return source
    found = "it is missing (NaN)" if isinstance(source, float) and source != source else type(source).__name__
    raise TypeError(f"neither text nor an image: {found} (images are bytes, paths or PIL images)")


def is_heavy(source: Any) -> bool:
    """Whether its conversion to bytes is too slow for an event loop."""
    return not isinstance(source, (str, bytes, Path))


def heavy(source: Any) -> Any:
    """Text, bytes and paths as they are; Pillow images as bytes."""
    return encoded(source) if is_heavy(source) else source


def ready(sources: Iterable[Any]) -> list[Any]:
    """Converts texts, images and paths to what native code takes."""
    return [_named(index, heavy, _named(index, light, source)) for index, source in enumerate(sources)]


def _named(index: int, convert: Callable[[Any], Any], source: Any) -> Any:
    """Converts an input; the error of one that is wrong says which it is."""
    try:
        return convert(source)
    except TypeError as error:
        raise TypeError(f"input {index}: {error}") from None
    except _errors.InvalidRequest as error:
        raise _errors.InvalidRequest(f"input {index}: {error}") from error.__cause__


async def ready_async(sources: Iterable[Any]) -> list[Any]:
    """The same, with slow conversions on another thread."""
    given = [_named(index, light, source) for index, source in enumerate(sources)]
    if any(map(is_heavy, given)):
        return await asyncio.to_thread(lambda: [_named(index, heavy, source) for index, source in enumerate(given)])
    return given


def as_bytes(source: Any) -> bytes:
    """An image's encoded bytes. Reads files."""
    source = heavy(light(source))
    if isinstance(source, Path):
        try:
            return source.read_bytes()
        except OSError as error:
            raise _errors.InvalidRequest(f"{source} cannot be read: {error.strerror}") from error
    if isinstance(source, str):
        raise TypeError("an image is bytes, a path or a PIL image; a str would be text: use pathlib.Path for a path")
    return bytes(source)


def holds_images(value: Any) -> bool:
    """Whether a request contains images that are not text or bytes yet."""
    if isinstance(value, Mapping):
        return any(map(holds_images, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(holds_images, value))
    return isinstance(value, (bytearray, memoryview, os.PathLike, PillowImage))


def with_bytes(value: Any) -> Any:
    """The request with its images converted to bytes."""
    if isinstance(value, Mapping):
        return {name: with_bytes(field) for name, field in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_bytes(item) for item in value]
    if isinstance(value, (bytearray, memoryview, os.PathLike, PillowImage)):
        return as_bytes(value)
    return value


async def off_loop(work: Callable[[], T], needed: bool) -> T:
    """Runs work on another thread if it would block the event loop."""
    return await asyncio.to_thread(work) if needed else work()
