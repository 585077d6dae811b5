"""Overlay planes of an image (PS3.3 C.9.2): graphics that lie over the pixels, one bit each.

Regions of interest (Overlay Type R) would hide what they are of, and planes in
unused bits of the pixels are retired since 2004: neither is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vna.domain.records import Attributes

GROUPS = range(0x6000, 0x6020, 2)
_MOST_BYTES = 1 << 23


@dataclass(frozen=True, slots=True)
class Overlay:
    """A plane as it lies over one frame.

    Attributes
    ----------
    rows, columns
        Its size.
    top, left
        Where its first pixel lies on the image, from 0; may be negative.
    start
        First of its bits in ``data``.
    data
        Its bits, the least significant of a byte first, row by row; of several frames one after the other.
    """

    rows: int
    columns: int
    top: int
    left: int
    start: int
    data: bytes


def overlays(
    attributes: Attributes, read: Callable[[dict[str, Any] | None, int], bytes], frame: int
) -> Iterator[Overlay]:
    """Yield the planes that lie over a frame.

    Parameters
    ----------
    attributes
        Data set of the image.
    read
        Returns the bytes of an attribute, at most so many.
    frame
        Number of the frame, from 1.
    """
    for group in GROUPS:
        rows, columns = _number(attributes, group, 0x0010), _number(attributes, group, 0x0011)
        allocated = _number(attributes, group, 0x0100, 1)
        kind = str(((attributes.get(_tag(group, 0x0040)) or {}).get("Value") or ["G"])[0]).strip()
        if rows < 1 or columns < 1 or allocated != 1 or kind != "G":
            continue
        place = 0
        if (frames := _number(attributes, group, 0x0015)) > 0:
            # Planes of frames lie over so many from an origin on (C.9.2.1.4).
            place = frame - _number(attributes, group, 0x0051, 1)
            if not 0 <= place < frames:
                continue
        data = read(attributes.get(_tag(group, 0x3000)), _MOST_BYTES)
        start = place * rows * columns
        if 8 * len(data) >= start + rows * columns:
            origin = (attributes.get(_tag(group, 0x0050)) or {}).get("Value") or [1, 1]
            top, left = (_int(value, 1) - 1 for value in (*origin, 1)[:2])
            yield Overlay(rows, columns, top, left, start, data)


def _tag(group: int, element: int) -> str:
    return f"{group:04X}{element:04X}"


def _number(attributes: Attributes, group: int, element: int, default: int = 0) -> int:
    values = (attributes.get(_tag(group, element)) or {}).get("Value") or [default]
    return _int(values[0], default)


def _int(value: Any, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default
