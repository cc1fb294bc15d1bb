"""Cosine similarity, and the nearest of many vectors. Without numpy."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Match:
    """One of the vectors that are most similar to a query."""

    index: int
    """Its position among the vectors."""
    score: float
    """The cosine similarity: 1 for the same direction."""


def _numbers(vector: Any) -> Any:
    if not isinstance(vector, EmbedResponse):
        return vector
    if len(vector) != 1:
        raise _errors.InvalidRequest(f"the response has {len(vector)} vectors where one is compared")
    return vector.tolist()[0]


def similarity(a: Vector, b: Vector, /) -> float:
    """The cosine of the angle between two vectors, from -1 to 1; for vectors of unit length their dot product.

    >>> similarity([3.0, 4.0], [6.0, 8.0])
    1.0
    """
    return _ayni.similarity(_numbers(a), _numbers(b))


def top_k(vectors: EmbedResponse | Sequence[Vector] | npt.NDArray[Any], query: Vector, /, k: int = 10) -> list[Match]:
    """The ``k`` vectors most similar to a query, the best first, and of equals the one with the lower index.

    >>> [found.index for found in top_k([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], [0.0, 2.0], k=2)]
    [1, 2]
    """
    searched: Any = vectors
    if isinstance(vectors, EmbedResponse):
        searched = vectors._block if isinstance(vectors._block, _ayni.Block) else vectors.tolist()
    return [Match(*found) for found in _ayni.top_k(searched, _numbers(query), k)]
