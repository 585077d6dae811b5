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
