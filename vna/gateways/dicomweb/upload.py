"""The body of a store request (PS3.18 10.5.1): its parts become instances in the spool.

The event loop only passes pieces of the body on. A thread splits them into
parts and writes each straight to its spool file; other threads make the files
durable, several at once, so that they share an fsync. The answer comes when
every stored part is durable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from vna.dicom.multipart import MultipartReader, PartBegin, PartData
from vna.dicom.part10 import Head, read_head
from vna.domain.errors import ArchiveError, InvalidInputError, OutOfResourcesError, TooLargeError, UnparsableError
from vna.domain.origin import Origin
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.negotiate import MediaType, parse_media_types
from vna.ingest.receive import Incoming, Receiver

# Failure reasons of PS3.18 I.2.2.
OUT_OF_RESOURCES = 0xA700
MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
PROCESSING_FAILURE = 0x0110

_IN_FLIGHT = 16
_SNIFF = 132


@dataclass(slots=True)
class Outcome:
    """What became of one part. ``reason`` is 0 if it is stored."""

    head: Head | None = None
    reason: int = 0
    detail: str = ""

    @property
    def sop_class(self) -> str:
        """SOP Class UID, as far as it is known."""
        return (self.head.sop_class or self.head.media_class) if self.head else ""

    @property
    def sop_instance(self) -> str:
        """SOP Instance UID, as far as it is known."""
        return (self.head.sop_instance or self.head.media_instance) if self.head else ""


class Body(Protocol):
    """Takes a request's body piece by piece."""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""

    def finish(self) -> list[Outcome]:
        """Return when all is durable."""

    def abandon(self) -> None:
        """Leave nothing half received behind."""


class _Part:
    """One part on its way to the spool: looked at by its first bytes, written, looked into, made durable."""

    def __init__(self, receiver: Receiver, origin: Origin, limit: int) -> None:
        self._receiver = receiver
        self._origin = origin
        self._limit = limit
        self._first = b""
        self._incoming: Incoming | None = None
        self.outcome = Outcome()

    def refuse(self, reason: int, detail: str) -> None:
        self.outcome.reason = reason
        self.outcome.detail = detail
        self.close()

    def write(self, data: memoryview) -> None:
        if self.outcome.reason:
            return
        if self._incoming is None:
            if len(self._first) + len(data) < _SNIFF:
                self._first += data
                return
            start = self._first + bytes(data[: _SNIFF - len(self._first)])
            if start[128:132] != b"DICM":
                self.refuse(CANNOT_UNDERSTAND, "not a DICOM Part 10 file: no DICM after a preamble of 128 bytes")
                return
            try:
                self._incoming = self._receiver.begin(self._origin)
            except OutOfResourcesError as error:
                self.refuse(OUT_OF_RESOURCES, str(error))
                return
            if self._first:
                self._put(memoryview(self._first))
        self._put(data)

    def _put(self, data: memoryview) -> None:
        if self._incoming is None:
            return
        if self._incoming.length + len(data) > self._limit:
            self.close()
            raise TooLargeError(f"a part is larger than {self._limit} bytes (VNA_HTTP__MAX_PART_BYTES)")
        try:
            self._incoming.write(data)
        except OutOfResourcesError as error:
            self.refuse(OUT_OF_RESOURCES, str(error))

    def check(self, study: str | None) -> bool:
        """Look into the head of the whole part; say whether it may be kept."""
        if self.outcome.reason:
            return False
        if self._incoming is None:
            self.refuse(CANNOT_UNDERSTAND, "not a DICOM Part 10 file: it is shorter than its preamble")
            return False
        try:
            with open(self._incoming.fileno(), "rb", buffering=1 << 15, closefd=False) as file:
                file.seek(0)
                head = read_head(file)
        except UnparsableError as error:
            self.refuse(CANNOT_UNDERSTAND, str(error))
            return False
        self.outcome.head = head
        missing = [
            name
            for name, value in (
                ("SOP Class UID (0008,0016)", head.sop_class or head.media_class),
                ("SOP Instance UID (0008,0018)", head.sop_instance or head.media_instance),
                ("Study Instance UID (0020,000D)", head.study),
                ("Series Instance UID (0020,000E)", head.series),
            )
            if not value
        ]
        if missing:
            self.refuse(CANNOT_UNDERSTAND, f"the data set has no {', no '.join(missing)}")
        elif study is not None and head.study != study:
            self.refuse(MISMATCH, f"Study Instance UID {head.study} is not that of the request's URL")
        return not self.outcome.reason

    def commit(self) -> None:
        """Make it durable; in a thread of its own."""
        assert self._incoming is not None
        try:
            self._incoming.commit()
        except OutOfResourcesError as error:
            self.refuse(OUT_OF_RESOURCES, str(error))
        except ArchiveError as error:
            self.refuse(PROCESSING_FAILURE, str(error))
        finally:
            self.close()

    def close(self) -> None:
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None


