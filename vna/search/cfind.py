"""C-FIND without the network: from an identifier to a query, and to what is found (PS3.4 C.4.1).

Hierarchical queries name the unique key of each level above the one they ask
for; relational ones, when negotiated, name any keys (PS3.4 C.4.1.2, C.4.1.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from vna.dicom.dataset import Element, Identifier
from vna.dicom.dictionary import public_vr
from vna.domain.errors import InvalidQueryError
from vna.domain.identity import identity, patient_identity
from vna.domain.levels import RANK, VR_OF, level_of
from vna.domain.query import AnyOf, Criterion, Hit, Level, Query
from vna.ports.index import IndexReader
from vna.search.fuzzy import criteria_for_name
from vna.search.matching import combine_datetime, criteria_for, describe

LEVEL = "00080052"  # QueryRetrieveLevel
RETRIEVE_AE_TITLE = "00080054"
AVAILABILITY = "00080056"  # InstanceAvailability
UNIQUE: Mapping[Level, str] = {
    Level.PATIENT: "00100020",
    Level.STUDY: "0020000D",
    Level.SERIES: "0020000E",
    Level.INSTANCE: "00080018",
}
"""Unique key of each level (PS3.4 C.6.1.1)."""

_ISSUER = "00100021"
# SpecificCharacterSet, QueryRetrieveView, TimezoneOffsetFromUTC: said of the query, not matched.
_OF_THE_QUERY = frozenset({"00080005", LEVEL, "00080053", RETRIEVE_AE_TITLE, AVAILABILITY, "00080201"})
_DERIVED: Mapping[str, Level] = {
    "00080061": Level.STUDY,  # ModalitiesInStudy
    "00080062": Level.STUDY,  # SOPClassesInStudy
    "00201200": Level.PATIENT,  # NumberOfPatientRelatedStudies
    "00201202": Level.PATIENT,  # NumberOfPatientRelatedSeries
    "00201204": Level.PATIENT,  # NumberOfPatientRelatedInstances
    "00201206": Level.STUDY,  # NumberOfStudyRelatedSeries
    "00201208": Level.STUDY,  # NumberOfStudyRelatedInstances
    "00201209": Level.SERIES,  # NumberOfSeriesRelatedInstances
}
"""Attributes that exist at one level only, counted or gathered."""
_MATCHED_DERIVED = frozenset({"00080061", "00080062"})
_BATCH = 100


class Root(Enum):
    """Query/Retrieve information models (PS3.4 C.6): the levels that each has."""

    PATIENT = (Level.PATIENT, Level.STUDY, Level.SERIES, Level.INSTANCE)
    STUDY = (Level.STUDY, Level.SERIES, Level.INSTANCE)
    PATIENT_STUDY_ONLY = (Level.PATIENT, Level.STUDY)


@dataclass(frozen=True, slots=True)
class Options:
    """What was negotiated (PS3.4 C.5.1.1).

    Attributes
    ----------
    relational
        Relational queries.
    combined
        Combined date-time matching.
    fuzzy
        Fuzzy semantic matching of person names.
    """

    relational: bool = False
    combined: bool = False
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class Find:
    """A C-FIND request, understood.

    Attributes
    ----------
    query
        What to look for at the level asked for.
    keys
        The keys to answer.
    private
        Creator of each private key among them, by tag.
    below
        For a relational query with keys of lower levels: the query of the
        lowest of them, of which an entity must have at least one match.
    unsupported
        Whether there are keys that are neither matched nor answered.
    """

    query: Query
    keys: Identifier
    private: Mapping[str, str] = field(default_factory=dict)
    below: Query | None = None
    unsupported: bool = False


def level_asked(identifier: Identifier, root: Root) -> Level:
    """Return the Query/Retrieve Level (0008,0052); raises ``InvalidQueryError`` if it is missing or not of the root."""
    text = identifier[LEVEL].text.strip() if LEVEL in identifier else ""
    levels: tuple[Level, ...] = root.value
    for level in levels:
        if text == level.value:
            return level
    allowed = ", ".join(level.value for level in levels)
    raise InvalidQueryError(f"QueryRetrieveLevel {text!r} is none of {allowed}", attribute=LEVEL)


def understand(identifier: Identifier, root: Root, options: Options | None = None) -> Find:
    """Return what an identifier asks for.

    Raises
    ------
    InvalidQueryError
        Names the attribute: the level is wrong, a unique key is missing, or a
        value cannot be matched.
    """
    options = options or Options()
    level = level_asked(identifier, root)
    if not options.relational:
        _require_unique_keys(identifier, root, level)
    keys: dict[str, Element] = {}
    private: dict[str, str] = {}
    criteria: list[Criterion] = []
    lower: list[tuple[Level, Criterion]] = []
    unsupported = False
    for tag, element in identifier.items():
        if tag in _OF_THE_QUERY:
            if tag == AVAILABILITY:
                keys[tag] = element
            continue
        path, creator = _path(identifier, tag)
        if not path:
            continue
        found = _criteria(path, element, fuzzy=options.fuzzy)
        if _exists_at(tag, level):
            keys[tag] = element
            if creator:
                private[tag] = creator
            if tag in _DERIVED and tag not in _MATCHED_DERIVED:
                unsupported = unsupported or bool(found)
            else:
                criteria += found
        elif found and options.relational and tag not in _DERIVED and level_of(tag) in root.value:
            lower += [(level_of(tag), criterion) for criterion in found]
        else:
            unsupported = True
    wanted = tuple(combine_datetime(criteria)) if options.combined else tuple(criteria)
    below = _below(lower, wanted, options) if lower else None
    return Find(Query(level, wanted), keys, private, below, unsupported)


def find(index: IndexReader, request: Find) -> Iterator[Hit]:
    """Yield what matches, page by page from the index."""
    if request.below is None:
        yield from index.scroll(request.query)
        return
    level = request.query.level
    batch: dict[str, str] = {}
    seen: set[str] = set()
    last = ""
    for hit in index.scroll(request.below):
        name, unique = _ancestor(hit, level)
        # Instances and series come in the order of studies and series; those of a patient may be scattered.
        if name == last or name in seen:
            continue
        last = name
        if level is Level.PATIENT:
            seen.add(name)
        batch[name] = unique
        if len(batch) >= _BATCH:
            yield from _resolve(index, request.query, batch)
            batch.clear()
    yield from _resolve(index, request.query, batch)


def _require_unique_keys(identifier: Identifier, root: Root, level: Level) -> None:
    """Hierarchical queries have one value in the unique key of every level above (PS3.4 C.4.1.2.1)."""
    for above in root.value:
        if RANK[above] >= RANK[level]:
            return
        tag = UNIQUE[above]
        text = identifier[tag].text if tag in identifier else ""
        if not text.strip():
            raise InvalidQueryError(
                f"{describe(tag)} is needed at level {level.value}: relational queries were not negotiated",
                attribute=tag,
            )
        if any(mark in text for mark in "*?\\"):
            raise InvalidQueryError(f"{describe(tag)} of a level above must be a single value", attribute=tag)


def _exists_at(tag: str, level: Level) -> bool:
    if tag in _DERIVED:
        return _DERIVED[tag] is level
    return RANK[level_of(tag)] <= RANK[level]


def _path(identifier: Identifier, tag: str) -> tuple[str, str]:
    """Return the path of a top-level key and its private creator; an empty path for what is no key."""
    if not int(tag[:4], 16) & 1:
        return tag, ""
    if tag[4:6] == "00":
        return "", ""  # a private creator
    creator = identifier.get(f"{tag[:4]}00{tag[4:6]}")
    if creator is None or not creator.text.strip():
        return "", ""
    name = creator.text.strip()
    return f"{tag[:4]}xx{tag[6:]}@{name}", name


def vr_of_key(tag: str, given: str) -> str:
    """Return the VR of a key: the standard's, or the one that it was given with."""
    known = VR_OF.get(tag) or ("UN" if int(tag[:4], 16) & 1 else public_vr(int(tag, 16)))
    return given if known == "UN" else known


