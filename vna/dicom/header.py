"""What the archive reads of an instance, bulk values left where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vna.domain.records import Attributes


@dataclass(frozen=True, slots=True)
class Bulk:
    """A value that was not read: where it lies in the Part-10 file as kept.

    Attributes
    ----------
    vr
        Value representation as in the file (PS3.5 6.2), ``UN`` where it is not told.
    offset
        Offset in bytes from the start of the file to the first byte of the
        value (for an encapsulated value, to its Basic Offset Table item, PS3.5 A.4).
    length
        Length in bytes; for an encapsulated value, all of it with its item
        headers, without the sequence delimiter.
    encapsulated
        Whether the value is a sequence of fragments.
    fragments
        For an encapsulated value, ``(offset, length)`` of each fragment's data,
        offset from the start of the file, the Basic Offset Table left out.
    frames
        For encapsulated pixel data, the number of fragments of each frame, if
        the offset tables (basic or extended) tell it; empty otherwise.
    """

    vr: str
    offset: int
    length: int
    encapsulated: bool = False
    fragments: tuple[tuple[int, int], ...] = ()
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """The attributes of an instance as received, decoded but not altered.

    Attributes
    ----------
    attributes
        Data set in the DICOM JSON model (PS3.18 F.2), texts decoded by the
        Specific Character Set in force. A value that cannot be what its VR says
        is kept as the text that was there. Group 0002 is left out. A bulk value
        is ``{"vr": ..., "BulkDataURI": <path>}``, ``path`` a key of ``bulk``.
    bulk
        Values that were not read, by path: eight hex digits, or through
        sequences ``ggggeeee.N.ggggeeee`` with N the number of the item from 0.
    transfer_syntax
        Transfer Syntax UID (0002,0010), without padding.
    meta
        File Meta Information (PS3.10 7.1) in the DICOM JSON model.
    deflated
        Whether the data set is deflated (PS3.5 A.5): offsets of ``bulk`` are then
        into the inflated data set that follows the File Meta Information,
        counted as if it stood in the file in place of the deflated one.
    warnings
        What was wrong and survived, a sentence each, for a person.
    """

    attributes: Attributes
    bulk: Mapping[str, Bulk]
    transfer_syntax: str
    meta: Attributes = field(default_factory=dict)
    deflated: bool = False
    warnings: tuple[str, ...] = ()
