"""One instance de-identified: bytes that were written anew, and between them bulk values as they are stored."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vna.deidentify.dataset import Deidentifier
from vna.deidentify.outgoing import outgoing_digest, outgoing_syntax
from vna.deidentify.pixels import refusal
from vna.dicom.dictionary import PIXEL_TAGS, uid_name
from vna.dicom.header import Bulk, Header
from vna.dicom.rewrite import pixel_unit
from vna.dicom.write import BulkValue, DataSetWriter, file_meta
from vna.domain.errors import UnparsableError
from vna.domain.origin import Origin
from vna.domain.records import Attributes
from vna.ingest.document import Metadata, dump_metadata
from vna.retrieve.values import ValueReader

_BITS_ALLOCATED = "00280100"


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes of the instance: given, or a piece of a bulk value of the original."""

    start: int
    length: int
    data: bytes = b""
    bulk: Bulk | None = None
    begin: int = 0
    unit: int | None = None


@dataclass(frozen=True, slots=True)
class DeidentifiedInstance:
    """An instance as it goes out.

    Attributes
    ----------
    document
        Its metadata document.
    size
        Length of the Part-10 file in bytes.
    refusal
        Why its bytes are withheld, empty if they are not.
    kept_bytes
        Memory that this takes, more or less.
    """

    document: bytes
    size: int
    refusal: str
    kept_bytes: int
    original: Metadata
    parts: tuple[_Part, ...]

    def read(self, values: ValueReader, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield bytes of the Part-10 file, from ``start`` on, ``length`` of them or to the end.

        ``values`` reads the bulk values of ``original``.
        """
        end = self.size if length is None else min(self.size, start + length)
        place = max(0, bisect_right(self.parts, start, key=lambda part: part.start) - 1)
        for part in self.parts[place:]:
            first, last = max(start, part.start) - part.start, min(end - part.start, part.length)
            if last <= first:
                if part.start >= end:
                    return
                continue
            if part.bulk is None:
                yield part.data[first:last]
                continue
            yield from values.read(part.bulk, part.begin + first, last - first, unit=part.unit)


def deidentify(metadata: Metadata, deidentifier: Deidentifier) -> DeidentifiedInstance:
    """De-identify an instance by its metadata; no bulk value is read.

    Parameters
    ----------
    metadata
        Its metadata document as stored.
    deidentifier
        What its data set passes through.
    """
    header = metadata.header
    attributes = deidentifier.data_set(header.attributes)
    syntax = outgoing_syntax(header.transfer_syntax)
    why = refusal(header.attributes) or _unwritable(syntax)
    bulk = {path: header.bulk[path] for path in _bulk_paths(attributes) if path in header.bulk}
    builder = _Builder(bulk, _unit(header.attributes))
    if not why:
        why = builder.run(attributes, syntax)
    shown = Header(attributes, bulk if why else builder.moved(), syntax)
    digest = outgoing_digest(metadata.digest, deidentifier)
    document = dump_metadata(Metadata(metadata.key, digest, builder.size, 0, _NOBODY, shown, ()))
    original = replace(metadata, changes=(), header=replace(header, attributes={}, bulk={}, meta={}, warnings=()))
    kept = 2 * len(document) + 200 * len(builder.parts) + 500
    return DeidentifiedInstance(document, builder.size, why, kept, original, () if why else tuple(builder.parts))


class _Builder:
    """Takes what is written; bulk values are noted, not read.

    Parameters
    ----------
    bulk
        Bulk values that go out, by path.
    unit
        Bytes of a number of pixel data in OW.
    """

    def __init__(self, bulk: Mapping[str, Bulk], unit: int) -> None:
        self.parts: list[_Part] = []
        self.size = 0
        self._unit = unit
        self._bulk = bulk
        self._at = {each.offset: path for path, each in bulk.items()}
        self._last = {each.fragments[-1][0]: path for path, each in bulk.items() if each.fragments}
        self._moved: dict[str, int] = {}
        self._waiting: list[bytes] = []

    def run(self, attributes: Attributes, transfer_syntax: str) -> str:
        """Write an instance; return why it cannot be written, empty if it is."""
        try:
            values = {path: _value(each) for path, each in self._bulk.items()}
            self.write(file_meta(_uid(attributes, "00080016"), _uid(attributes, "00080018"), transfer_syntax))
            DataSetWriter(self, values, self._refer).write(attributes)
        except (UnparsableError, UnicodeError):
            # The error may tell a value.
            return "an attribute of it cannot be written again"
        self._flush()
        return ""

    def write(self, data: bytes, /) -> None:
        """Take bytes."""
        self._waiting.append(data)
        self.size += len(data)

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        if data:
            self.parts.append(_Part(self.size - len(data), len(data), data))

    def _refer(self, offset: int, length: int) -> tuple[bytes, ...]:
        """Note a piece of a bulk value; there is nothing to be written for it."""
        self._flush()
        path = self._at.get(offset) or self._last[offset]
        bulk = self._bulk[path]
        self._moved.setdefault(path, self.size - (offset - bulk.offset))
        unit = self._unit if bulk.vr == "OW" and int(path[-8:], 16) in PIXEL_TAGS else None
        self.parts.append(_Part(self.size, length, b"", bulk, offset - bulk.offset, unit))
        self.size += length
        return ()

    def moved(self) -> dict[str, Bulk]:
        """Return the bulk values by path as they lie in what was written."""
        return {path: _moved(bulk, self._moved[path] - bulk.offset) for path, bulk in self._bulk.items()}


def _value(bulk: Bulk) -> BulkValue:
    if not bulk.encapsulated:
        return BulkValue(((bulk.offset, bulk.length),))
    if not bulk.fragments:
        raise UnparsableError("encapsulated pixel data has no fragments")
    offset, length = bulk.fragments[-1]
    return BulkValue(((bulk.offset, offset - 8 - bulk.offset), (offset, length)), encapsulated=True, as_it_lies=True)


def _moved(bulk: Bulk, by: int) -> Bulk:
    fragments = tuple((offset + by, length) for offset, length in bulk.fragments)
    return replace(bulk, offset=bulk.offset + by, fragments=fragments)


def _unwritable(transfer_syntax: str) -> str:
    """Say why data sets of a transfer syntax cannot be written: of a vendor's own nobody knows how."""
    return "" if uid_name(transfer_syntax) else f"its transfer syntax {transfer_syntax} is not of the standard"


def _bulk_paths(attributes: Attributes) -> Iterator[str]:
    for element in attributes.values():
        if "BulkDataURI" in element:
            yield element["BulkDataURI"]
        elif element["vr"] == "SQ":
            for item in element.get("Value") or ():
                yield from _bulk_paths(item)


def _unit(attributes: Attributes) -> int:
    values: list[Any] = attributes.get(_BITS_ALLOCATED, {}).get("Value") or [16]
    return pixel_unit(values[0] if isinstance(values[0], int) else 16)


def _uid(attributes: Attributes, tag: str) -> str:
    return str((attributes.get(tag, {}).get("Value") or [""])[0])


_NOBODY = Origin("import")
