"""From the archive's criteria to Elasticsearch's query language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vna.domain.errors import InvalidQueryError
from vna.domain.levels import visible_at
from vna.domain.limits import COMBINED, mark
from vna.domain.query import (
    AnyOf,
    Criterion,
    DateTimeRange,
    Level,
    Query,
    Resembles,
    Selector,
    SomeInstance,
    Wildcard,
    Words,
)
from vna.index.elastic_documents import (
    MODALITIES_IN_STUDY,
    SEPARATOR,
    SOP_CLASSES_IN_STUDY,
    clean,
    term,
    term_prefix,
)
from vna.index.resemble import expressions

Clause = dict[str, Any]

NOTHING: Clause = {"match_none": {}}
EVERYTHING: Clause = {"match_all": {}}
KIND_OF = {Level.PATIENT: "studies", Level.STUDY: "studies", Level.SERIES: "series", Level.INSTANCE: "instances"}

# What the service takes in one terms query (index.max_terms_count).
_MOST_TERMS = 65_536
# With it a regular expression stays below what the service takes (index.max_regex_length).
_LONGEST_PREFIX = 300
# Of each of the paths of a combination: 6 times 8 marks of 16 digits stay below it, too.
_MOST_MARKS = 8
_MIDNIGHT = "000000.000000"
_AFTER_SEPARATOR = chr(ord(SEPARATOR) + 1)
_DERIVED = {MODALITIES_IN_STUDY: "modalities", SOP_CLASSES_IN_STUDY: "sop_classes"}
_SPECIAL_IN_WILDCARD = re.compile(r"([\\*?])")
_SPECIAL_IN_REGEX = re.compile(r"([^0-9A-Za-z_])")

# The order of results (vna.ports.index). Every sort ends with an identity, so that it is total.
SORT: dict[Level, list[Clause]] = {
    Level.STUDY: [
        {"study_date": {"order": "desc", "missing": "_last"}},
        {"study_time": {"order": "desc", "missing": "_last"}},
        {"study_id": {"order": "asc"}},
    ],
    Level.SERIES: [
        {"study_id": {"order": "asc"}},
        {"number": {"order": "asc", "missing": "_last"}},
        {"series_id": {"order": "asc"}},
    ],
    Level.INSTANCE: [
        {"study_id": {"order": "asc"}},
        {"series_id": {"order": "asc"}},
        {"number": {"order": "asc", "missing": "_last"}},
        {"instance_id": {"order": "asc"}},
    ],
}


_BY_IDENTITY: list[Clause] = [{"study_id": {"order": "asc"}}]


def sort_of(query: Query) -> list[Clause]:
    """Return the order that the results of a query come in."""
    return _BY_IDENTITY if query.by_identity and query.level is Level.STUDY else SORT[query.level]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the values of a path stand: a field, and what each value begins with there."""

    field: str
    prefix: str
    path: str

    def text(self, value: str) -> str:
        """Return a value as the field holds it."""
        return term(self.path, value) if self.prefix else clean(value)

    @property
    def present(self) -> Clause:
        """What finds the entities that have a value."""
        if self.prefix:
            return {"term": {"paths": self.prefix[:-1]}}
        return {"exists": {"field": self.field}}


def place_of(path: str, level: Level) -> Place | None:
    """Return where a path's values are found at a level, ``None`` if nowhere."""
    if level is Level.STUDY and path in _DERIVED:
        return Place(_DERIVED[path], "", path)
    if path and visible_at(path, level):
        return Place("terms", term_prefix(path), path)
    return None


def clause(query: Query) -> Clause:
    """Return what finds the matches of a query.

    Raises
    ------
    InvalidQueryError
        Naming the attribute, for a criterion that cannot be matched.
    """
    if query.offset < 0 or (query.limit is not None and query.limit < 0):
        raise InvalidQueryError("limit and offset are not negative")
    filters = [_criterion(criterion, query.level) for criterion in query.criteria]
    return _all(filters, query.level)


