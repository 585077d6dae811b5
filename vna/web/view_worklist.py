"""The worklist: a page of the studies that match, and what they can be narrowed by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, Facet, Hit, Level, Query, Words
from vna.normalise.fold import fold_name
from vna.ports.index import IndexReader
from vna.web import view_text as text
from vna.web.view_search import FACETS, Asked, FacetField, chosen_of
from vna.web.view_study import PATIENT_NAME, STUDY_UID, Study

PAGE = 50
MOST_STUDIES = 10_000
"""Studies that are handed from one level of the index to another, at most."""

MOST_NAMES = 20_000
"""Names that are sorted, at most."""

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
    """A facet with its most frequent values; ``note`` says why there are none."""

    label: str
    key: str
    values: tuple[FacetValue, ...]
    note: str


def worklist(index: IndexReader, asked: Asked, today: date) -> Worklist:
    """Return the page that was asked for, or the last one where there are fewer.

    Raises
    ------
    InvalidQueryError
        What is asked cannot be answered; it says so for a person.
    """
    query = Query(Level.STUDY, _criteria(index, asked, today, FACETS))
    total = index.count(query)
    note = ""
    names = _names(index, query) if asked.sort in {"name", "-name"} else None
    if names is None and asked.sort in {"name", "-name"}:
        note = f"More than {text.grouped(MOST_NAMES)} names are listed by date; narrow the search to sort by name."
        asked = replace(asked, sort="-date")
    lines = total if names is None else sum(name.count for name in names)
    pages = max(1, -(-lines // PAGE))
    asked = replace(asked, page=min(asked.page, pages))
    start = (asked.page - 1) * PAGE
    stop = min(start + PAGE, total)
    if asked.sort == "-date":
        hits = index.query(replace(query, limit=PAGE, offset=start))
    elif names is None:
        # The index has one order; the oldest are its last.
        hits = index.query(replace(query, limit=stop - start, offset=total - stop))[::-1]
    else:
        hits = _named(index, query, names[::-1] if asked.sort == "-name" else names, start)
    studies = tuple(Study.of(hit) for hit in hits)
    return Worklist(asked, studies, total, pages, start + 1, start + len(studies), note)


def facets(
    index: IndexReader, asked: Asked, today: date, matches: Callable[[str], bool] = lambda _path: True
) -> list[FacetView]:
    """Return the facets, each counted in studies among what all the other ones leave."""
    return [_facet(index, asked, today, facet) for facet in FACETS if matches(facet.path)]


def _names(index: IndexReader, query: Query) -> list[Facet] | None:
    """Return the folded names of the studies that match, in order, with how many have each; ``None`` for too many.

    The empty name stands for the studies without one, and comes last.
    """
    found = index.facets(query, [PATIENT_NAME], MOST_NAMES + 1)[PATIENT_NAME]
    if len(found) > MOST_NAMES:
        return None
    nameless = index.count(replace(query, criteria=(*query.criteria, AnyOf(PATIENT_NAME, ("",)))))
    return [*sorted(found, key=lambda each: each.value), Facet("", nameless)]


def _named(index: IndexReader, query: Query, names: Sequence[Facet], start: int) -> list[Hit]:
    """Return a page of studies by names, of each name in the index's order.

    A study whose name has several component groups (PS3.5 6.2.1) is counted
    by each, and shown by its first: such a page is shorter.
    """
    wanted: list[tuple[Facet, int, int]] = []
    place = 0
    for name in names:
        low, high = max(start - place, 0), min(start + PAGE - place, name.count)
        place += name.count
        if low < high:
            wanted.append((name, low, high))
    # A name is cut by the first or the last line at most; the others are asked for together.
    whole = tuple(name.value for name, low, high in wanted if high - low == name.count)
    hits = _by_name(index, query, whole, 0, sum(high - low for _, low, high in wanted)) if whole else {}
    for name, low, high in wanted:
        if name.value not in whole:
            hits |= _by_name(index, query, (name.value,), low, high)
    return [hit for name, _, _ in wanted for hit in hits.get(name.value, ())]


def _by_name(index: IndexReader, query: Query, names: tuple[str, ...], low: int, high: int) -> dict[str, list[Hit]]:
    criteria = (*query.criteria, AnyOf(PATIENT_NAME, names))
    found: dict[str, list[Hit]] = {name: [] for name in names}
    for hit in index.query(replace(query, criteria=criteria, limit=high - low, offset=low)):
        name = fold_name(text.first(hit.attributes, PATIENT_NAME))
        if name in found:
            found[name].append(hit)
    return found


def _criteria(index: IndexReader, asked: Asked, today: date, chosen: Sequence[FacetField]) -> tuple[Criterion, ...]:
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


def _study_uids(index: IndexReader, query: Query) -> tuple[str, ...] | None:
    """Return the studies that a query finds, or finds series of; ``None`` for too many."""
    found = index.facets(query, [STUDY_UID], MOST_STUDIES + 1)[STUDY_UID]
    return None if len(found) > MOST_STUDIES else tuple(facet.value for facet in found)


def _facet(index: IndexReader, asked: Asked, today: date, facet: FacetField) -> FacetView:
    others = [each for each in FACETS if each is not facet]
    criteria = _criteria(index, asked, today, others)
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
        found.value: found.count
        for found in index.facets(Query(level, criteria), [facet.path], TOP, studies=True)[facet.path]
    }
    values = [*counted, *(value for value in chosen if value not in counted)]
    return FacetView(
        facet.label,
        facet.key,
        tuple(
            FacetValue(value, counted.get(value, 0), value in chosen, asked.toggled(facet.key, value))
            for value in values
        ),
        "",
    )
