"""Media types of compressed frames (PS3.18 8.7.3.3, Table 8.7.3-5)."""

from __future__ import annotations

import re

OCTETS = "application/octet-stream"

_UID = re.compile(r"[0-9.]{1,64}")

_JPEG = (50, 51, 57, 70)
_VIDEO_MP4 = range(102, 109)

_TYPES = (
    {f"1.2.840.10008.1.2.4.{number}": "image/jpeg" for number in _JPEG}
    | {f"1.2.840.10008.1.2.4.{number}": "image/jls" for number in (80, 81)}
    | {f"1.2.840.10008.1.2.4.{number}": "image/jp2" for number in (90, 91)}
    | {f"1.2.840.10008.1.2.4.{number}": "image/jpx" for number in (92, 93)}
    | {f"1.2.840.10008.1.2.4.{number}": "image/jphc" for number in (201, 202, 203)}
    | {f"1.2.840.10008.1.2.4.{number}": "image/jxl" for number in (110, 111, 112)}
    | {f"1.2.840.10008.1.2.4.{number}": "video/mpeg" for number in (100, 101)}
    | {f"1.2.840.10008.1.2.4.{number}": "video/mp4" for number in _VIDEO_MP4}
    | {"1.2.840.10008.1.2.5": "image/dicom-rle", "1.2.840.10008.1.2.8.1": "application/x-deflate"}
)


def with_syntax(content: str, transfer_syntax: str) -> str:
    """Return a media type with its transfer syntax (PS3.18 8.7.3.5.1).

    A transfer syntax is whatever a sender wrote into the file: what is no UID is
    left out, so that it cannot end the header field.
    """
    return f"{content}; transfer-syntax={transfer_syntax}" if _UID.fullmatch(transfer_syntax) else content


def media_type_of(transfer_syntax: str) -> str:
    """Return the media type of frames that are compressed in a transfer syntax."""
    return _TYPES.get(transfer_syntax, OCTETS)


# Where no transfer syntax is named (PS3.18 Table 8.7.3-2).
_DEFAULTS = {
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "image/jxl": "1.2.840.10008.1.2.4.110",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "video/mpeg": "1.2.840.10008.1.2.4.100",
    "video/mp4": "1.2.840.10008.1.2.4.102",
    "application/x-deflate": "1.2.840.10008.1.2.8.1",
}
# ISO 10918-1 B.1.1.3: start of frame, by the process.
_JPEG_PROCESS = {0xC0: "50", 0xC1: "51", 0xC3: "70"}


def default_syntax(content: str, start: bytes) -> str:
    """Return the transfer syntax of frames whose media type is all that is said of them, empty if there is none.

    Parameters
    ----------
    content
        Media type.
    start
        First bytes of a frame: most who send ``image/jpeg`` without a transfer
        syntax send lossy JPEG, of which the default of the standard is none.
    """
    if content == "image/jpeg" and (number := _JPEG_PROCESS.get(_start_of_frame(start), "")):
        return f"1.2.840.10008.1.2.4.{number}"
    return _DEFAULTS.get(content, "")


def _start_of_frame(data: bytes) -> int:
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return marker
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return 0