def selection(selector: Selector, criteria: Sequence[Criterion] = ()) -> Clause | None:
    """Return what finds the instances of a selection, ``None`` for an empty one."""
    filters: list[Clause] = []
    if selector.patient_id is not None:
        filters.append({"term": {"patient_id": clean(selector.patient_id)}})
    for field, uids in (("study", selector.studies), ("series", selector.series), ("sop", selector.instances)):
        if uids:
            filters.append(_any_text(field, [clean(uid) for uid in uids]))
    if not filters:
        return None
    return _all([*filters, *(_criterion(each, Level.INSTANCE) for each in criteria)], Level.INSTANCE)


def facet(path: str, level: Level, top: int, *, studies: bool = False) -> Clause | None:
    """Return an aggregation that counts the values of a path, ``None`` if there are none at the level.

    What is counted are patients at PATIENT level, below STUDY the ``studies`` if they are asked for; else documents.
    """
    place = place_of(path, level)
    if place is None:
        return None
    terms: Clause = {"field": place.field, "size": top, "shard_size": max(1000, top * 10)}
    terms["order"] = [{"_count": "desc"}, {"_key": "asc"}]
    if place.prefix:
        terms["include"] = _SPECIAL_IN_REGEX.sub(r"\\\1", place.prefix) + ".*"
    field = "patient" if level is Level.PATIENT else "study_id"
    if level is Level.PATIENT or (studies and level is not Level.STUDY):
        terms["order"] = [{"of": "desc"}, {"_key": "asc"}]
        return {"terms": terms, "aggs": {"of": _distinct(field)}}
    return {"terms": terms}


def totals(path: str, top: int) -> Clause:
    """Return aggregations over instances: what there is by each value of a path, and (``none``) without one."""
    place = Place("terms", term_prefix(path), path)
    sums = {
        "bytes": {"sum": {"field": "size"}},
        "series": _distinct("series_id"),
        "studies": _distinct("study_id"),
    }
    terms: Clause = {
        "field": place.field,
        "include": _SPECIAL_IN_REGEX.sub(r"\\\1", place.prefix) + ".*",
        "size": top,
        "shard_size": max(1000, top * 10),
        "order": [{"bytes": "desc"}, {"_key": "asc"}],
    }
    return {"some": {"terms": terms, "aggs": sums}, "none": {"filter": _not(place.present), "aggs": sums}}


def _distinct(field: str) -> Clause:
    return {"cardinality": {"field": field, "precision_threshold": 40_000}}


def _all(filters: list[Clause], level: Level) -> Clause:
    if level is Level.INSTANCE:
        return {"bool": {"filter": filters, "must_not": [{"term": {"removed": True}}]}}
    return {"bool": {"filter": filters}} if filters else EVERYTHING


def _any(clauses: list[Clause]) -> Clause:
    if len(clauses) == 1:
        return clauses[0]
    return {"bool": {"should": clauses, "minimum_should_match": 1}} if clauses else NOTHING


def _not(unwanted: Clause) -> Clause:
    return {"bool": {"must_not": [unwanted]}}


def _any_text(field: str, texts: list[str]) -> Clause:
    return _any([{"terms": {field: texts[at : at + _MOST_TERMS]}} for at in range(0, len(texts), _MOST_TERMS)])


def _criterion(criterion: Criterion, level: Level) -> Clause:
    if isinstance(criterion, Words):
        return {"bool": {"filter": [{"prefix": {"words": clean(word)}} for word in criterion.words]}}
    if isinstance(criterion, DateTimeRange):
        return _moments(criterion, level)
    if isinstance(criterion, SomeInstance):
        return _some_instance(criterion, level)
    place = place_of(criterion.path, level)
    if isinstance(criterion, AnyOf):
        return _values(criterion, place)
    if place is None:
        return NOTHING
    if isinstance(criterion, Wildcard):
        return _wildcard(criterion, place)
    if isinstance(criterion, Resembles):
        return _resembles(criterion, place)
    return _range(place, criterion.low, criterion.high)


