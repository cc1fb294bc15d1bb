"""Reads dates, amounts and tuples from JSON."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


@functools.cache
def santiago() -> tzinfo | None:
    """The zone ``America/Santiago``; ``None`` where the system has no zone table."""
    try:
        return ZoneInfo("America/Santiago")
    except ZoneInfoNotFoundError:
        return None


def moment(text: str) -> datetime:
    """A moment in Santiago, to the microsecond.

    Its zone is ``America/Santiago``; where the system has no zone table (Windows, or a small container without the
    package ``tzdata``), it is that zone's offset at this moment, under the same name.
    """
    wall, offset = text[:-6], text[-6:]
    clock, _, fraction = wall.partition(".")
    naive = datetime.fromisoformat(clock).replace(microsecond=int(fraction[:6].ljust(6, "0")) if fraction else 0)
    sign = -1 if offset[0] == "-" else 1
    distance = sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[4:6]))
    zone = santiago()
    if zone is None:
        return naive.replace(tzinfo=timezone(distance, "America/Santiago"))
    placed = naive.replace(tzinfo=zone)
    # When clocks go back, one hour occurs twice; the offset tells which one it is.
    return placed if placed.utcoffset() == distance else placed.replace(fold=1)


def several(read: Callable[[Any], T]) -> Callable[[Sequence[Any]], tuple[T, ...]]:
    """Reads a list."""
    return lambda values: tuple(map(read, values))


def pair(first: Callable[[Any], A], second: Callable[[Any], B]) -> Callable[[Sequence[Any]], tuple[A, B]]:
    """Reads a list of two."""
    return lambda values: (first(values[0]), second(values[1]))
