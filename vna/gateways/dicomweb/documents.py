"""Documents among the rendered resources (PS3.18 8.7.4): what is encapsulated, and structured reports."""

from __future__ import annotations

from collections.abc import Iterator

from vna.gateways.dicomweb.native_xml import to_native_xml
from vna.retrieve.render_source import CDA, DOCUMENTS, Source
from vna.retrieve.report import HTML, PLAIN

XML = "text/xml"

_REPORT = (HTML, PLAIN, XML)
KINDS = tuple(dict.fromkeys((*DOCUMENTS, *_REPORT)))
"""Media types of documents."""


def kinds(source: Source) -> tuple[str, ...]:
    """Return the media types that a document can be had in, the default first; none for what is no document."""
    if source.document_type:
        return (source.document_type,)
    return _REPORT if source.report else ()


def headers(source: Source, kind: str) -> dict[str, str]:
    """Return the header fields of a document: a browser that shows it takes it for nothing else, and runs nothing."""
    # What is encapsulated says its character set by itself, if it has one.
    fields = {"Content-Type": kind if source.document_type else f"{kind}; charset=utf-8"}
    if kind in {*_REPORT, CDA}:
        fields["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    return fields | {"X-Content-Type-Options": "nosniff"}


def content(source: Source, kind: str) -> Iterator[bytes]:
    """Yield a document."""
    report = source.report
    if source.document_type or report is None:
        yield from source.document()
    elif kind == XML:
        yield to_native_xml(source.attributes)
    else:
        yield report.html() if kind == HTML else report.plain()
