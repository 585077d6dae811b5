"""The Part-10 preamble and File Meta Information (PS3.10 7.1) that the receive path writes before a data set."""

from __future__ import annotations

import struct

from vna.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_PREAMBLE = bytes(128) + b"DICM"
_VERSION = struct.pack("<HH2sHI2s", 2, 0x0001, b"OB", 0, 2, b"\x00\x01")


def _short(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) & 1:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def file_meta_tail(transfer_syntax: str, calling: str, called: str) -> bytes:
    """Return the elements from (0002,0010) on, which are the same for all instances of a presentation context."""
    sender = calling.encode("ascii", "replace")
    out = [
        _short(0x0010, b"UI", transfer_syntax.encode("ascii", "replace")),
        _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode()),
        _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode()),
    ]
    if sender:
        out += [_short(0x0016, b"AE", sender), _short(0x0017, b"AE", sender)]
    if called:
        out.append(_short(0x0018, b"AE", called.encode("ascii", "replace")))
    return b"".join(out)


def file_meta(sop_class: bytes, sop_instance: bytes, tail: bytes) -> bytes:
    """Return preamble, prefix and File Meta Information.

    Parameters
    ----------
    sop_class, sop_instance
        UIDs of the instance, as the command says them.
    tail
        What :func:`file_meta_tail` returned.
    """
    body = _VERSION + _short(0x0002, b"UI", sop_class) + _short(0x0003, b"UI", sop_instance) + tail
    return _PREAMBLE + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body)) + body
