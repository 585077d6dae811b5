"""Reading data sets in the DICOM JSON model (PS3.18 F.2) that a client sent."""

from __future__ import annotations

import re
from typing import Any

import orjson

from vna.dicom.elements import MAX_DEPTH
from vna.domain.errors import UnparsableError
from vna.domain.records import Attributes

_TAG = re.compile(r"[0-9A-Fa-f]{8}")


def parse_json(data: bytes) -> list[Any]:
    """Return what may be data sets: the elements of an array, or one object.

    Raises
    ------
    UnparsableError
        It is no JSON, or neither an array nor an object.
    """
    try:
        found = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise UnparsableError(f"the metadata is no JSON: {error}") from error
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list):
        raise UnparsableError("the metadata is neither an array nor an object")
    return found


def data_set_of(found: Any, depth: int = 0) -> Attributes:
    """Return a data set with its tags in upper case; raises ``UnparsableError`` for what is none."""
    if not isinstance(found, dict):
        raise UnparsableError("the metadata has something that is no data set")
    if depth > MAX_DEPTH:
        raise UnparsableError(f"sequences within sequences, more than {MAX_DEPTH} deep")
    result: Attributes = {}
    for name, field in found.items():
        tag = name.upper()
        if not _TAG.fullmatch(name):
            raise UnparsableError(f"{name[:64]!r} is no tag of eight hex digits")
        if not isinstance(field, dict):
            raise UnparsableError(f"{tag} has no VR and value")
        if tag in result:
            raise UnparsableError(f"{tag} stands twice")
        values = field.get("Value")
        if field.get("vr") == "SQ" and isinstance(values, list):
            field = {**field, "Value": [data_set_of({} if item is None else item, depth + 1) for item in values]}  # noqa: PLW2901 - the same field, its items read
        result[tag] = field
    return result
