"""What the Elasticsearch adapter stores: documents from instances, hits from documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from vna.domain.errors import InvalidInputError
from vna.domain.identity import InstanceUids, patient_identity
from vna.domain.levels import visible_at
from vna.domain.limits import combination
from vna.domain.query import Hit, Level
from vna.domain.records import Attributes, IndexedInstance, Location

Document = dict[str, Any]

SEPARATOR = "\t"
# Lucene takes terms of up to 32766 bytes. A longer value is cut, and what was cut is told apart by its hash.
MAX_TERM_BYTES = 30_000

MODALITIES_IN_STUDY = "00080061"
SOP_CLASSES_IN_STUDY = "00080062"
_MODALITY = "00080060"
_PATIENT_NAME, _PATIENT_ID, _ISSUER = "00100010", "00100020", "00100021"
_STUDY_DATE, _STUDY_TIME = "00080020", "00080030"
_SERIES_NUMBER, _INSTANCE_NUMBER = "00200011", "00200013"
_LONGEST = 1 << 63
_NAME_SORTED = 256  # characters of a name that patients are sorted by


@dataclass(frozen=True, order=True, slots=True)
class Representative:
    """Which instance a series or study takes its attributes from: the smallest."""

    received_us: int
    instance_id: str
    digest: str


def clean(text: str) -> str:
    """Return a text that UTF-8 can carry: half surrogate pairs become replacement characters."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def encode(document: Document) -> bytes:
    """Return a document as JSON; raises ``InvalidInputError`` for one that is nested beyond reason."""
    try:
        return orjson.dumps(document)
    except TypeError:  # integers beyond 64 bits, half surrogate pairs, more than 254 levels
        pass
    try:
        return json.dumps(_cleaned(document), ensure_ascii=False).encode()
    except RecursionError as error:
        raise InvalidInputError("sequences are nested too deeply to be indexed") from error


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value


@lru_cache(maxsize=16_384)
def term_prefix(path: str) -> str:
    """Return what the terms of a path begin with."""
    return clean(path).replace(SEPARATOR, " ") + SEPARATOR


def term(path: str, value: str) -> str:
    """Return the term of a value at a path."""
    text = term_prefix(path) + clean(value)
    if len(text) * 4 <= MAX_TERM_BYTES:
        return text
    encoded = text.encode()
    if len(encoded) <= MAX_TERM_BYTES:
        return text
    return encoded[: MAX_TERM_BYTES - 100].decode(errors="ignore") + "…" + hashlib.sha256(encoded).hexdigest()


def instance_document(instance: IndexedInstance, received_us: int, versions: Sequence[Document]) -> Document:
    """Return the document of a current content."""
    uids, terms = instance.uids, instance.terms
    return {
        "study_id": uids.study_id,
        "series_id": uids.series_id,
        "instance_id": uids.instance_id,
        "study": uids.study,
        "series": uids.series,
        "sop": uids.sop,
        "patient_id": _first(terms, _PATIENT_ID),
        "issuer": _first(terms, _ISSUER),
        "sop_class": instance.sop_class,
        "transfer_syntax": instance.transfer_syntax,
        "digest": instance.digest,
        "size": instance.size,
        "received_us": received_us,
        "key": instance.key,
        "number": _integer(_first(terms, _INSTANCE_NUMBER)),
        "combinations": combination(terms),
        "modality": [value for value in terms.get(_MODALITY, ()) if value],
        "terms": [term(path, value) for path, values in terms.items() for value in values if value],
        "paths": [term_prefix(path)[:-1] for path, values in terms.items() if any(values)],
        "words": list(instance.words),
        "versions": list(versions),
        "attributes": instance.attributes,
    }


def representative(content: Document) -> Representative:
    """Return the place of a content among those that could represent its series and study."""
    return Representative(content["received_us"], content["instance_id"], content["digest"])


def series_document(content: Document, words: Iterable[str]) -> Document:
    """Return the document of a series that a content represents."""
    return _entity_document(content, Level.SERIES, words) | {
        "series_id": content["series_id"],
        "number": _integer(_term_value(content, _SERIES_NUMBER)),
    }


def study_document(
    content: Document,
    words: Iterable[str],
    modalities: Iterable[str],
    sop_classes: Iterable[str],
    combinations: Iterable[str],
) -> Document:
    """Return the document of a study that a content represents."""
    patient = patient_identity(content["patient_id"], content["issuer"])
    return _entity_document(content, Level.STUDY, words) | {
        "patient": patient,
        "patient_key": (_term_value(content, _PATIENT_NAME) or "")[:_NAME_SORTED] + SEPARATOR + patient,
        "study_date": _term_value(content, _STUDY_DATE),
        "study_time": _term_value(content, _STUDY_TIME),
        "modalities": sorted(modalities),
        "sop_classes": sorted(sop_classes),
        "combinations": sorted(combinations),
    }


def _entity_document(content: Document, level: Level, words: Iterable[str]) -> Document:
    best = representative(content)
    return {
        "study_id": content["study_id"],
        "received_us": best.received_us,
        "representative": [best.received_us, best.instance_id, best.digest],
        "terms": [text for text in content["terms"] if visible_at(text, level)],
        "paths": [path for path in content["paths"] if visible_at(path, level)],
        "words": sorted(words),
        "attributes": visible(content["attributes"], level),
    }


def visible(attributes: Attributes, level: Level) -> Attributes:
    """Return the attributes of a level and those above."""
    return {tag: value for tag, value in attributes.items() if visible_at(tag, level)}


def location(source: Document) -> Location:
    """Return where the bytes of an instance's document are."""
    return Location(
        uids=InstanceUids(source["study"], source["series"], source["sop"]),
        sop_class=source["sop_class"],
        transfer_syntax=source["transfer_syntax"],
        digest=source["digest"],
        size=source["size"],
        key=source["key"],
    )


LOCATION_FIELDS = ("study", "series", "sop", "sop_class", "transfer_syntax", "digest", "size", "key")


def hit(level: Level, source: Document, numbers: dict[str, int]) -> Hit:
    """Return what a query finds, with the derived attributes (PS3.4 C.6.1.1, C.3.4)."""
    attributes = dict(source["attributes"])
    if level is Level.PATIENT:
        attributes = visible(attributes, level)
    if level is Level.STUDY:
        for tag, vr, name in ((MODALITIES_IN_STUDY, "CS", "modalities"), (SOP_CLASSES_IN_STUDY, "UI", "sop_classes")):
            attributes[tag] = {"vr": vr, "Value": source[name]} if source[name] else {"vr": vr}
    for tag, number in numbers.items():
        attributes[tag] = {"vr": "IS", "Value": [number]}
    name = {Level.PATIENT: "patient", Level.STUDY: "study_id", Level.SERIES: "series_id"}.get(level, "instance_id")
    where = location(source) if level is Level.INSTANCE else None
    return Hit(level, source[name], attributes, where)


def _first(terms: Any, path: str) -> str:
    values = terms.get(path, ())
    return clean(values[0]) if values else ""


def _term_value(content: Document, path: str) -> str | None:
    prefix = term_prefix(path)
    return next((text[len(prefix) :] for text in content["terms"] if text.startswith(prefix)), None)


def _integer(text: str | None) -> int | None:
    try:
        number = int(text or "")
    except ValueError:
        return None
    return number if -_LONGEST <= number < _LONGEST else None
