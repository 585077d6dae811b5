"""The worklist: a page of the studies that match, and what they can be narrowed by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, Hit, Level, Query, Words
from vna.normalise.fold import fold_name
from vna.ports.index import Index
from vna.web import view_text as text
from vna.web.view_search import FACETS, Asked, FacetField, chosen_of
from vna.web.view_study import PATIENT_NAME, STUDY_UID, Study

PAGE = 50
MOST_STUDIES = 10_000
"""Studies that are sorted by name, or handed from one level of the index to another, at most."""

TOP = 12
_DERIVED = "00080061"
_NONE = AnyOf(STUDY_UID, ("0",))  # a UID that no study has


@dataclass(frozen=True, slots=True)
class Worklist:
    """A page of studies.

    Attributes
    ----------
    asked
        What was asked, its page one that there is.
    studies
        The lines.
    total, pages
        How many studies match, on how many pages.
    first, last
        Numbers of the first and the last line.
    note
        What the person must know of the order, or empty.
    """

    asked: Asked
    studies: tuple[Study, ...]
    total: int
    pages: int
    first: int
    last: int
    note: str


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value of a facet: how many have it, and the query that toggles it."""

    value: str
    count: int
    chosen: bool
    query: str


@dataclass(frozen=True, slots=True)
class FacetView:
    """A facet with its most frequent values; ``note`` says why there are none, or what is counted."""

    label: str
    key: str
    values: tuple[FacetValue, ...]
    note: str


def worklist(index: Index, asked: Asked, today: date) -> Worklist:
    """Return the page that was asked for, or the last one where there are fewer.

    Raises
    ------
    InvalidQueryError
        What is asked cannot be answered; it says so for a person.
    """
    query = Query(Level.STUDY, _criteria(index, asked, today, FACETS))
    total = index.count(query)
    pages = max(1, -(-total // PAGE))
    asked = replace(asked, page=min(asked.page, pages))
    note = ""
    if asked.sort in {"name", "-name"} and total > MOST_STUDIES:
        note = f"More than {text.grouped(MOST_STUDIES)} studies are listed by date; narrow the search to sort by name."
        asked = replace(asked, sort="-date")
    start = (asked.page - 1) * PAGE
    stop = min(start + PAGE, total)
    if asked.sort == "-date":
        hits = index.query(replace(query, limit=PAGE, offset=start))
    elif asked.sort == "date":
        # The index has one order; the oldest are its last.
        hits = index.query(replace(query, limit=stop - start, offset=total - stop))[::-1]
    else:
        hits = index.query(replace(query, limit=MOST_STUDIES))
        hits.sort(key=_by_name, reverse=asked.sort == "-name")
        hits = hits[start:stop]
    studies = tuple(Study.of(hit) for hit in hits)
    return Worklist(asked, studies, total, pages, start + 1, start + len(studies), note)


def facets(index: Index, asked: Asked, today: date) -> list[FacetView]:
    """Return the facets, each counted among what all the other ones leave."""
    return [_facet(index, asked, today, facet) for facet in FACETS]


def _by_name(hit: Hit) -> tuple[bool, str, str]:
    # Sorting keeps the index's order of the studies of one name.
    name = fold_name(text.first(hit.attributes, PATIENT_NAME))
    return (not name, name, text.first(hit.attributes, "00100020"))


def _criteria(index: Index, asked: Asked, today: date, chosen: Sequence[FacetField]) -> tuple[Criterion, ...]:
    """Return criteria at study level: what is asked, and the chosen values of some facets."""
    criteria = asked.criteria(today)
    criteria += chosen_of(asked, [facet for facet in chosen if not facet.of_series])
    of_series = chosen_of(asked, [facet for facet in chosen if facet.of_series])
    if not of_series:
        return criteria
    query = Query(Level.SERIES, (*(each for each in criteria if _of_series(each)), *of_series))
    uids = _study_uids(index, query)
    if uids is None:
        few = text.grouped(MOST_STUDIES)
        raise InvalidQueryError(f"more than {few} studies match; choose a date range as well")
    return (*criteria, AnyOf(STUDY_UID, uids) if uids else _NONE)


def _of_series(criterion: Criterion) -> bool:
    """Say whether a criterion on a study means the same for its series."""
    return not isinstance(criterion, Words) and getattr(criterion, "path", "") != _DERIVED


def _study_uids(index: Index, query: Query) -> tuple[str, ...] | None:
    """Return the studies that a query finds, or finds series of; ``None`` for too many."""
    found = index.facets(query, [STUDY_UID], MOST_STUDIES + 1)[STUDY_UID]
    return None if len(found) > MOST_STUDIES else tuple(facet.value for facet in found)


def _facet(index: Index, asked: Asked, today: date, facet: FacetField) -> FacetView:
    others = [each for each in FACETS if each is not facet]
    criteria = _criteria(index, asked, today, others)
    note = "series" if facet.of_series else "studies"
    level = Level.SERIES if facet.of_series else Level.STUDY
    if facet.of_series and not all(_of_series(each) for each in criteria):
        uids = _study_uids(index, Query(Level.STUDY, criteria))
        if uids is None:
            return FacetView(facet.label, facet.key, (), "Narrow the search to see values")
        criteria = (AnyOf(STUDY_UID, uids) if uids else _NONE,)
    if facet.of_series:
        # Of the same series as the values of the other facets.
        criteria += chosen_of(asked, [each for each in others if each.of_series])
    chosen = asked.chosen(facet)
    counted = {
        found.value: found.count for found in index.facets(Query(level, criteria), [facet.path], TOP)[facet.path]
    }
    values = [*counted, *(value for value in chosen if value not in counted)]
    return FacetView(
        facet.label,
        facet.key,
        tuple(
            FacetValue(value, counted.get(value, 0), value in chosen, asked.toggled(facet.key, value))
            for value in values
        ),
        note,
    )
