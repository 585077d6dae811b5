"""Matching on what is derived of a whole study, below the study level."""

from __future__ import annotations

from collections.abc import Sequence

from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, DateTimeRange, Level, Query, SomeInstance, Words
from vna.ports.index import IndexReader

DERIVED = frozenset({"00080061", "00080062"})
"""ModalitiesInStudy and SOPClassesInStudy: the index matches them at STUDY level alone."""

MAX_STUDIES = 10_000
_STUDY_UID = "0020000D"


def within_studies(index: IndexReader, level: Level, criteria: Sequence[Criterion]) -> tuple[Criterion, ...]:
    """Replace criteria on derived attributes of a study, in a query below it, by the studies that match them.

    Raises
    ------
    InvalidQueryError
        More studies match than can be listed.
    """
    if level not in {Level.SERIES, Level.INSTANCE}:
        return tuple(criteria)
    derived = [each for each in criteria if _path(each) in DERIVED]
    if not derived:
        return tuple(criteria)
    rest = [each for each in criteria if _path(each) not in DERIVED]
    fixed = [each for each in rest if _path(each) == _STUDY_UID]
    hits = index.query(Query(Level.STUDY, tuple(derived + fixed), MAX_STUDIES + 1))
    if len(hits) > MAX_STUDIES:
        message = f"more than {MAX_STUDIES} studies match; name a study, or search for studies first"
        raise InvalidQueryError(message, attribute=_path(derived[0]))
    uids = tuple(str(hit.attributes[_STUDY_UID]["Value"][0]) for hit in hits)
    # No study at all is told by a UID that none has.
    return (*rest, AnyOf(_STUDY_UID, uids or ("0",)))


def _path(criterion: Criterion) -> str:
    if isinstance(criterion, Words | SomeInstance):
        return ""
    return criterion.date_path if isinstance(criterion, DateTimeRange) else criterion.path