class Store:
    """One store request. Not for several threads at once."""

    def __init__(
        self, receiver: Receiver, committers: Executor, origin: Origin, *, study: str | None, max_part_bytes: int
    ) -> None:
        self._receiver = receiver
        self._committers = committers
        self._origin = origin
        self._study = study
        self._limit = max_part_bytes
        self._part: _Part | None = None
        self._outcomes: list[Outcome] = []
        self._waiting: deque[Future[None]] = deque()
        self._stored = False

    def begin(self, headers: Mapping[str, str]) -> None:
        """Start a part."""
        self._part = _Part(self._receiver, self._origin, self._limit)
        self._outcomes.append(self._part.outcome)
        given = parse_media_types(headers.get("content-type", "application/dicom"))
        name = given[0].name if given else "unreadable"
        if name not in {"application/dicom", "application/octet-stream"}:
            self._part.refuse(CANNOT_UNDERSTAND, f"Content-Type of the part is {name}, not application/dicom")

    def write(self, data: memoryview) -> None:
        """Take bytes of the part."""
        assert self._part is not None
        self._part.write(data)
        if self._part.outcome.reason == OUT_OF_RESOURCES and not self._stored:
            # Nothing is kept yet: better to say so at once than to take gigabytes in vain.
            raise OutOfResourcesError(self._part.outcome.detail)

    def end(self) -> None:
        """End the part: hand it to a thread that makes it durable."""
        part, self._part = self._part, None
        assert part is not None
        if not part.check(self._study):
            return
        if len(self._waiting) >= _IN_FLIGHT:
            self._waiting.popleft().result()
        self._stored = True
        self._waiting.append(self._committers.submit(part.commit))

    def finish(self) -> list[Outcome]:
        """Return what became of each part when all is durable."""
        while self._waiting:
            self._waiting.popleft().result()
        return self._outcomes

    def abandon(self) -> None:
        """Drop the part that is not whole; what is on its way to be durable goes on."""
        if self._part is not None:
            self._part.close()
            self._part = None
        for future in self._waiting:
            future.exception()

    @property
    def kept(self) -> int:
        """How many parts were handed over to be kept."""
        return sum(1 for outcome in self._outcomes if outcome.head and not outcome.reason)


class RelatedBody:
    """A multipart/related request body."""

    def __init__(self, boundary: str, store: Store) -> None:
        self._reader = MultipartReader(boundary)
        self._store = store

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        for event in self._reader.feed(data):
            if isinstance(event, PartData):
                self._store.write(event.data)
            elif isinstance(event, PartBegin):
                self._store.begin(event.headers)
            else:
                self._store.end()

    def finish(self) -> list[Outcome]:
        """Return when all is durable; raises ``MultipartError`` if the body is not whole."""
        self._reader.close()
        if not self._reader.parts:
            raise InvalidInputError("the request has no parts")
        return self._store.finish()

    def abandon(self) -> None:
        """Leave nothing half received behind."""
        self._store.abandon()


class SingleBody:
    """A request body that is one instance."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._size = 0
        store.begin({})

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._size += len(data)
        self._store.write(memoryview(data))

    def finish(self) -> list[Outcome]:
        """Return when it is durable."""
        if not self._size:
            raise InvalidInputError("the request has no body")
        self._store.end()
        return self._store.finish()

    def abandon(self) -> None:
        """Leave nothing half received behind."""
        self._store.abandon()


_LATER = frozenset({"application/dicom+json", "application/dicom+xml"})


def body_for(content_type: str, store: Store) -> Body:
    """Return what takes a body of a Content-Type.

    Raises
    ------
    HttpError
        415, naming what is supported.
    MultipartError
        The boundary is missing or cannot be one.
    """
    given = parse_media_types(content_type)
    kind = given[0] if given else MediaType("")
    if kind.name == "application/dicom":
        return SingleBody(store)
    if kind.name == "multipart/related":
        inner = parse_media_types(kind.parameters.get("type", "application/dicom"))
        name = inner[0].name if inner else ""
        if name == "application/dicom":
            return RelatedBody(kind.parameters.get("boundary", ""), store)
        if name in _LATER:
            raise _unsupported(f"metadata with bulk data ({name}) is not supported")
    raise _unsupported(f"Content-Type {content_type[:200]!r} is not supported")


def _unsupported(what: str) -> HttpError:
    supported = 'multipart/related; type="application/dicom", or application/dicom for a single instance'
    return HttpError(415, "unsupported-media-type", f"{what}; send {supported}")
