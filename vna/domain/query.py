"""A query of the index, free of any protocol and any technology.

The gateways parse C-FIND identifiers (PS3.4 C.2.2.2) and QIDO-RS parameters
(PS3.18 8.3.4) into these values; every index adapter answers them alike.

A *path* names an attribute as ``vna.normalise.terms`` does: eight hex digits
(``00100010``), a dotted path through sequences (``00400275.00400009``), or for
private attributes ``ggggxxee@CREATOR``. Values are canonical already (dates
``YYYYMMDD``, times ``HHMMSS.ffffff``, person names folded).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vna.domain.records import Attributes, Location


class Level(StrEnum):
    """Levels of the query information models (PS3.4 C.6.1.1)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    INSTANCE = "IMAGE"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Single value or list of UID matching: a term of the path equals one of the values.

    An empty text among the values matches entities that have no term at the path.
    """

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Wild card matching (PS3.4 C.2.2.2.4): ``*`` any run, ``?`` one character, all else literal."""

    path: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Range:
    """Range matching (PS3.4 C.2.2.2.5), inclusive, on canonical texts; ``None`` is an open end."""

    path: str
    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True)
class DateTimeRange:
    """Combined date and time matching (PS3.4 C.2.2.2.5.1): date+time between two ``YYYYMMDDHHMMSS.ffffff``.

    A missing time counts as ``000000``; a missing date never matches.
    """

    date_path: str
    time_path: str
    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True)
class Words:
    """Free text: every folded word is the start of a word of the study or series."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resembles:
    """Fuzzy matching of person names (PS3.4 C.2.2.2.1.1): a value has a word like the given folded one.

    What is alike says :func:`vna.index.resemble.expressions`.
    """

    path: str
    word: str


@dataclass(frozen=True, slots=True)
class SomeInstance:
    """One and the same instance has one of the values at each of the paths, all of :data:`vna.domain.limits.COMBINED`.

    At STUDY and PATIENT level an instance of the study; at SERIES level the one
    that represents the series; at INSTANCE level it itself. The empty value is
    that of an instance that has none.
    """

    values: tuple[tuple[str, tuple[str, ...]], ...]


Criterion = AnyOf | Wildcard | Range | DateTimeRange | Words | Resembles | SomeInstance


@dataclass(frozen=True, slots=True)
class Query:
    """All criteria must hold. Results come in the level's fixed order (see ``vna.ports.index``).

    With ``by_identity`` studies come in the order of their identities, which
    tells nothing of their dates.
    """

    level: Level
    criteria: tuple[Criterion, ...] = ()
    limit: int | None = None
    offset: int = 0
    by_identity: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One entity found.

    Attributes
    ----------
    level, id
        What it is, and its identity.
    attributes
        Normalised attributes of its own level and those above in the DICOM JSON
        model, with the derived ones: ModalitiesInStudy, SOPClassesInStudy,
        NumberOfPatientRelatedStudies/Series/Instances (at PATIENT),
        NumberOfStudyRelatedSeries/Instances (at STUDY),
        NumberOfSeriesRelatedInstances (at SERIES).
    location
        At INSTANCE level, where its bytes are.
    """

    level: Level
    id: str
    attributes: Attributes
    location: Location | None = None

    def first(self, tag: str) -> str:
        """Return the first value of an attribute that is no person's name, as text; empty if there is none."""
        values = self.attributes.get(tag, {}).get("Value") or [None]
        return "" if values[0] is None else str(values[0])


@dataclass(frozen=True, slots=True)
class Facet:
    """How many entities of a query have a value."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Selector:
    """Which instances to retrieve; every given part must match.

    UID parts may list several UIDs (list of UID matching). ``patient_id`` alone
    selects every instance of that Patient ID, whatever its issuer.
    """

    patient_id: str | None = None
    studies: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """A versioned value of the index's compare-and-set store."""

    value: dict[str, Any]
    version: str
