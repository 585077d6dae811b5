"""The walk over the fragments of an encapsulated value (PS3.5 A.4), by their item headers alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from struct import Struct, unpack

from vna.dicom.header import Bulk
from vna.domain.errors import UnparsableError

MOST_FRAGMENTS = 1_000_000
_HEADER = {True: Struct("<HHL").unpack, False: Struct(">HHL").unpack}


def walk_fragments(
    peek: Callable[[int, int], bytes],
    warn: Callable[[str], None],
    vr: str,
    *,
    start: int,
    end: int,
    extended: Sequence[int],
    little: bool = True,
) -> tuple[Bulk, int]:
    """Find the fragments of an encapsulated value.

    Parameters
    ----------
    peek
        Reads a number of bytes at a position.
    warn
        Takes a sentence for each thing that is wrong.
    vr
        Value representation of the value.
    start, end
        Where its first item stands, and where the file ends at most.
    extended
        Extended Offset Table (7FE0,0001), empty if there is none.
    little
        Byte order; false only in files that break PS3.5 A.4.

    Returns
    -------
    tuple
        The value, and the position after its delimiter.

    Raises
    ------
    UnparsableError
        There are too many fragments.
    """
    header = _HEADER[little]
    pos = start
    basic: Sequence[int] = ()
    starts: list[int] = []
    fragments: list[tuple[int, int]] = []
    first = True
    stop = after = end
    while True:
        head = peek(8, pos) if pos + 8 <= end else b""
        if len(head) < 8:
            warn("the encapsulated pixel data ends without its delimiter")
            stop = after = pos + len(head)
            break
        group, element, length = header(head)
        if (group, element) == (0xFFFE, 0xE0DD):
            stop, after = pos, pos + 8
            break
        if (group, element) != (0xFFFE, 0xE000) or length == 0xFFFFFFFF:
            warn("the encapsulated pixel data ends without its delimiter")
            stop = after = pos
            break
        data = pos + 8
        if data + length > end:
            warn(f"the encapsulated pixel data is truncated: a fragment of {length} bytes has {max(0, end - data)}")
            length = max(0, end - data)
        if first:
            first = False
            if length <= 4 * MOST_FRAGMENTS:
                raw = peek(length, data)
                basic = unpack(f"{'<' if little else '>'}{len(raw) // 4}L", raw[: len(raw) // 4 * 4])
        else:
            starts.append(pos)
            fragments.append((data, length))
            if len(fragments) > MOST_FRAGMENTS:
                raise UnparsableError(f"the pixel data has more than {MOST_FRAGMENTS} fragments")
        pos = data + length
    frames = _frames(extended or basic, starts)
    if (extended or basic) and not frames:
        warn("the offset table of the pixel data does not fit its fragments")
    return Bulk(vr, start, max(0, stop - start), True, tuple(fragments), frames), after


def _frames(offsets: Sequence[int], starts: list[int]) -> tuple[int, ...]:
    """Return how many fragments each frame has, by offsets from the first fragment's item (PS3.5 A.4)."""
    if not offsets or not starts:
        return ()
    number = {start - starts[0]: index for index, start in enumerate(starts)}
    try:
        places = [number[offset] for offset in offsets]
    except KeyError:
        return ()
    if places[0] or any(after <= before for before, after in pairwise(places)):
        return ()
    places.append(len(starts))
    return tuple(after - before for before, after in pairwise(places))
