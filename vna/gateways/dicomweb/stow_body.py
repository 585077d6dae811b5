"""Which kind of body a store request has, by its Content-Type (PS3.18 10.5.2)."""

from __future__ import annotations

from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.negotiate import MediaType, parse_media_types
from vna.gateways.dicomweb.stow_metadata import MetadataStore
from vna.gateways.dicomweb.upload import Body, PartSink, RelatedBody, SingleBody, Store, Target

_DICOM = "application/dicom"
_METADATA = ("application/dicom+json", "application/dicom+xml")
SUPPORTED = (_DICOM, *_METADATA, *(f'multipart/related; type="{name}"' for name in (_DICOM, *_METADATA)))
"""Media types of a store request's body."""


def body_for(content_type: str, target: Target) -> Body:
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
    name = kind.name
    if kind.name == "multipart/related":
        inner = parse_media_types(kind.parameters.get("type", _DICOM))
        name = inner[0].name if inner else ""
    if name not in {_DICOM, *_METADATA}:
        detail = f"Content-Type {content_type[:200]!r} is not supported; send {', or '.join(SUPPORTED)}"
        raise HttpError(415, "unsupported-media-type", detail, {"Accept": ", ".join(SUPPORTED)})
    sink: PartSink = Store(target) if name == _DICOM else MetadataStore(target, name)
    if kind.name == "multipart/related":
        return RelatedBody(kind.parameters.get("boundary", ""), sink, target.settings)
    return SingleBody(sink, {"content-type": content_type})
