"""The body of a store request (PS3.18 10.5.1) that is of Part-10 files: its parts become instances in the spool.

The event loop only passes pieces of the body on. A thread splits them into
parts and writes each straight to its spool file; other threads make the files
durable, several at once, so that they share an fsync. The answer comes when
every stored part is durable.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from vna.config import HttpSettings
from vna.dicom.multipart import MultipartReader, PartBegin, PartData
from vna.dicom.part10 import read_head
from vna.domain.errors import (
    ArchiveError,
    InvalidInputError,
    OutOfResourcesError,
    TooLargeError,
    UnavailableError,
    UnparsableError,
)
from vna.domain.origin import Origin
from vna.gateways.dicomweb.negotiate import parse_media_types
from vna.gateways.dicomweb.stow_outcome import (
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    Outcome,
    RefusedError,
)
from vna.ingest.receive import Incoming, Receiver

log = logging.getLogger(__name__)

_IN_FLIGHT = 16
_SNIFF = 132


@dataclass(frozen=True, slots=True)
class Target:
    """Where the instances of one request go.

    Attributes
    ----------
    receiver
        The way into the archive.
    committers
        Threads that make instances durable.
    origin
        Who sends.
    settings
        Limits.
    study
        Study Instance UID of the request's URL, if it names one.
    """

    receiver: Receiver
    committers: Executor
    origin: Origin
    settings: HttpSettings
    study: str | None = None


class Body(Protocol):
    """Takes a request's body piece by piece."""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""

    def finish(self) -> list[Outcome]:
        """Return when all is durable."""

    def abandon(self) -> None:
        """Leave nothing half received behind."""


class PartSink(Protocol):
    """Takes the parts of a body, one after the other."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """Start a part."""

    def write(self, data: memoryview) -> None:
        """Take bytes of the part."""

    def end(self) -> None:
        """End the part."""

    def finish(self) -> list[Outcome]:
        """Return when all is durable."""

    def abandon(self) -> None:
        """Leave nothing half received behind."""


class Commits:
    """Instances on their way to be durable, a few at once, each in a thread of its own."""

    def __init__(self, committers: Executor) -> None:
        self._committers = committers
        self._waiting: deque[Future[None]] = deque()

    def add(self, incoming: Incoming, outcome: Outcome) -> None:
        """Make an instance durable; what goes wrong is noted in its outcome."""
        if len(self._waiting) >= _IN_FLIGHT:
            self._waiting.popleft().result()
        self._waiting.append(self._committers.submit(self._commit, incoming, outcome))

    @staticmethod
    def _commit(incoming: Incoming, outcome: Outcome) -> None:
        try:
            incoming.commit()
        except (OutOfResourcesError, UnavailableError) as error:
            # Whoever is told so sends again: the object store may have it by then.
            log.warning("STOW-RS: an instance is refused: %s", error)
            outcome.refuse(OUT_OF_RESOURCES, str(error))
        except ArchiveError as error:
            outcome.refuse(PROCESSING_FAILURE, str(error))
        finally:
            incoming.close()

    def wait(self) -> None:
        """Return when what was added is durable or refused."""
        while self._waiting:
            self._waiting.popleft().result()

    def abandon(self) -> None:
        """Let what was added go on; nobody is told what becomes of it."""
        for future in self._waiting:
            future.exception()


class _Part:
    """One part on its way to the spool: looked at by its first bytes, written, looked into."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._first = b""
        self._incoming: Incoming | None = None
        self.outcome = Outcome()

    def refuse(self, reason: int, detail: str) -> None:
        self.outcome.refuse(reason, detail)
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
                self._incoming = self._target.receiver.begin(self._target.origin)
            except OutOfResourcesError as error:
                self.refuse(OUT_OF_RESOURCES, str(error))
                return
            if self._first:
                self._put(memoryview(self._first))
        self._put(data)

    def _put(self, data: memoryview) -> None:
        if self._incoming is None:
            return
        if self._incoming.length + len(data) > self._target.settings.max_part_bytes:
            self.close()
            raise part_too_large(self._target.settings)
        try:
            self._incoming.write(data)
        except OutOfResourcesError as error:
            self.refuse(OUT_OF_RESOURCES, str(error))

    def take(self) -> Incoming | None:
        """Look into the head of the whole part; give it out if it may be kept."""
        if self.outcome.reason:
            return None
        if self._incoming is None:
            self.refuse(CANNOT_UNDERSTAND, "not a DICOM Part 10 file: it is shorter than its preamble")
            return None
        try:
            with self._incoming.reading() as file:
                self.outcome.head = read_head(file)
            self.outcome.check(self._target.study)
        except UnparsableError as error:
            self.refuse(CANNOT_UNDERSTAND, str(error))
        except RefusedError as error:
            self.refuse(error.reason, error.detail)
        # None if it was refused, and closed, just now.
        incoming, self._incoming = self._incoming, None
        return incoming

    def close(self) -> None:
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None


class Store:
    """Part-10 files, each of which is an instance. Not for several threads at once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._commits = Commits(target.committers)
        self._part: _Part | None = None
        self._outcomes: list[Outcome] = []
        self._stored = False

    def begin(self, headers: Mapping[str, str]) -> None:
        """Start a part."""
        self._part = _Part(self._target)
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
        incoming = part.take()
        if incoming is not None:
            self._stored = True
            self._commits.add(incoming, part.outcome)

    def finish(self) -> list[Outcome]:
        """Return what became of each part when all is durable."""
        self._commits.wait()
        return self._outcomes

    def abandon(self) -> None:
        """Drop the part that is not whole; what is on its way to be durable goes on."""
        if self._part is not None:
            self._part.close()
            self._part = None
        self._commits.abandon()


class RelatedBody:
    """A multipart/related request body."""

    def __init__(self, boundary: str, sink: PartSink, settings: HttpSettings) -> None:
        self._reader = MultipartReader(boundary)
        self._sink = sink
        self._most = settings.max_parts

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        for event in self._reader.feed(data):
            if isinstance(event, PartData):
                self._sink.write(event.data)
            elif isinstance(event, PartBegin):
                if self._reader.parts >= self._most:
                    raise TooLargeError(f"the request has more than {self._most} parts (VNA_HTTP__MAX_PARTS)")
                self._sink.begin(event.headers)
            else:
                self._sink.end()

    def finish(self) -> list[Outcome]:
        """Return when all is durable; raises ``MultipartError`` if the body is not whole."""
        self._reader.close()
        if not self._reader.parts:
            raise InvalidInputError("the request has no parts")
        return self._sink.finish()

    def abandon(self) -> None:
        """Leave nothing half received behind."""
        self._sink.abandon()


class SingleBody:
    """A request body that is one part."""

    def __init__(self, sink: PartSink, headers: Mapping[str, str]) -> None:
        self._sink = sink
        self._size = 0
        sink.begin(headers)

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._size += len(data)
        self._sink.write(memoryview(data))

    def finish(self) -> list[Outcome]:
        """Return when it is durable."""
        if not self._size:
            raise InvalidInputError("the request has no body")
        self._sink.end()
        return self._sink.finish()

    def abandon(self) -> None:
        """Leave nothing half received behind."""
        self._sink.abandon()


def part_too_large(settings: HttpSettings) -> TooLargeError:
    """Return the error of a part over the limit."""
    return TooLargeError(f"a part is larger than {settings.max_part_bytes} bytes (VNA_HTTP__MAX_PART_BYTES)")
