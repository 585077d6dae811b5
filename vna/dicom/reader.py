"""Reading an instance: its attributes in the DICOM JSON model, its bulk values by offset.

Written for the archive because of speed and of memory: ``pydicom.dcmread`` with
``to_json_dict`` costs several milliseconds a header and holds what it reads.
pydicom's dictionaries are used. Where the result is not pydicom's, on purpose:

- InlineBinary of a big endian file is little endian (PS3.18 F.2.7).
- Encapsulated Pixel Data is OB, whatever the file says (PS3.5 A.4).
- An illegal value is kept as its text; pydicom gives no JSON for it.
- A binary number of a wrong length is kept as UN.
- FL and FD that are not finite are the texts ``NaN``, ``INF`` and ``-INF``.
- Padding at the end of a whole value is taken away, that of each of several
  values is left to normalisation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vna.dicom.charset import Charset
from vna.dicom.dictionary import KNOWN_VRS, public_vr
from vna.dicom.element_header import Scope
from vna.dicom.header import Header
from vna.dicom.parser import Parser
from vna.dicom.source import ENDLESS, FileSource, InflateSource, MemorySource, Source
from vna.domain.errors import UnparsableError
from vna.domain.file_range import FileRange
from vna.domain.records import Attributes

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
# Deflated Explicit VR, and the two JPIP Referenced Deflate ones (PS3.5 A.5, A.7, A.11).
DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_IMPLICIT = frozenset({IMPLICIT_LITTLE, "1.2.840.113619.5.2"})
_DICOMDIR = "1.2.840.10008.1.3.10"
_MOST_UID = 512

REQUIRED = {
    "00080016": "SOPClassUID (0008,0016)",
    "00080018": "SOPInstanceUID (0008,0018)",
    "0020000D": "StudyInstanceUID (0020,000D)",
    "0020000E": "SeriesInstanceUID (0020,000E)",
}
"""What an instance must have to be placed in the information model (PS3.3 A.1.2), by tag."""


def read_header(file: Path | FileRange | bytes) -> Header:
    """Read an instance, bulk values left where they are.

    Parameters
    ----------
    file
        A Part-10 file (PS3.10 7), or a data set without preamble and File Meta
        Information, whose encoding is then guessed; or where in a file it is, or its bytes.

    Returns
    -------
    Header
        What was read, with what was wrong and survived.

    Raises
    ------
    UnparsableError
        The file is no DICOM instance, or broken beyond what can be survived;
        the message is for a person.
    """
    header = read_dataset(file)
    check_identity(header.attributes, header.meta)
    return header


def check_identity(attributes: Attributes, meta: Attributes | None = None) -> None:
    """Raise ``UnparsableError`` unless the UIDs that place an instance are there and usable."""
    if "00041220" in attributes or first_text(meta or {}, "00020002") == _DICOMDIR:
        raise UnparsableError("a DICOMDIR is not an instance")
    for tag, name in REQUIRED.items():
        values = attributes.get(tag, {}).get("Value")
        if not values or not isinstance(values[0], str):
            raise UnparsableError(f"{name} is missing or empty")
        uid = values[0]
        if len(values) > 1 or len(uid) > _MOST_UID or not uid.isprintable() or " " in uid:
            raise UnparsableError(f"{name} is not one UID: {uid[:80]!r}")


def first_text(attributes: Attributes, tag: str) -> str:
    """Return the first value of an attribute as text, empty if there is none."""
    values: list[Any] = attributes.get(tag, {}).get("Value") or [""]
    return str(values[0] if values[0] is not None else "")


def read_dataset(file: Path | FileRange | bytes) -> Header:
    """Read any DICOM file as :func:`read_header` does, whether it is an instance or not."""
    if isinstance(file, bytes):
        return _read(MemorySource(file))
    where = FileRange(file, 0, -1) if isinstance(file, Path) else file
    fd = os.open(where.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read(FileSource(fd, where.offset, where.length if where.length >= 0 else None))
    finally:
        os.close(fd)


def _read(source: Source) -> Header:
    if source.end == 0:
        raise UnparsableError("the file is empty")
    parser = Parser(source)
    head = parser.window.peek(144, 0)
    start = 132 if head[128:132] == b"DICM" else 4 if head[:4] == b"DICM" else 0
    if start != 132:
        parser.window.warn("the file has no preamble (PS3.10 7.1)")
    meta, pos = _read_meta(parser, start, source.end)
    syntax = first_text(meta, "00020010").strip()
    if not syntax:
        syntax = _guess(parser.window.peek(12, pos), sure=bool(meta) or start == 132)
        parser.window.warn(f"the file does not tell its transfer syntax; taken for {syntax}")
    deflated = syntax in DEFLATED
    walker = parser
    data = source
    if deflated:
        data = InflateSource(source, pos)
        walker = Parser(data)
        for text in parser.window.warnings:
            walker.window.warn(text)
    little = _byte_order(walker, pos, declared_little=syntax != EXPLICIT_BIG)
    scope = Scope(Charset((), walker.window.warn), explicit=syntax not in _IMPLICIT, little=little)
    end = ENDLESS if deflated else source.end
    attributes, _ = walker.dataset(pos, end, scope)
    if not attributes:
        raise UnparsableError("not DICOM: no data set could be read")
    _check_uids(walker, attributes)
    return Header(attributes, walker.bulk, syntax, meta, deflated, walker.window.warnings)


def _read_meta(parser: Parser, start: int, end: int) -> tuple[Attributes, int]:
    """Read File Meta Information (PS3.10 7.1); its group length is a hint, no more."""
    head = parser.window.peek(12, start)
    if head[:2] != b"\x02\0":
        if start:
            parser.window.warn("the file has no File Meta Information (PS3.10 7.1)")
        return {}, start
    told = 0
    if head[2:6] == b"\0\0UL":
        told = start + 12 + int.from_bytes(parser.window.peek(12, start)[8:12], "little")
    for limit in (told, end):
        if not start < limit <= end:
            continue
        scope = Scope(Charset((), parser.window.warn), explicit=True, little=True)
        before = parser.window.warnings
        meta, pos = parser.dataset(start, limit, scope, group_only=2)
        following = parser.window.peek(8, pos)
        if limit == end or (pos == told and parser.window.warnings == before and not _is_meta(following)):
            break
    if told and pos != told:
        parser.window.warn("the group length of the File Meta Information is wrong")
    return meta, pos


def _is_meta(head: bytes) -> bool:
    return head[:2] == b"\x02\0" and head[4:6] in KNOWN_VRS


def _guess(head: bytes, *, sure: bool) -> str:
    """Return the transfer syntax that a data set which does not tell it looks like.

    ``sure`` says that something else has shown it to be DICOM.
    """
    if len(head) < 8:
        raise UnparsableError("not DICOM: too short for a data set")
    group = int.from_bytes(head[:2], "little")
    if head[4:6] in KNOWN_VRS:
        # Group 0008, which data sets begin with, is 0x0800 when read the wrong way round.
        return EXPLICIT_BIG if group > 0x00FF and not group & 0xFF else EXPLICIT_LITTLE
    known = public_vr(group << 16 | int.from_bytes(head[2:4], "little")) != "UN"
    if not sure and (group > 0x0010 or not known):
        raise UnparsableError("not DICOM: it has neither a preamble nor the beginning of a data set")
    return IMPLICIT_LITTLE


def _byte_order(parser: Parser, pos: int, *, declared_little: bool) -> bool:
    """Return whether the data set is little endian: its first element's group tells, whatever was declared."""
    head = parser.window.peek(8, pos)
    little, big = int.from_bytes(head[:2], "little"), int.from_bytes(head[:2], "big")
    looks_little = little < 0x0100 <= big
    looks_big = big < 0x0100 <= little
    if looks_little is not looks_big and looks_little is not declared_little:
        parser.window.warn("the byte order of the data set is not that of its transfer syntax")
        return looks_little
    return declared_little


def _check_uids(parser: Parser, attributes: Attributes) -> None:
    for tag, name in REQUIRED.items():
        uid = first_text(attributes, tag)
        if uid and (
            len(uid) > 64
            or not uid.replace(".", "").isdecimal()
            or any(not part or (len(part) > 1 and part[0] == "0") for part in uid.split("."))
        ):
            parser.window.warn(f"{name} is not a legal UID (PS3.5 9.1): {uid[:80]}")
