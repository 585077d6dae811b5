"""Documents among the rendered resources (PS3.18 8.7.4, category Text): encapsulated PDF, and structured reports."""

from __future__ import annotations

from collections.abc import Iterator

from vna.gateways.dicomweb.native_xml import to_native_xml
from vna.retrieve.render_source import PDF, Source
from vna.retrieve.report import HTML, PLAIN

XML = "text/xml"

_REPORT = (HTML, PLAIN, XML)
KINDS = (PDF, *_REPORT)
"""Media types of documents."""


def kinds(source: Source) -> tuple[str, ...]:
    """Return the media types that a document can be had in, the default first; none for what is no document."""
    if source.is_pdf:
        return (PDF,)
    return _REPORT if source.report else ()


def headers(kind: str) -> dict[str, str]:
    """Return the header fields of a document: a browser that shows it takes it for nothing else, and runs nothing."""
    fields = {"Content-Type": kind if kind == PDF else f"{kind}; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    if kind != PDF:
        fields["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    return fields


def content(source: Source, kind: str) -> Iterator[bytes]:
    """Yield a document."""
    report = source.report
    if kind == PDF or report is None:
        yield from source.document()
    elif kind == XML:
        yield to_native_xml(source.attributes)
    else:
        yield report.html() if kind == HTML else report.plain()
