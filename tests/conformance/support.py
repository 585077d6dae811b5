"""What the parts of the checklist share: the servers, the list itself, and how a multipart answer is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import ParseError

import httpx
import pytest

from tests.conformance.deviations import DEVIATIONS

JSON, XML, DICOM = "application/dicom+json", "application/dicom+xml", "application/dicom"
OCTETS = "application/octet-stream"
JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"
NATIVE = {"dicom": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}
EXPLICIT, IMPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.5"

_PLAIN = "!$'()*,;:@/?^"

Parameters = Mapping[str, str] | Iterable[tuple[str, str]]


def related(content: str, syntax: str = "") -> str:
    """Return the media type of parts of a type (8.7.1)."""
    return f'multipart/related; type="{content}"' + (f"; transfer-syntax={syntax}" if syntax else "")


@dataclass(slots=True)
class Server:
    """An origin server, and what must happen before what was stored can be found."""

    name: str
    base: str
    settle: Callable[[], object]
    client: httpx.Client
    last: httpx.Response = field(default_factory=lambda: httpx.Response(0))

    def get(self, path: str, parameters: Parameters = (), accept: str | None = JSON, **fields: str) -> httpx.Response:
        """Ask for a resource below the base, or by its whole URL; names of header fields have ``_`` for ``-``."""
        return self.ask("GET", path, parameters, accept, **fields)

    def ask(
        self, method: str, path: str, parameters: Parameters = (), accept: str | None = JSON, **fields: str
    ) -> httpx.Response:
        """Make any request without content."""
        url = path if path.startswith("http") else f"{self.base}{path}"
        given = parameters.items() if isinstance(parameters, Mapping) else parameters
        # No more is escaped than must be (RFC 3986 3.4, PS3.18 8.3.1); that more may be is a check of its own.
        query = "&".join(f"{name}={quote(value, safe=_PLAIN)}" for name, value in given)
        request = self.client.build_request(method, f"{url}?{query}" if query else url)
        request.headers.update({name.replace("_", "-"): value for name, value in fields.items()})
        if "accept_encoding" not in fields:
            request.headers["Accept-Encoding"] = "identity"
        del request.headers["accept"]
        if accept is not None:
            request.headers["Accept"] = accept
        self.last = httpx.Response(0)
        try:
            self.last = self.client.send(request)
        except httpx.TransportError as error:
            raise ConnectionError(f"no answer: {error}") from error
        return self.last

    def post(self, body: bytes, content_type: str, study: str = "", **headers: str) -> httpx.Response:
        """Store."""
        fields = {"Content-Type": content_type, "Accept": JSON, **headers}
        self.last = self.client.post(f"{self.base}/studies{study and f'/{study}'}", content=body, headers=fields)
        return self.last

    def parts(self, *parts: tuple[dict[str, str], bytes], kind: str = DICOM, **more: str) -> httpx.Response:
        """Store parts with their header fields."""
        body = b""
        for headers, content in parts:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            body += b"--BB\r\n" + lines.encode() + b"\r\n" + content + b"\r\n"
        return self.post(body + b"--BB--\r\n", f'multipart/related; type="{kind}"; boundary=BB', **more)

    def files(self, *files: bytes, **more: str) -> httpx.Response:
        """Store files."""
        return self.parts(*(({"Content-Type": DICOM}, data) for data in files), **more)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart answer, names of its header fields in lower case."""

    headers: dict[str, str]
    content: bytes

    @property
    def kind(self) -> str:
        """Media type without parameters."""
        return self.headers["content-type"].partition(";")[0].strip()

    @property
    def syntax(self) -> str:
        """Transfer syntax, empty if it names none."""
        found = re.search(r'transfer-syntax="?([0-9.]+)', self.headers["content-type"])
        return found[1] if found else ""


