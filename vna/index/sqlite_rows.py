"""Rows of the SQLite index made of instances, and hits made of rows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

import orjson

from vna.domain.identity import patient_identity
from vna.domain.levels import RANK, level_of
from vna.domain.query import Level
from vna.domain.records import Attributes, IndexedInstance, Terms

PATIENT_NAME = "00100010"
PATIENT_ID = "00100020"
ISSUER = "00100021"
STUDY_UID = "0020000D"
STUDY_DATE = "00080020"
STUDY_TIME = "00080030"
SERIES_UID = "0020000E"
SERIES_NUMBER = "00200011"
MODALITY = "00080060"
SOP_UID = "00080018"
INSTANCE_NUMBER = "00200013"
MODALITIES_IN_STUDY = "00080061"
SOP_CLASSES_IN_STUDY = "00080062"
COMBINATIONS = "combinations"
"""Path of the combinations (:mod:`vna.domain.limits`) of a series and a study; no attribute has it."""

_DERIVED = frozenset(
    (
        MODALITIES_IN_STUDY,
        SOP_CLASSES_IN_STUDY,
        "00201200",  # NumberOfPatientRelatedStudies
        "00201202",  # NumberOfPatientRelatedSeries
        "00201204",  # NumberOfPatientRelatedInstances
        "00201206",  # NumberOfStudyRelatedSeries
        "00201208",  # NumberOfStudyRelatedInstances
        "00201209",  # NumberOfSeriesRelatedInstances
    )
)
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?")
_PLAIN_PATH = re.compile(r"[0-9A-Za-z.@ _/:+-]*")
# Paths seen that need no rewriting: instances have the same hundred again and again.
_PLAIN_PATHS: set[str] = set()
_MAX_PLAIN_PATHS = 20_000
_PLAIN_WORD = re.compile(rb"[a-wyz0-9]*")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a representative gives to its series and study; ``words`` are encoded."""

    terms: Terms
    attributes: Attributes
    words: str

    @classmethod
    def of(cls, instance: IndexedInstance) -> Facts:
        """Return the facts of an instance."""
        return cls(instance.terms, instance.attributes, encode_words(instance.words))

    def text(self, path: str) -> str:
        """Return the first term of a path, empty if there is none."""
        values = self.terms.get(path, ())
        return values[0] if values else ""

    def patient(self) -> bytes:
        """Return the identity of the patient."""
        return bytes.fromhex(patient_identity(self.text(PATIENT_ID), self.text(ISSUER)))

    def position(self, path: str) -> float:
        """Return a number to order by."""
        return position(self.text(path))

    def terms_at(self, level: Level) -> Iterator[tuple[str, str]]:
        """Yield path and value of what can be matched at a level, derived sets left out."""
        rank = RANK[level]
        for path, values in self.terms.items():
            if RANK[level_of(path)] <= rank and path not in _DERIVED:
                for value in values:
                    yield path, value

    def attributes_at(self, level: Level) -> bytes:
        """Return the attributes of a level and those above, packed."""
        return pack(of_level(self.attributes, level))


def of_level(attributes: Attributes, level: Level) -> Attributes:
    """Return the attributes of a level and those above, derived ones left out."""
    rank = RANK[level]
    return {tag: value for tag, value in attributes.items() if RANK[level_of(tag)] <= rank and tag not in _DERIVED}


def position(text: str) -> float:
    """Return a number to order by: infinite for what is none, so that it comes last."""
    return float(text) if _NUMBER.fullmatch(text) else math.inf


def representative(received_us: int, instance_id: str) -> str:
    """Return a text that orders as ``(received_us, instance_id)`` does."""
    return f"{received_us:020d}{instance_id}"


def pack(attributes: Attributes) -> bytes:
    """Return attributes as stored."""
    return orjson.dumps(attributes)


def unpack(blob: bytes) -> Attributes:
    """Return stored attributes."""
    attributes: Attributes = orjson.loads(blob)
    return attributes


def json_path(path: str) -> str:
    """Return a path as a key of the terms' JSON: one that SQLite's JSON paths can name."""
    # Creators are free text; SQLite knows no escape for a quote within a quoted name.
    return path if _PLAIN_PATH.fullmatch(path) else quote(path, safe="@. ")


def plain_path(key: str) -> str:
    """Return the path of a key of the terms' JSON."""
    return unquote(key) if "%" in key else key


def keyed_terms(terms: Terms) -> Terms:
    """Return terms by keys of the terms' JSON."""
    if not terms.keys() <= _PLAIN_PATHS:
        if len(_PLAIN_PATHS) > _MAX_PLAIN_PATHS:
            _PLAIN_PATHS.clear()
        _PLAIN_PATHS.update(path for path in terms if json_path(path) == path)
        return {json_path(path): values for path, values in terms.items()}
    return terms


def encode_word(word: str) -> str:
    """Return a word in letters and digits that FTS5 leaves alone; a word starts another if its code does."""
    raw = word.encode("utf-8", "replace")
    if _PLAIN_WORD.fullmatch(raw):
        return raw.decode("ascii")
    # Each byte has a code that is no start of another byte's, hence prefixes stay prefixes.
    return "".join(chr(byte) if chr(byte) in "abcdefghijklmnopqrstuvwyz0123456789" else f"x{byte:02x}" for byte in raw)


@lru_cache(1024)
def encode_words(words: tuple[str, ...]) -> str:
    """Return the codes of words, each once, in a fixed order."""
    return " ".join(sorted({encode_word(word) for word in words if word}))


def dumps(values: Iterable[str]) -> str:
    """Return texts as a JSON list, each once and sorted."""
    return orjson.dumps(sorted(set(values))).decode()


def loads(text: str) -> list[str]:
    """Return the texts of a JSON list."""
    values: list[str] = orjson.loads(text)
    return values


def texts(tag_vr: str, values: Sequence[str]) -> dict[str, object]:
    """Return an attribute with texts, without ``Value`` if there are none (PS3.18 F.2.5)."""
    return {"vr": tag_vr, "Value": list(values)} if values else {"vr": tag_vr}


def number(value: int) -> dict[str, object]:
    """Return an attribute of VR IS."""
    return {"vr": "IS", "Value": [value]}


def patient_column(terms: Mapping[str, Sequence[str]]) -> str | None:
    """Return the Patient ID to look instances up by: empty for none, ``None`` for several."""
    values = terms.get(PATIENT_ID, ())
    if len(values) > 1:
        return None
    return values[0] if values else ""
