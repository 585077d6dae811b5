"""Putting an instance together of its metadata and its bulk data (PS3.18 8.7.1, 10.5.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vna.dicom.decode import ImagePixel
from vna.dicom.dictionary import PIXEL_DATA, PIXEL_TAGS, show_tag
from vna.dicom.elements import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, NATIVE
from vna.dicom.part10 import Head
from vna.dicom.rewrite import Writable
from vna.dicom.write import BulkValue, DataSetWriter, bulk_fields, file_meta
from vna.domain.errors import UnsupportedError
from vna.domain.records import Attributes
from vna.gateways.dicomweb.media import OCTETS, default_syntax, media_type_of
from vna.gateways.dicomweb.negotiate import MediaType
from vna.gateways.dicomweb.stow_outcome import (
    CANNOT_UNDERSTAND,
    MISMATCH,
    TRANSFER_SYNTAX_NOT_SUPPORTED,
    RefusedError,
)

Read = Callable[[int, int], Iterable[bytes]]

_UID = re.compile(r"[0-9.]{1,64}")
_FRAME = re.compile(r"(.+)/frames/([0-9]{1,9})")
_VIDEO = frozenset({"video/mpeg", "video/mp4"})
_LOOK = 1 << 16


@dataclass(slots=True)
class BulkPart:
    """One part of bulk data: how it is named for a person, its Content-Location and type, and where it lies."""

    name: str
    location: str
    kind: MediaType
    offset: int
    length: int = 0


def head_of(found: Any) -> Head:
    """Return what identifies what may be a data set; a UID that is missing or none is empty."""

    def uid(tag: str) -> str:
        field = found.get(tag) if isinstance(found, dict) else None
        values = field.get("Value") if isinstance(field, dict) else None
        value = values[0] if isinstance(values, list) and len(values) == 1 else None
        return value if isinstance(value, str) and _UID.fullmatch(value) else ""

    return Head("", "", "", uid("00080016"), uid("00080018"), uid("0020000D"), uid("0020000E"))


@dataclass(frozen=True, slots=True)
class Plan:
    """An instance that can be written."""

    head: Head
    transfer_syntax: str
    data_set: Attributes
    bulk: Mapping[str, BulkValue]
    read: Read

    def write(self, target: Writable) -> None:
        """Write the Part-10 file; raises ``UnparsableError`` naming an attribute that cannot be written."""
        target.write(file_meta(self.head.sop_class, self.head.sop_instance, self.transfer_syntax))
        DataSetWriter(target, self.bulk, self.read).write(self.data_set)


class Assembly:
    """The bulk data of a request, by Content-Location.

    Parts are matched with the BulkDataURI that is the same text. Frames of
    encapsulated pixel data are several parts of one Content-Location, in order,
    or parts whose Content-Location ends in ``/frames/<number>``, as those of a
    retrieval do (PS3.18 10.4).

    Parameters
    ----------
    parts
        In the order they came.
    data_sets
        All of the request, so that parts that none of them names are known.
    read
        Yields the bytes of a span of the bulk data.
    """

    def __init__(self, parts: Sequence[BulkPart], data_sets: Sequence[Any], read: Read) -> None:
        self._read = read
        self._parts: dict[str, list[BulkPart]] = {}
        self._frames: dict[str, list[tuple[int, BulkPart]]] = {}
        for part in parts:
            self._parts.setdefault(part.location, []).append(part)
            if found := _FRAME.fullmatch(part.location):
                self._frames.setdefault(found[1], []).append((int(found[2]), part))
        named = set()
        for data_set in data_sets:
            for _tag, field, _within, _depth in bulk_fields(data_set):
                uri = field["BulkDataURI"].strip()
                named |= {uri, *_frame_places(uri)}
        self.unknown = [part for part in parts if not {part.location, part.location.rpartition("/frames/")[0]} & named]

    def plan(self, data_set: Attributes, hint: str = "") -> Plan:
        """Find the bulk data of a data set.

        Parameters
        ----------
        data_set
            With the UIDs it needs.
        hint
            Transfer syntax that the metadata's Content-Type names, for bulk data that names none.

        Raises
        ------
        RefusedError
            Bulk data is missing, there twice, of a wrong length, or in a transfer syntax that cannot be kept.
        """
        bulk: dict[str, BulkValue] = {}
        syntaxes: set[str] = set()
        for tag, field, within, depth in bulk_fields(data_set):
            uri = field["BulkDataURI"]
            of_the_image = tag in PIXEL_TAGS and depth == 0
            parts = self._find(uri.strip(), frames=of_the_image)
            encapsulated = self._syntax_of(parts, hint) if tag == PIXEL_DATA else ""
            if len(parts) > 1 and not encapsulated:
                names = ", ".join(part.name for part in parts[:9])
                raise RefusedError(CANNOT_UNDERSTAND, f"{names} have the same Content-Location {uri[:200]!r}")
            if encapsulated and not all(part.length for part in parts):
                raise RefusedError(CANNOT_UNDERSTAND, f"{show_tag(tag)}: a frame is empty")
            if of_the_image:
                _check_pixels(within, parts, encapsulated)
            if encapsulated or of_the_image:
                # Native pixel data within a sequence may be in a data set of any transfer syntax (PS3.5 A.4).
                syntaxes.add(encapsulated or EXPLICIT_LITTLE)
            bulk[uri] = BulkValue(tuple((part.offset, part.length) for part in parts), bool(encapsulated))
        if len(syntaxes) > 1:
            raise RefusedError(CANNOT_UNDERSTAND, f"there is pixel data in {' and in '.join(sorted(syntaxes))}")
        _check_inline(data_set)
        return Plan(head_of(data_set), (syntaxes or {EXPLICIT_LITTLE}).pop(), data_set, bulk, self._read)

    def _find(self, uri: str, *, frames: bool) -> list[BulkPart]:
        found = self._parts.get(uri, [])
        if not found and frames:
            for place in _frame_places(uri):
                numbered = sorted(self._frames.get(place, ()), key=lambda each: each[0])
                if numbered and [number for number, _part in numbered] != list(range(1, len(numbered) + 1)):
                    raise RefusedError(CANNOT_UNDERSTAND, f"the frames of {uri[:200]!r} are not those from 1 on, once")
                found = found or [part for _number, part in numbered]
        if not found:
            raise RefusedError(CANNOT_UNDERSTAND, f"no part has the Content-Location {uri[:200]!r} of a BulkDataURI")
        return found

    def _syntax_of(self, parts: Sequence[BulkPart], hint: str) -> str:
        """Return the encapsulated transfer syntax of pixel data, empty for native pixel data."""
        found = {self._syntax(part, hint) for part in parts}
        if len(found) > 1:
            raise RefusedError(CANNOT_UNDERSTAND, "the frames of the pixel data are in several transfer syntaxes")
        return found.pop()

    def _syntax(self, part: BulkPart, hint: str) -> str:
        content = part.kind.content
        syntax = part.kind.parameters.get("transfer-syntax", "").strip()
        if not syntax and content != OCTETS:
            start = b"".join(self._read(part.offset, min(part.length, _LOOK)))
            syntax = hint if media_type_of(hint) == content else default_syntax(content, start)
        if content == OCTETS and (not syntax or syntax in NATIVE - {EXPLICIT_BIG, DEFLATED}):
            return ""
        # Compressed frames may be sent as octets, if their transfer syntax is named.
        if media_type_of(syntax) == OCTETS or content not in {OCTETS, media_type_of(syntax)}:
            said = f"{content} with transfer syntax {syntax[:64]}" if syntax else content
            raise RefusedError(TRANSFER_SYNTAX_NOT_SUPPORTED, f"{part.name}: {said} is not supported for pixel data")
        return syntax


def _frame_places(uri: str) -> list[str]:
    """Return what ``/frames/<number>`` is put behind: the URI itself, or the instance that it is below."""
    instance, found, _path = uri.rpartition("/bulkdata/")
    return [uri, instance] if found else [uri]


def _image(data_set: Mapping[str, Any]) -> ImagePixel:
    try:
        return ImagePixel.of(dict(data_set))
    except (UnsupportedError, TypeError, AttributeError) as error:
        raise RefusedError(MISMATCH, f"there is pixel data, but: {error}") from error


def _check_pixels(data_set: Mapping[str, Any], parts: Sequence[BulkPart], encapsulated: str) -> None:
    image = _image(data_set)
    if not encapsulated:
        _check_length(image, sum(part.length for part in parts))
    elif len(parts) != image.frames and not (media_type_of(encapsulated) in _VIDEO and len(parts) == 1):
        detail = f"Number of Frames is {image.frames}, and there are {len(parts)} parts of frames"
        raise RefusedError(MISMATCH, detail)


def _check_inline(data_set: Attributes) -> None:
    for tag in PIXEL_TAGS:
        inline = data_set.get(f"{tag:08X}", {}).get("InlineBinary")
        if isinstance(inline, str):
            _check_length(_image(data_set), len(inline) // 4 * 3 - inline[-2:].count("="))


def _check_length(image: ImagePixel, length: int) -> None:
    needed = (image.frame_bits * image.frames + 7) // 8
    if length not in {needed, needed + needed % 2}:
        shape = f"{image.rows} rows, {image.columns} columns, {image.samples} samples of {image.bits_allocated} bits"
        detail = f"the pixel data has {length} bytes; {shape} and {image.frames} frames make {needed}"
        raise RefusedError(MISMATCH, detail)
