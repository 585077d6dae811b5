"""multipart/related (RFC 2046 5.1, RFC 2387), as DICOMweb uses it (PS3.18 8.7.1): read and written as a stream.

Neither side holds a part: the reader yields pieces of what it is fed, the
writer yields pieces of what it is given.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from vna.domain.errors import InvalidInputError

MAX_HEADER_BYTES = 16 * 1024
MAX_PADDING_BYTES = 256
MAX_PREAMBLE_BYTES = 64 * 1024

# RFC 2046 5.1.1: at most 70 characters of bchars. Clients use others too (Orthanc, some toolkits): anything printable.
_BOUNDARY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?")


class MultipartError(InvalidInputError):
    """The body is not the multipart that its Content-Type says it is."""


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part starts; names of header fields are in lower case."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """A piece of the part that started last."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is whole."""


Event = PartBegin | PartData | PartEnd


class _State(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


class MultipartReader:
    """Splits a body into its parts, whatever the sizes of the pieces it is fed in.

    Lines may end in CRLF, as the standard says, or in LF alone: the first
    boundary line decides for the whole body, so that a part that ends in a
    carriage return loses nothing. Preamble and epilogue are passed over.

    Parameters
    ----------
    boundary
        Parameter of the Content-Type, without quotes.

    Raises
    ------
    MultipartError
        For a boundary that cannot be one.
    """

    def __init__(self, boundary: str) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            message = "the boundary of the Content-Type is missing, too long or has characters that it may not have"
            raise MultipartError(message)
        self._dash = b"--" + boundary.encode("ascii")
        self._newline = b"\r\n"
        self._delimiter = b"\r\n" + self._dash
        self._state = _State.PREAMBLE
        self._rest = b"\n"
        self._fresh = False
        self._seen = 0
        self.parts = 0

    @property
    def finished(self) -> bool:
        """Whether the closing boundary was read."""
        return self._state is _State.EPILOGUE

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what the next piece of the body makes known. Take all of it before the next call.

        Raises
        ------
        MultipartError
            What was fed cannot be a multipart body.
        """
        buffer = self._rest + data if self._rest else data
        position = 0
        while True:
            if self._state is _State.BODY:
                event, position, more = self._body(buffer, position)
                if event is not None:
                    yield event
                if more:
                    yield PartEnd()
            elif self._state is _State.HEADERS:
                begin, position = self._headers(buffer, position)
                more = begin is not None
                if begin is not None:
                    yield begin
            elif self._state is _State.PREAMBLE:
                position, more = self._preamble(buffer, position)
            else:
                position, more = len(buffer), False
            if not more:
                break
        self._rest = buffer[position:]

    def close(self) -> None:
        """Say that there is no more; raises ``MultipartError`` if the closing boundary has not come."""
        if self._state is _State.PREAMBLE:
            message = "the body has no boundary line as its Content-Type names it"
            raise MultipartError(message)
        if self._state is not _State.EPILOGUE:
            message = f"the body ends before its closing boundary, in part {self.parts + 1}"
            raise MultipartError(message)

    def _preamble(self, buffer: bytes, position: int) -> tuple[int, bool]:
        """Find the first boundary line. The body starts behind a line feed that was never sent."""
        while True:
            found = buffer.find(b"\n" + self._dash, position)
            if found < 0:
                keep = max(position, len(buffer) - len(self._dash))
                self._count_preamble(keep - position)
                return keep, False
            kind, end = self._line_end(buffer, found + 1 + len(self._dash))
            if kind == "more":
                return found, False
            if kind == "data":
                self._count_preamble(found + 1 - position)
                position = found + 1
                continue
            if kind == "close":
                self._state = _State.EPILOGUE
                return end, True
            self._newline = b"\r\n" if buffer[end - 2 : end] == b"\r\n" else b"\n"
            self._delimiter = self._newline + self._dash
            self._state = _State.HEADERS
            return end, True

    def _count_preamble(self, count: int) -> None:
        self._seen += count
        if self._seen > MAX_PREAMBLE_BYTES:
            message = "no boundary line in the first 64 KiB of the body"
            raise MultipartError(message)

    def _line_end(self, buffer: bytes, position: int) -> tuple[str, int]:
        """Tell what follows a boundary: ``close``, ``next`` (with where the next line starts), ``data`` or ``more``."""
        if buffer.startswith(b"--", position):
            return "close", position + 2
        end = position
        limit = min(len(buffer), position + MAX_PADDING_BYTES)
        while end < limit and buffer[end] in b" \t":
            end += 1
        if end - position >= MAX_PADDING_BYTES:
            return "data", position
        tail = buffer[end : end + 2]
        if tail.startswith(b"\n") and (self._state is _State.PREAMBLE or self._newline == b"\n"):
            return "next", end + 1
        if tail == b"\r\n":
            return "next", end + 2
        if len(tail) < 2 and (tail in {b"", b"\r"} or (tail == b"-" and end == position)):
            return "more", position
        return "data", position

    def _headers(self, buffer: bytes, position: int) -> tuple[PartBegin | None, int]:
        newline = self._newline
        if buffer.startswith(newline, position):
            self._state, self._fresh = _State.BODY, True
            return PartBegin({}), position + len(newline)
        end = buffer.find(newline + newline, position, position + MAX_HEADER_BYTES)
        if end < 0:
            if len(buffer) - position >= MAX_HEADER_BYTES:
                message = f"the header of part {self.parts + 1} is longer than {MAX_HEADER_BYTES} bytes"
                raise MultipartError(message)
            return None, position
        self._state, self._fresh = _State.BODY, True
        return PartBegin(self._parse(buffer[position:end])), end + 2 * len(newline)

    def _parse(self, block: bytes) -> dict[str, str]:
        headers: dict[str, str] = {}
        # RFC 5322 2.2.3: a line that starts with white space continues the one before.
        unfolded = re.sub(rb"\r?\n[ \t]+", b" ", block)
        for line in unfolded.decode("latin-1").split(self._newline.decode()):
            name, colon, value = line.partition(":")
            if not colon or not name.strip() or name != name.strip():
                message = f"part {self.parts + 1} has a header line without a name"
                raise MultipartError(message)
            headers[name.lower()] = value.strip()
        return headers

    def _body(self, buffer: bytes, position: int) -> tuple[PartData | None, int, bool]:
        """Return the next piece of a part, where to go on, and whether to go on now."""
        start = position
        if self._fresh:
            # The newline before a boundary belongs to the boundary, and an empty part has no other one than
            # that which ends its header (RFC 2046 5.1.1, body-part).
            head = buffer[position : position + len(self._dash)]
            if head == self._dash:
                kind, end = self._line_end(buffer, position + len(head))
                if kind == "more":
                    return None, position, False
                if kind != "data":
                    return self._part_end(kind, None, end)
            elif self._dash.startswith(head):
                return None, position, False
            self._fresh = False
        while True:
            found = buffer.find(self._delimiter, position)
            if found < 0:
                return self._piece(buffer, start, max(start, len(buffer) - len(self._delimiter) + 1), more=False)
            kind, end = self._line_end(buffer, found + len(self._delimiter))
            if kind == "data":
                position = found + 1
                continue
            if kind == "more":
                return self._piece(buffer, start, found, more=False)
            return self._part_end(kind, PartData(memoryview(buffer)[start:found]) if found > start else None, end)

    def _part_end(self, kind: str, data: PartData | None, end: int) -> tuple[PartData | None, int, bool]:
        self.parts += 1
        self._state = _State.EPILOGUE if kind == "close" else _State.HEADERS
        return data, end, True

    @staticmethod
    def _piece(buffer: bytes, start: int, end: int, *, more: bool) -> tuple[PartData | None, int, bool]:
        return (PartData(memoryview(buffer)[start:end]) if end > start else None), end, more


def new_boundary() -> str:
    """Return a boundary that nobody can guess, so that no stored content can hold it."""
    return secrets.token_hex(24)


def related_type(media_type: str, boundary: str) -> str:
    """Return the Content-Type of a multipart/related body whose parts are of a media type."""
    return f'multipart/related; type="{media_type}"; boundary={boundary}'


def write_related(
    parts: Iterable[tuple[Mapping[str, str], Iterable[bytes]]], boundary: str, *, least: int = 256 * 1024
) -> Iterator[bytes]:
    """Yield the bytes of a multipart/related body.

    Parameters
    ----------
    parts
        Header fields and content of each part. The content is taken as it is asked for.
    boundary
        The boundary, as in the Content-Type.
    least
        Small pieces are joined until they have this many bytes.
    """
    waiting: list[bytes] = []
    size = 0
    first = True
    for headers, content in parts:
        lead = "" if first else "\r\n"
        first = False
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        waiting.append(f"{lead}--{boundary}\r\n{fields}\r\n".encode("latin-1"))
        size += len(waiting[-1])
        for piece in content:
            waiting.append(piece)
            size += len(piece)
            if size >= least:
                yield b"".join(waiting) if len(waiting) > 1 else piece
                waiting.clear()
                size = 0
    lead = "" if first else "\r\n"
    waiting.append(f"{lead}--{boundary}--\r\n".encode("latin-1"))
    yield b"".join(waiting)
