"""A store request of metadata and bulk data (PS3.18 8.7.1, 10.5.2).

The metadata is held, up to a limit. Bulk data goes to a file on the spool's
disk that has no name, so that nothing of it outlives the request. When the body
is whole, each instance is put together as a Part-10 file in the spool, and is
then as any other that was received.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from vna.dicom.from_json import data_set_of, parse_json
from vna.dicom.from_xml import parse_xml
from vna.domain.errors import ArchiveError, OutOfResourcesError, TooLargeError, UnparsableError
from vna.gateways.dicomweb.assemble import Assembly, BulkPart, head_of
from vna.gateways.dicomweb.negotiate import MediaType, parse_media_types
from vna.gateways.dicomweb.stow_outcome import (
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    Outcome,
    RefusedError,
)
from vna.gateways.dicomweb.upload import Commits, Target, part_too_large

_PARSERS: Mapping[str, Callable[[bytes], list[Any]]] = {
    "application/dicom+json": parse_json,
    "application/json": parse_json,
    "application/dicom+xml": parse_xml,
    "application/xml": parse_xml,
    "text/xml": parse_xml,
}
_ALWAYS = frozenset({"application/dicom+json", "application/dicom+xml"})
_PLAIN = frozenset({"", "binary", "8bit", "7bit"})
_PIECE = 1 << 20


class Scratch:
    """Bulk data on disk, one value behind the other."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.length = 0

    def write(self, data: memoryview) -> None:
        """Append bytes; raises ``OutOfResourcesError`` when the disk is full."""
        try:
            while data:
                written = self._file.write(data)
                self.length += written
                data = data[written:]
        except OSError as error:
            raise OutOfResourcesError(f"spool: bulk data cannot be written: {error}") from error

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of a span, in pieces."""
        while length > 0 and (piece := os.pread(self._file.fileno(), min(length, _PIECE), offset)):
            yield piece
            offset += len(piece)
            length -= len(piece)

    def close(self) -> None:
        """Drop it."""
        self._file.close()


class MetadataStore:
    """Takes the parts of one request. Not for several threads at once.

    Parameters
    ----------
    target
        Where the instances go.
    content
        Media type of a metadata part that does not name its own.
    """

    def __init__(self, target: Target, content: str) -> None:
        self._target = target
        self._content = content
        self._commits = Commits(target.committers)
        self._scratch: Scratch | None = None
        self._parts = 0
        self._held = 0
        # The part that comes in: metadata, or bulk data, or neither if it was refused.
        self._metadata: list[bytes] | None = None
        self._bulk: BulkPart | None = None
        self._kind = MediaType("")
        self._data_sets: list[tuple[Any, MediaType, Outcome]] = []
        self._bulks: list[BulkPart] = []
        self._refused: list[Outcome] = []

    def begin(self, headers: Mapping[str, str]) -> None:
        """Start a part."""
        self._parts += 1
        self._metadata = self._bulk = None
        given = parse_media_types(headers.get("content-type", ""))
        first = self._parts == 1
        kind = given[0] if given else MediaType(self._content if first else "application/octet-stream")
        coding = headers.get("content-transfer-encoding", "").lower()
        location = headers.get("content-location", "").strip()
        if coding not in _PLAIN:
            self._refuse(f"Content-Transfer-Encoding {coding[:64]} of the part is not supported")
        elif kind.name in _ALWAYS or (first and kind.name in _PARSERS):
            self._metadata, self._kind = [], kind
        elif first:
            self._refuse(f"the first part is {kind.name}, and no metadata")
        elif not location:
            self._refuse("the part has neither metadata nor a Content-Location, by which bulk data is known")
        else:
            if self._scratch is None:
                self._scratch = Scratch(self._target.receiver.spool.scratch())
            self._bulk = BulkPart(f"part {self._parts}", location, kind, self._scratch.length)

    def _refuse(self, detail: str, reason: int = CANNOT_UNDERSTAND) -> None:
        self._refused.append(Outcome(reason=reason, detail=detail, name=f"part {self._parts}"))

    def write(self, data: memoryview) -> None:
        """Take bytes of the part."""
        settings = self._target.settings
        if self._metadata is not None:
            self._held += len(data)
            if self._held > settings.max_metadata_bytes:
                message = f"the metadata is longer than {settings.max_metadata_bytes} bytes"
                raise TooLargeError(f"{message} (VNA_HTTP__MAX_METADATA_BYTES)")
            self._metadata.append(bytes(data))
        elif self._bulk is not None:
            assert self._scratch is not None
            self._bulk.length += len(data)
            if self._bulk.length > settings.max_part_bytes:
                raise part_too_large(settings)
            self._scratch.write(data)

    def end(self) -> None:
        """End the part."""
        if self._metadata is not None:
            raw = b"".join(self._metadata)
            self._metadata = None
            try:
                found = _PARSERS[self._kind.name](raw)
            except UnparsableError as error:
                self._refuse(str(error))
                return
            for each in found:
                self._data_sets.append((each, self._kind, Outcome(name=f"instance {len(self._data_sets) + 1}")))
        elif self._bulk is not None:
            self._bulks.append(self._bulk)
            self._bulk = None

    def finish(self) -> list[Outcome]:
        """Put the instances together; return what became of each when all is durable.

        Raises
        ------
        UnparsableError
            There is no data set at all.
        """
        try:
            if not self._data_sets:
                raise UnparsableError(self._refused[0].detail if self._refused else "the metadata has no data set")
            read = self._scratch.read if self._scratch is not None else _nothing
            assembly = Assembly(self._bulks, [each for each, _kind, _outcome in self._data_sets], read)
            for found, kind, outcome in self._data_sets:
                self._store(assembly, found, kind, outcome)
            self._commits.wait()
        finally:
            self._close()
        unknown = [
            Outcome(reason=CANNOT_UNDERSTAND, detail=f"no BulkDataURI is {each.location[:200]!r}", name=each.name)
            for each in assembly.unknown
        ]
        return [outcome for _found, _kind, outcome in self._data_sets] + self._refused + unknown

    def _store(self, assembly: Assembly, found: Any, kind: MediaType, outcome: Outcome) -> None:
        try:
            outcome.head = head_of(found)
            data_set = data_set_of(found)
            outcome.check(self._target.study)
            plan = assembly.plan(data_set, kind.parameters.get("transfer-syntax", ""))
            incoming = self._target.receiver.begin(self._target.origin)
            try:
                plan.write(incoming)
            except BaseException:
                incoming.close()
                raise
        except UnparsableError as error:
            outcome.refuse(CANNOT_UNDERSTAND, str(error))
        except RefusedError as error:
            outcome.refuse(error.reason, error.detail)
        except OutOfResourcesError as error:
            outcome.refuse(OUT_OF_RESOURCES, str(error))
        except ArchiveError as error:
            outcome.refuse(PROCESSING_FAILURE, str(error))
        else:
            self._commits.add(incoming, outcome)

    def abandon(self) -> None:
        """Drop everything that is not on its way to be durable."""
        self._close()
        self._commits.abandon()

    def _close(self) -> None:
        if self._scratch is not None:
            self._scratch.close()


def _nothing(_offset: int, _length: int) -> Iterator[bytes]:
    return iter(())
