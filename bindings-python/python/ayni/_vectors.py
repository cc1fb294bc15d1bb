"""Vectors as numpy arrays where numpy is installed, and as lists and bytes everywhere."""

from __future__ import annotations

import copyreg
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from ayni import _ayni

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import TypeAlias

# numpy's names of number types, and the codes of `struct`.
STRUCT_CODES = {"f4": "f", "f2": "e", "i1": "b", "u1": "B"}


@dataclass(frozen=True, slots=True)
class Copied:
    """A native block that came from another process, or was copied."""

    data: bytes
    kind: str
    shape: tuple[int, ...]
    scales: Block | None = None

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"version": 3, "typestr": f"<{self.kind}", "shape": self.shape, "data": self.data}

    def __len__(self) -> int:
        return self.shape[0]

    def tobytes(self) -> bytes:
        """The numbers, little-endian."""
        return self.data


Block: TypeAlias = Union[_ayni.Block, Copied]


def _copied(block: _ayni.Block) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    interface = block.__array_interface__
    return Copied, (_little_endian(block), interface["typestr"][1:], interface["shape"], block.scales)


def _little_endian(block: _ayni.Block) -> bytes:
    """The numbers as bytes: by numpy in one copy, where it is installed."""
    try:
        import numpy as np
    except ImportError:
        return block.tobytes()
    numbers = np.asarray(block)
    return numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).tobytes()


copyreg.pickle(_ayni.Block, _copied)


def array(block: Block) -> npt.NDArray[Any]:
    """The array over a block's memory."""
    try:
        import numpy as np
    except ImportError as error:
        told = 'arrays of vectors need numpy: pip install "ayni[numpy]"; tolist() and tobytes() do without it'
        raise ImportError(told, name="numpy") from error
    return np.asarray(block)


def rows(block: Block) -> list[list[Any]]:
    """One list of numbers for each vector."""
    interface = block.__array_interface__
    count, width = interface["shape"]
    numbers = struct.unpack(f"<{count * width}{STRUCT_CODES[interface['typestr'][1:]]}", block.tobytes())
    return [list(numbers[start : start + width]) for start in range(0, len(numbers), width)]
