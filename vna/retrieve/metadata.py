"""Metadata of instances: their data sets without bulk values, as received."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vna.domain.errors import IntegrityError, NotFoundError
from vna.domain.identity import metadata_key
from vna.domain.records import Attributes, Location
from vna.ingest.document import Metadata, parse_metadata
from vna.ports.objects import ObjectReader

_BATCH = 100
_CHARACTER_SET = "00080005"
_AVAILABLE_TRANSFER_SYNTAX = "00083002"


def load(objects: ObjectReader, location: Location) -> Metadata:
    """Return the metadata of one instance; raises ``IntegrityError`` if its document is not there."""
    try:
        return parse_metadata(objects.get(metadata_key(location.key)))
    except NotFoundError as error:
        raise _missing(location) from error


def load_many(objects: ObjectReader, locations: Sequence[Location]) -> Iterator[tuple[Location, Metadata]]:
    """Yield the metadata of instances, in order, read ahead; raises ``IntegrityError`` for a document not there."""
    for start in range(0, len(locations), _BATCH):
        batch = locations[start : start + _BATCH]
        found = objects.get_many([metadata_key(location.key) for location in batch])
        for location, (_, data) in zip(batch, found, strict=True):
            if data is None:
                raise _missing(location)
            yield location, parse_metadata(data)


def linked(metadata: Metadata, link: Callable[[str], str]) -> Attributes:
    """Return the data set, bulk values as URLs (PS3.18 F.2.6).

    Parameters
    ----------
    metadata
        Whose data set.
    link
        Makes a URL of a path.

    Returns
    -------
    dict
        As received, with Available Transfer Syntax UID (0008,3002), without group
        lengths, and with the character set that the answer is in: both JSON and
        XML are UTF-8.
    """
    attributes = _link(metadata.header.attributes, link)
    attributes[_AVAILABLE_TRANSFER_SYNTAX] = {"vr": "UI", "Value": [metadata.header.transfer_syntax]}
    return dict(sorted(attributes.items()))


def _link(attributes: Attributes, link: Callable[[str], str]) -> Attributes:
    result: dict[str, Any] = {}
    for tag, field in attributes.items():
        path = field.get("BulkDataURI")
        if tag.endswith("0000"):
            continue
        if tag == _CHARACTER_SET:
            result[tag] = {"vr": "CS", "Value": ["ISO_IR 192"]}
        elif path is not None:
            result[tag] = field | {"BulkDataURI": link(path)}
        elif field["vr"] == "SQ" and "Value" in field:
            result[tag] = field | {"Value": [_link(item, link) for item in field["Value"]]}
        else:
            result[tag] = field
    return result


def _missing(location: Location) -> IntegrityError:
    return IntegrityError(f"instance {location.uids.sop} is indexed, but its metadata document is not stored")