def _criteria(path: str, element: Element, *, fuzzy: bool) -> tuple[Criterion, ...]:
    """Return the criteria of a key, those within a sequence included (PS3.4 C.2.2.2.6)."""
    if element.vr != "SQ":
        vr = element.vr if "@" in path else vr_of_key(path[-8:], element.vr)
        # A value that asks for another kind of matching, by a wild card within it say, is matched as it is.
        alike = criteria_for_name(path, element.text) if fuzzy and vr == "PN" else None
        return criteria_for(path, vr, element.text) if alike is None else alike
    if len(element.items) > 1:
        raise InvalidQueryError(f"{describe(path)}: a sequence key has one item", attribute=path)
    found: list[Criterion] = []
    for item in element.items:
        for tag, inner in item.items():
            if not int(tag[:4], 16) & 1:
                found += _criteria(f"{path}.{tag}", inner, fuzzy=fuzzy)
    return tuple(found)


def _below(lower: list[tuple[Level, Criterion]], wanted: tuple[Criterion, ...], options: Options) -> Query:
    lowest = max((level for level, _ in lower), key=RANK.__getitem__)
    criteria = [criterion for _, criterion in lower]
    if options.combined:
        criteria = list(combine_datetime(criteria))
    # What is gathered over a study exists at its level only; the query above asks for it.
    shared = [c for c in wanted if getattr(c, "path", "") not in _DERIVED]
    return Query(lowest, (*shared, *criteria))


def _ancestor(hit: Hit, level: Level) -> tuple[str, str]:
    """Return identity and unique key of the entity of a level that something found belongs to."""
    study = hit.first(UNIQUE[Level.STUDY])
    if level is Level.STUDY:
        return identity("study", study), study
    if level is Level.SERIES:
        series = hit.first(UNIQUE[Level.SERIES])
        return identity("series", study, series), series
    patient = hit.first(UNIQUE[Level.PATIENT])
    return patient_identity(patient, hit.first(_ISSUER)), patient


def _resolve(index: IndexReader, query: Query, batch: Mapping[str, str]) -> Iterator[Hit]:
    if not batch:
        return
    unique = AnyOf(UNIQUE[query.level], tuple(dict.fromkeys(batch.values())))
    for hit in index.scroll(Query(query.level, (*query.criteria, unique))):
        if hit.id in batch:
            yield hit