def parts_of(answer: httpx.Response) -> list[Part]:
    """Read a multipart answer as PS3.18 8.6.1.2.1 has it, and no other way."""
    assert answer.status_code == 200, answer.text
    field = answer.headers["content-type"]
    assert field.startswith("multipart/related"), field
    found = re.search(r'boundary=(?:"([^"]+)"|([^;\s]+))', field)
    assert found, field
    dash = b"--" + (found[1] or found[2]).encode()
    content = b"\r\n" + answer.content
    head, *pieces, end = content.split(b"\r\n" + dash)
    assert head == b""
    assert end.rstrip(b"\r\n") == b"--", end
    return [_part(piece) for piece in pieces]


def _part(piece: bytes) -> Part:
    assert piece.startswith(b"\r\n"), piece[:80]
    head, blank, content = piece[2:].partition(b"\r\n\r\n")
    assert blank, piece[:200]
    lines = [line.decode("ascii").partition(":") for line in head.split(b"\r\n")]
    return Part({name.lower(): value.strip() for name, _, value in lines}, content)


def values(data_set: dict[str, Any], tag: str) -> list[Any]:
    """Return the values of an attribute in the JSON model; none if it is not there."""
    return list(data_set.get(tag, {}).get("Value", []))


def results(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the data sets of a search or of metadata; none for an answer without content (204)."""
    if answer.status_code == 204:
        assert answer.content == b""
        return []
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == JSON
    found = json.loads(answer.content)
    assert isinstance(found, list)
    return found


Run = Callable[[Server], None]
_UPPER = "DICOM", "GIF", "HTML", "JPEG", "JSON", "PNG", "RFC", "SOP", "UID", "UIDs", "URI", "URLs", "UTC", "UTF-8"
_WRITTEN = {word.lower(): word for word in (*_UPPER, "URL", "VR", "WADL", "XML", "ZIP")}


def in_words(name: str) -> str:
    """Return the name of a check in words."""
    words = " ".join(_WRITTEN.get(word, word) for word in name.replace("utf_8", "utf-8").split("_"))
    return words[0].upper() + words[1:]


FAILS = (AssertionError, LookupError, ValueError, OSError, ParseError)
"""What a check raises on a server that does not do what it says."""


@dataclass(frozen=True, slots=True)
class Check:
    """One behaviour that the standard asks for."""

    part: str
    section: str
    name: str
    run: Run

    @property
    def behaviour(self) -> str:
        """The behaviour in words."""
        return in_words(self.name)

    def verify(self, server: Server) -> None:
        """See that a server has the behaviour; or does not, in the way that is written down."""
        deviation = DEVIATIONS[server.name].get(self.name)
        server.last = httpx.Response(0)
        if deviation is None:
            self.run(server)
            return
        with pytest.raises(FAILS):
            self.run(server)
        assert server.last.status_code == deviation.status, f"deviates otherwise: {server.last.text[:500]}"


class Checklist:
    """A part of the list: its checks in order, and the tests that run them on both servers.

    Parameters
    ----------
    title
        Chapter or section, and what the part is of.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.checks: list[Check] = []

    def that(self, section: str) -> Callable[[Run], Run]:
        """Enter a function into the list, with the section that asks for what it is named for."""

        def enter(function: Run) -> Run:
            self.add(section, function.__name__, function)
            return function

        return enter

    def add(self, section: str, name: str, run: Run) -> None:
        """Enter a check by name."""
        name = re.sub(r"\W+", "_", name)
        assert name not in {each.name for each in self.checks}, name
        self.checks.append(Check(self.title, section, name, run))

    def tests(self) -> tuple[Callable[[Server, Check], None], Callable[[Server, Check], None]]:
        """Return the test functions of this archive and of Orthanc."""
        cases = pytest.mark.parametrize("check", self.checks, ids=[f"{it.section}-{it.name}" for it in self.checks])

        def test_this_archive(archive: Server, check: Check) -> None:
            check.verify(archive)

        def test_orthanc(orthanc: Server, check: Check) -> None:
            check.verify(orthanc)

        return cases(test_this_archive), cases(test_orthanc)
