"""The File Meta Information (PS3.10 7.1) of a file that may be broken, for a person to see.

Nothing but group 0002 is read, and of that no more than a few kilobytes: an
object whose parsing kills the process is safe to look at in this way.
"""

from __future__ import annotations

import struct
from pathlib import Path
from types import MappingProxyType

_MOST = 16384
_NAMES = MappingProxyType(
    {
        0x0002: "sop_class",  # MediaStorageSOPClassUID
        0x0003: "sop_instance",  # MediaStorageSOPInstanceUID
        0x0010: "transfer_syntax",  # TransferSyntaxUID
        0x0013: "implementation",  # ImplementationVersionName
    }
)
# Explicit VRs whose length field takes four bytes (PS3.5 7.1.2).
_LONG = frozenset((b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"))


def peek(path: Path) -> dict[str, str]:
    """Return what group 0002 tells, as far as it can be read; empty if it is not a Part-10 file."""
    with path.open("rb") as file:
        data = file.read(_MOST)
    found: dict[str, str] = {}
    if data[128:132] != b"DICM":
        return found
    place = 132
    while place + 8 <= len(data):
        group, element = struct.unpack_from("<HH", data, place)
        if group != 0x0002:
            break
        vr = data[place + 4 : place + 6]
        if vr in _LONG:
            if place + 12 > len(data):
                break
            (length,) = struct.unpack_from("<I", data, place + 8)
            place += 12
        else:
            (length,) = struct.unpack_from("<H", data, place + 6)
            place += 8
        if element in _NAMES:
            text = data[place : place + min(length, 64)].decode("ascii", "replace").strip("\0 ")
            found[_NAMES[element]] = text
        place += length
    return found
