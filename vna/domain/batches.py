"""Many things, some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield things in lists of ``size``, the last one shorter; no more of them are taken than are asked for."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
