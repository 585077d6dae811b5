"""The index as somebody sees it who is limited: all else is not there, at any level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from vna.domain.batches import batches
from vna.domain.errors import InvalidQueryError
from vna.domain.query import (
    AnyOf,
    Criterion,
    DateTimeRange,
    Facet,
    Hit,
    Level,
    Query,
    Selector,
    SomeInstance,
    Wildcard,
    Words,
)
from vna.domain.records import Location
from vna.ports.index import IndexReader
from vna.security.limits import STUDY_UID, Limits

MOST_STUDIES = 10_000
"""Studies that are handed from one level of the index to another, at most."""

_MODALITY, _SOP_CLASS = "00080060", "00080016"
_MODALITIES, _SOP_CLASSES = "00080061", "00080062"
_DERIVED = {_MODALITIES: _MODALITY, _SOP_CLASSES: _SOP_CLASS}
_PATIENT_ID, _ISSUER = "00100020", "00100021"
_OF_PATIENT = ("00201200", "00201202", "00201204")
_OF_STUDY = ("00201206", "00201208")
_OF_SERIES = "00201209"
_MOST_MODALITIES = 1000
_BATCH = 100


class RestrictedIndex(IndexReader):
    """Searches of an index that find what limits let see.

    An instance is there if its own attributes meet the limits; a series, if
    those of the instance that represents it do; a study, if its attributes do,
    and an instance of it meets all that the index can tell of one; a patient,
    if a study of theirs is. What is told of a study as a whole, its numbers,
    modalities and words, is of the series that are there.

    Limits by an attribute of the study let see no patients at PATIENT level.

    Parameters
    ----------
    index
        Finds everything.
    limits
        What is there.
    """

    def __init__(self, index: IndexReader, limits: Limits) -> None:
        self._index = index
        self._limits = limits

    # ---- searches

    def query(self, query: Query) -> list[Hit]:
        """See :meth:`vna.ports.index.IndexReader.query`."""
        return list(self._told(query.level, self._index.query(self._within(query))))

    def count(self, query: Query) -> int:
        """See :meth:`vna.ports.index.IndexReader.count`."""
        return self._index.count(self._within(query))

    def scroll(self, query: Query, page: int = 1000) -> Iterator[Hit]:
        """See :meth:`vna.ports.index.IndexReader.scroll`."""
        for hits in batches(self._index.scroll(self._within(query), page), _BATCH):
            yield from self._told(query.level, hits)

    def facets(
        self, query: Query, paths: Sequence[str], top: int = 20, *, studies: bool = False
    ) -> dict[str, list[Facet]]:
        """See :meth:`vna.ports.index.IndexReader.facets`; SOP Classes in Study has none."""
        derived = [path for path in paths if path in _DERIVED] if self._takes_parts(query.level) else []
        plain = [path for path in paths if path not in derived]
        found = self._index.facets(self._within(query), plain, top, studies=studies) if plain else {}
        found |= {path: self._modalities(query, top) if path == _MODALITIES else [] for path in derived}
        return {path: found[path] for path in paths}

    def locate(self, selector: Selector, criteria: Sequence[Criterion] = ()) -> Iterator[Location]:
        """See :meth:`vna.ports.index.IndexReader.locate`."""
        return self._index.locate(selector, (*criteria, *self._limits.criteria(Level.INSTANCE)))

    def check(self) -> None:
        """See :meth:`vna.ports.index.IndexReader.check`."""
        self._index.check()

    # ---- what is asked

    def _takes_parts(self, level: Level) -> bool:
        """Say whether entities of a level may be there in part."""
        return level in {Level.PATIENT, Level.STUDY} and not self._limits.of_whole_studies

    def _within(self, query: Query) -> Query:
        criteria = query.criteria
        if self._takes_parts(query.level):
            criteria = self._of_parts(criteria)
        return replace(query, criteria=(*criteria, *self._limits.criteria(query.level)))

    def _of_parts(self, criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
        """Let what is asked of a whole study be asked of the parts of it that are there."""
        found: list[Criterion] = []
        for each in criteria:
            if isinstance(each, Words):
                found.append(self._studies_with(each, criteria))
            elif isinstance(each, SomeInstance):
                found.append(self._some_instance(*each.values))
            elif not isinstance(each, DateTimeRange) and each.path in _DERIVED:
                found.append(self._some_instance((_DERIVED[each.path], self._values(each))))
            else:
                found.append(each)
        return tuple(found)

    def _some_instance(self, *asked: tuple[str, tuple[str, ...]]) -> SomeInstance:
        rules = dict(self._limits.combined)
        for path, values in asked:
            rules[path] = tuple(value for value in values if value in rules.get(path, values))
        return SomeInstance(tuple(rules.items()))

    def _values(self, criterion: Criterion) -> tuple[str, ...]:
        """Return the values that a criterion on what is derived of a study accepts."""
        if isinstance(criterion, AnyOf):
            return criterion.values
        if isinstance(criterion, Wildcard) and criterion.path == _MODALITIES:
            pattern = criterion.pattern.replace("[", "[[]")
            known = self._index.facets(self._all_series(), (_MODALITY,), _MOST_MODALITIES)[_MODALITY]
            return tuple(facet.value for facet in known if fnmatchcase(facet.value, pattern))
        path = getattr(criterion, "path", None)
        raise InvalidQueryError(f"{path} is matched by single values", attribute=path)

    def _studies_with(self, words: Words, criteria: Sequence[Criterion]) -> AnyOf:
        """Find words in the series that are there, where the index would look at all of a study's."""
        others = [each for each in criteria if not isinstance(each, SomeInstance | Words)]
        narrowing = [each for each in others if getattr(each, "path", "") not in _DERIVED]
        query = self._within(Query(Level.SERIES, (words, *narrowing)))
        found = self._index.facets(query, (STUDY_UID,), MOST_STUDIES + 1)[STUDY_UID]
        if len(found) > MOST_STUDIES:
            raise InvalidQueryError(f"more than {MOST_STUDIES} studies have these words; choose a date range as well")
        return AnyOf(STUDY_UID, tuple(facet.value for facet in found))

    def _all_series(self) -> Query:
        return Query(Level.SERIES, self._limits.criteria(Level.SERIES))

    def _modalities(self, query: Query, top: int) -> list[Facet]:
        known = self._index.facets(self._all_series(), (_MODALITY,), _MOST_MODALITIES)[_MODALITY]
        plain = replace(query, limit=None, offset=0)
        found = [
            Facet(each.value, self.count(replace(plain, criteria=(*plain.criteria, AnyOf(_MODALITIES, (each.value,))))))
            for each in known
        ]
        found.sort(key=lambda facet: (-facet.count, facet.value))
        return [facet for facet in found if facet.count][:top]

    # ---- what is told

    def _told(self, level: Level, hits: Sequence[Hit]) -> Iterator[Hit]:
        if level is Level.STUDY and self._takes_parts(level):
            for some in batches(hits, _BATCH):
                yield from self._studies(some)
        elif level is Level.PATIENT and self._takes_parts(level):
            yield from map(self._patient, hits)
        else:
            yield from hits

    def _studies(self, hits: Sequence[Hit]) -> Iterator[Hit]:
        """Tell of each study what its series say that are there."""
        uids = tuple(hit.first(STUDY_UID) for hit in hits)
        query = Query(Level.SERIES, (AnyOf(STUDY_UID, uids), *self._limits.criteria(Level.SERIES)))
        parts: dict[str, list[Hit]] = {uid: [] for uid in uids}
        for series in self._index.query(query):
            parts[series.first(STUDY_UID)].append(series)
        for uid, hit in zip(uids, hits, strict=True):
            found = parts[uid]
            modalities = sorted({each.first(_MODALITY) for each in found} - {""})
            attributes = {tag: value for tag, value in hit.attributes.items() if tag != _SOP_CLASSES}
            attributes[_MODALITIES] = {"vr": "CS"} | ({"Value": modalities} if modalities else {})
            attributes |= _numbers(_OF_STUDY, len(found), sum(_number(each, _OF_SERIES) for each in found))
            yield replace(hit, attributes=attributes)

    def _patient(self, hit: Hit) -> Hit:
        own = (AnyOf(_PATIENT_ID, (hit.first(_PATIENT_ID),)), AnyOf(_ISSUER, (hit.first(_ISSUER),)))
        studies = self.query(Query(Level.STUDY, own))
        series, instances = (sum(_number(study, tag) for study in studies) for tag in _OF_STUDY)
        return replace(hit, attributes=hit.attributes | _numbers(_OF_PATIENT, len(studies), series, instances))


def _number(hit: Hit, tag: str) -> int:
    return int(hit.first(tag) or 0)


def _numbers(tags: Sequence[str], *values: int) -> dict[str, Any]:
    return {tag: {"vr": "IS", "Value": [value]} for tag, value in zip(tags, values, strict=True)}
