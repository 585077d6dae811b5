"""The metadata document: what is kept of an instance beside its bytes, and what is indexed of it.

The document holds the data set as received in the DICOM JSON model, so the
index can be rebuilt from it without the instance's bytes (:func:`rebuild`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from vna.dicom.header import Bulk, Header
from vna.dicom.reader import check_identity, first_text, read_header
from vna.domain.errors import IntegrityError, InvalidInputError, NewerVersionError
from vna.domain.file_range import FileRange
from vna.domain.identity import InstanceUids, object_key
from vna.domain.origin import Origin
from vna.domain.records import Attributes, IndexedInstance
from vna.normalise.pipeline import Change, Normalised, normalise
from vna.normalise.terms import terms, words

VERSION = 1
"""Version of the documents that are written. Those of every earlier one are read, for as long as the archive lives."""
_UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""What makes of a document of a version one of the next, by the version that it has."""
LONGEST_INDEXED = 1024
"""Characters of an InlineBinary above which the index does not hold it."""


@dataclass(frozen=True, slots=True)
class Document:
    """An instance read: for the index, and the document for the object store."""

    instance: IndexedInstance
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Metadata:
    """A metadata document, read back.

    Attributes
    ----------
    key, digest, size, received_us, origin
        As in :class:`vna.domain.records.IndexedInstance`.
    header
        The data set as received; offsets refer to the file as kept.
    changes
        What the normalised view showed otherwise when the document was written.
    """

    key: str
    digest: str
    size: int
    received_us: int
    origin: Origin
    header: Header
    changes: tuple[dict[str, Any], ...]


def build(file: Path | FileRange | bytes, digest: str, size: int, received_us: int, origin: Origin) -> Document:
    """Read a received instance.

    Parameters
    ----------
    file
        The Part-10 file, where in a file it is, or its bytes.
    digest, size
        Digest of its content (:func:`vna.ingest.filemeta.content_digest`), and length of the file.
    received_us
        When the archive had it, microseconds since 1970 UTC.
    origin
        Who sent it.

    Returns
    -------
    Document
        What is indexed and what is stored.

    Raises
    ------
    UnparsableError
        It is no instance; the message is for a person.
    """
    header = read_header(file)
    view = normalise(header.attributes)
    instance = _instance(header, view, digest=digest, size=size, received_us=received_us, origin=origin)
    return Document(instance, _dump(header, view, instance))


def rebuild(data: bytes) -> IndexedInstance:
    """Return what :func:`build` gave for the index, from the metadata document alone.

    Raises
    ------
    NewerVersionError
        A newer version of the archive wrote it.
    IntegrityError
        It cannot be read.
    """
    metadata = parse_metadata(data)
    try:
        view = normalise(metadata.header.attributes)
        return _instance(
            metadata.header,
            view,
            digest=metadata.digest,
            size=metadata.size,
            received_us=metadata.received_us,
            origin=metadata.origin,
        )
    except (InvalidInputError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise IntegrityError(f"metadata document of {metadata.key}: {error}") from error


def parse_metadata(data: bytes) -> Metadata:
    """Read a metadata document of this version of the archive, or an earlier one.

    Raises
    ------
    NewerVersionError
        A newer version of the archive wrote it.
    IntegrityError
        It is no metadata document.
    """
    try:
        content = _upgraded(orjson.loads(data))
        header = Header(
            content["dicom"],
            {path: _bulk(value) for path, value in content["bulk"].items()},
            content["transfer_syntax"],
            content["meta"],
            content["deflated"],
            tuple(content["warnings"]),
        )
        return Metadata(
            content["key"],
            content["digest"],
            content["size"],
            content["received_us"],
            Origin(**content["origin"]),
            header,
            tuple(content["changes"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"metadata document cannot be read: {type(error).__name__}: {error}") from error


def reception(data: bytes) -> tuple[int, Origin] | None:
    """Return when an instance came and from whom, of a document of a newer version too; ``None`` if it does not tell.

    These two are nowhere but in the document: what else it tells can be read from the bytes.
    """
    try:
        content = orjson.loads(data)
        known = {name: content["origin"][name] for name in Origin.__dataclass_fields__ if name in content["origin"]}
        return int(content["received_us"]), Origin(**known)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _upgraded(content: dict[str, Any]) -> dict[str, Any]:
    version = content["version"]
    if type(version) is not int or version < 1:
        raise IntegrityError(f"metadata document has the version {version!r}")
    if version > VERSION:
        raise NewerVersionError(
            f"metadata document was written by a newer version of the archive: it has version {version}, not {VERSION}"
        )
    for number in range(version, VERSION):
        content = _UPGRADES[number](content)
    return content


def _instance(
    header: Header, view: Normalised, *, digest: str, size: int, received_us: int, origin: Origin
) -> IndexedInstance:
    attributes = view.attributes
    check_identity(attributes)
    uids = InstanceUids(
        first_text(attributes, "0020000D"), first_text(attributes, "0020000E"), first_text(attributes, "00080018")
    )
    kept = indexable(attributes)
    return IndexedInstance(
        uids=uids,
        sop_class=first_text(attributes, "00080016"),
        transfer_syntax=header.transfer_syntax,
        digest=digest,
        size=size,
        received_us=received_us,
        origin=origin,
        key=object_key(uids, digest),
        attributes=kept,
        terms=terms(kept),
        words=words(kept),
    )


def indexable(attributes: Attributes) -> Attributes:
    """Return a data set without bulk values, and without inline binary ones over 1 KiB. Parts are shared."""
    view: Attributes = {}
    for tag, element in attributes.items():
        if len(element) == 1:
            view[tag] = element
            continue
        if "BulkDataURI" in element or len(element.get("InlineBinary", "")) > LONGEST_INDEXED:
            continue
        values = element.get("Value")
        if values and element.get("vr") == "SQ":
            view[tag] = {"vr": "SQ", "Value": [indexable(item) for item in values]}
        else:
            view[tag] = element
    return view


def _dump(header: Header, view: Normalised, instance: IndexedInstance) -> bytes:
    facts = (instance.key, instance.digest, instance.size, instance.received_us, instance.origin)
    return _write(Metadata(*facts, header, ()), view.changes)


def dump_metadata(metadata: Metadata) -> bytes:
    """Return the document that :func:`parse_metadata` reads."""
    return _write(metadata, metadata.changes)


def _write(metadata: Metadata, changes: Sequence[Change | dict[str, Any]]) -> bytes:
    header = metadata.header
    return orjson.dumps(
        {
            "version": VERSION,
            "key": metadata.key,
            "digest": metadata.digest,
            "size": metadata.size,
            "received_us": metadata.received_us,
            "origin": asdict(metadata.origin),
            "transfer_syntax": header.transfer_syntax,
            "deflated": header.deflated,
            "meta": header.meta,
            "dicom": header.attributes,
            "bulk": {path: _bulk_json(bulk) for path, bulk in header.bulk.items()},
            "changes": changes,
            "warnings": header.warnings,
        }
    )


def _bulk_json(bulk: Bulk) -> Mapping[str, Any]:
    plain: dict[str, Any] = {"vr": bulk.vr, "offset": bulk.offset, "length": bulk.length}
    if bulk.encapsulated:
        plain |= {"encapsulated": True, "fragments": bulk.fragments, "frames": bulk.frames}
    return plain


def _bulk(value: dict[str, Any]) -> Bulk:
    return Bulk(
        value["vr"],
        value["offset"],
        value["length"],
        value.get("encapsulated", False),
        tuple((offset, length) for offset, length in value.get("fragments", ())),
        tuple(value.get("frames", ())),
    )
