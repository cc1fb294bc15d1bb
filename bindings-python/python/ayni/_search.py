"""Cosine similarity, and the nearest of many vectors. Numpy arrays are searched in place; nothing here needs numpy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from ayni import _ayni, _errors
from ayni._embedder import EmbedResponse

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import TypeAlias

Vector: TypeAlias = Union[Sequence[float], "npt.NDArray[Any]", EmbedResponse]
"""Numbers, or a response with one vector."""

# How many rows of an array are searched at once: few enough to stay in the cache between two passes.
ROWS_AT_ONCE = 512

# Sums of squares below this have lost precision to f32 underflow.
SMALLEST_SQUARE = 1e-30


@dataclass(frozen=True, slots=True)
class Match:
    """One of the vectors that are most similar to a query."""

    index: int
    """Its position among the vectors."""
    score: float
    """The cosine similarity: 1 for the same direction."""


@dataclass(frozen=True, slots=True)
class BinaryMatch:
    """One of the vectors that differ least from a query in their bits."""

    index: int
    """Its position among the vectors."""
    distance: int
    """In how many bits they differ."""


def _numbers(vector: Any) -> Any:
    if not isinstance(vector, EmbedResponse):
        return vector
    if len(vector) != 1:
        raise _errors.InvalidRequest(f"the response has {len(vector)} vectors where one is compared")
    return vector.tolist()[0]


def _check_spaces(a: Any, b: Any) -> None:
    """Vectors of different spaces have no similarity."""
    if isinstance(a, EmbedResponse) and isinstance(b, EmbedResponse) and a.space != b.space:
        raise _errors.InvalidRequest(
            f"the vectors are of different spaces ({_called(a)} and {_called(b)}): embed both with the same model, prompts "
            "and dimensions"
        )


def _called(response: EmbedResponse) -> str:
    space = response.space
    return f"{space.model}, {space.dimensions} numbers, {space.fingerprint or space.revision or 'no fingerprint'}"


def _check_k(k: int, most: int) -> int:
    if k < 0:
        raise _errors.InvalidRequest(f"`k` is {k}; it counts vectors")
    return min(k, most)


def similarity(a: Vector, b: Vector, /) -> float:
    """The cosine of the angle between two vectors, from -1 to 1; for vectors of unit length their dot product.

    Responses must be of one space.

    >>> similarity([3.0, 4.0], [6.0, 8.0])
    1.0
    """
    _check_spaces(a, b)
    return _ayni.similarity(_numbers(a), _numbers(b))


def top_k(vectors: EmbedResponse | Sequence[Vector] | npt.NDArray[Any], query: Vector, /, k: int = 10) -> list[Match]:
    """The ``k`` vectors most similar to a query, the best first, and of equals the one with the lower index.

    Responses must be of one space. Numpy arrays are not copied.

    >>> [found.index for found in top_k([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], [0.0, 2.0], k=2)]
    [1, 2]
    """
    _check_spaces(vectors, query)
    k = _check_k(k, len(vectors))
    searched: Any = vectors
    if isinstance(vectors, EmbedResponse):
        block = vectors._block
        searched = block if isinstance(block, _ayni.Block) else _copied(vectors)
    if _is_array(searched):
        return [Match(*found) for found in _top_k_of_array(searched, _numbers(query), k)]
    return [Match(*found) for found in _ayni.top_k(searched, _numbers(query), k)]


def hamming_top_k(
    vectors: EmbedResponse | Sequence[Sequence[int]] | npt.NDArray[Any], query: EmbedResponse | Sequence[int], /, k: int = 10
) -> list[BinaryMatch]:
    """The ``k`` vectors of bits that differ least from a query, the best first, and of equals the one with the lower index.

    Vectors are responses with the encoding ``ubinary``, of one space, or rows of bytes.

    >>> [(found.index, found.distance) for found in hamming_top_k([[0b0111], [0b0001]], [0b0000], k=2)]
    [(1, 1), (0, 3)]
    """
    _check_spaces(vectors, query)
    k = _check_k(k, len(vectors))
    for one in (vectors, query):
        if isinstance(one, EmbedResponse) and one._block.__array_interface__["typestr"][1:] != "u1":
            raise _errors.Unsupported("only vectors of bits are compared by bits; embed with the encoding 'ubinary'")
    wanted = bytes(_numbers(query))
    rows = _rows_of_bytes(vectors, len(wanted))
    number = int.from_bytes(wanted, "big")
    distances = ((int.from_bytes(row, "big") ^ number).bit_count() for row in rows)
    # Sorting is stable: of equals the first comes first.
    ranked = sorted(enumerate(distances), key=lambda found: found[1])
    return [BinaryMatch(*found) for found in ranked[:k]]


def _rows_of_bytes(vectors: Any, width: int) -> list[bytes]:
    if isinstance(vectors, EmbedResponse):
        data, count = vectors.tobytes(), len(vectors)
    elif _is_array(vectors):
        data, count = vectors.tobytes(), len(vectors)
    else:
        rows = [bytes(row) for row in vectors]
        if any(len(row) != width for row in rows):
            raise _errors.InvalidRequest(f"the query has {width} bytes, and a vector has not")
        return rows
    if len(data) != count * width:
        raise _errors.InvalidRequest(f"the query has {width} bytes, the vectors have {len(data) // max(count, 1)}")
    return [data[start : start + width] for start in range(0, len(data), width)]


def _is_array(vectors: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(vectors, numpy.ndarray)


def _copied(vectors: EmbedResponse) -> Any:
    """The vectors of a response that came from another process: an array where numpy is installed."""
    try:
        import numpy  # noqa: F401, ICN001
    except ImportError:
        return vectors.tolist()
    if vectors._block.__array_interface__["typestr"][1:] == "u1":
        raise _errors.Unsupported("vectors of bits have no cosine; use hamming_top_k, or embed with another encoding")
    return vectors.vectors


def _top_k_of_array(vectors: npt.NDArray[Any], query: Any, k: int) -> list[tuple[int, float]]:
    """What native code does for its own vectors, by numpy where the array is: cosines, without rows that are not finite."""
    import numpy as np

    asked = np.asarray(query, np.float32)
    if vectors.ndim != 2 or asked.ndim != 1 or vectors.shape[1] != asked.size:
        raise _errors.InvalidRequest(f"vectors of shape {vectors.shape} cannot be compared with a query of shape {asked.shape}")
    if not np.isfinite(asked).all():
        raise _errors.InvalidRequest("a vector to compare holds NaN or infinity")
    # A query of length one, so that no square of it overflows.
    length = float(np.linalg.norm(asked.astype(np.float64)))
    unit = (asked.astype(np.float64) / (length or 1.0)).astype(np.float32)
    scores = np.empty(len(vectors), np.float32)
    with np.errstate(all="ignore"):
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            rows = vectors[start : start + ROWS_AT_ONCE].astype(np.float32, copy=False)
            squares = np.einsum("ij,ij->i", rows, rows)
            # Not `@`: its threads gain nothing in blocks of this size, and lose much on a busy machine.
            found = np.einsum("ij,j->i", rows, unit) / np.sqrt(squares)
            odd = np.flatnonzero(~((squares >= SMALLEST_SQUARE) & (squares < np.inf)))
            if odd.size:
                # Their squares overflow or underflow f32 although the cosine may be fine. A zero vector has 0.
                exact = rows[odd].astype(np.float64)
                lengths = np.sqrt((exact * exact).sum(axis=1))
                found[odd] = np.where(lengths == 0, 0, (exact @ unit.astype(np.float64)) / lengths)
            scores[start : start + len(found)] = np.clip(found, -1, 1)
    finite = np.flatnonzero(np.isfinite(scores))
    kept = finite
    if 0 < k < len(finite):
        # All as good as the k-th, so that of equals the first are taken.
        bar = np.partition(scores[finite], len(finite) - k)[len(finite) - k]
        kept = finite[scores[finite] >= bar]
    order = kept[np.argsort(-scores[kept], kind="stable")][:k]
    return [(int(index), float(scores[index])) for index in order]