def _some_instance(criterion: SomeInstance, level: Level) -> Clause:
    if level in {Level.SERIES, Level.INSTANCE}:
        return {"bool": {"filter": [_criterion(AnyOf(*pair), level) for pair in criterion.values]}}
    # Marks follow one another in a combination as their paths do.
    ordered = sorted(criterion.values, key=lambda pair: COMBINED.index(pair[0]))
    groups = [[mark(path, value) for value in accepted] for path, accepted in ordered]
    return _any([{"regexp": {"combinations": {"value": text, "flags": "NONE"}}} for text in _expressions(groups)])


def _expressions(groups: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield regular expressions that together find what has one mark of each group, none too long for the service."""
    if not groups:
        yield ".*"
        return
    for rest in _expressions(groups[1:]):
        for at in range(0, len(groups[0]), _MOST_MARKS):
            yield f".*({'|'.join(groups[0][at : at + _MOST_MARKS])}){rest}"


def _values(criterion: AnyOf, place: Place | None) -> Clause:
    empty = "" in criterion.values
    if place is None:
        return EVERYTHING if empty else NOTHING
    texts = [place.text(value) for value in criterion.values if value]
    clauses = [_any_text(place.field, texts)] if texts else []
    if empty:
        clauses.append(_not(place.present))
    return _any(clauses)


def _wildcard(criterion: Wildcard, place: Place) -> Clause:
    pattern = re.sub(r"\*+", "*", clean(criterion.pattern))
    if pattern == "*":
        return place.present
    begin = pattern.removesuffix("*")
    if begin != pattern and "*" not in begin and "?" not in begin:
        return {"prefix": {place.field: {"value": place.prefix + begin}}}
    prefix = _SPECIAL_IN_WILDCARD.sub(r"\\\1", place.prefix)
    text = prefix + pattern.replace("\\", "\\\\")
    if len(text) > 1000:  # an automaton of that size is refused by the service, in worse words
        raise InvalidQueryError(f"the wild card pattern for {criterion.path} is too long", attribute=criterion.path)
    return {"wildcard": {place.field: {"value": text}}}


def _resembles(criterion: Resembles, place: Place) -> Clause:
    prefix = _SPECIAL_IN_REGEX.sub(r"\\\1", place.prefix)
    if len(prefix) > _LONGEST_PREFIX:
        raise InvalidQueryError(f"{criterion.path} is too long for fuzzy matching", attribute=criterion.path)
    texts = [prefix + text for text in expressions(clean(criterion.word))]
    return _any([{"regexp": {place.field: {"value": text, "flags": "NONE"}}} for text in texts])


def _range(place: Place, low: str | None, high: str | None) -> Clause:
    if low is None and high is None:
        return place.present
    ends: Clause = {}
    if low is not None:
        ends["gte"] = place.text(low)
    elif place.prefix:
        ends["gte"] = place.prefix
    if high is not None:
        ends["lte"] = place.text(high)
    elif place.prefix:
        ends["lt"] = place.prefix[:-1] + _AFTER_SEPARATOR
    return {"range": {place.field: ends}}


def _moments(criterion: DateTimeRange, level: Level) -> Clause:
    """Compare dates, and times where the date is that of an end."""
    dates, times = place_of(criterion.date_path, level), place_of(criterion.time_path, level)
    if dates is None:
        return NOTHING
    filters = [dates.present]
    for end, is_low in ((criterion.low, True), (criterion.high, False)):
        if end is None:
            continue
        day, time = end[:8], end[8:] or _MIDNIGHT
        at_time: list[Clause] = []
        if times is not None:
            at_time.append(_range(times, time, None) if is_low else _range(times, None, time))
        if not is_low or time <= _MIDNIGHT:  # a missing time counts as midnight
            at_time.append(_not(times.present) if times is not None else EVERYTHING)
        beyond = _range(dates, day + "\0", None) if is_low else _before(dates, day)
        filters.append(_any([beyond, {"bool": {"filter": [{"term": {dates.field: dates.text(day)}}, _any(at_time)]}}]))
    return {"bool": {"filter": filters}}


def _before(place: Place, value: str) -> Clause:
    return {"range": {place.field: {"gte": place.prefix, "lt": place.text(value)}}}
