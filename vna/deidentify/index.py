"""The index as somebody sees it who must not learn whose the studies are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from vna.deidentify.dataset import Deidentifier, may_name
from vna.deidentify.outgoing import outgoing
from vna.deidentify.patients import PatientLookup
from vna.dicom.dictionary import public_vr, show_tag
from vna.domain.errors import InvalidQueryError
from vna.domain.query import (
    AnyOf,
    Criterion,
    DateTimeRange,
    Facet,
    Hit,
    Level,
    Query,
    Resembles,
    Selector,
    SomeInstance,
    Words,
)
from vna.domain.records import Attributes, Location
from vna.normalise.fold import fold
from vna.ports.index import IndexReader

_PATIENT_ID = "00100020"
_LOOKED_AT = 20
"""Results that are looked at, of those with a value that is asked for or told."""
_MOST_VALUES = 50


class DeidentifiedIndex(IndexReader):
    """Searches whose results are de-identified, and that can be asked for nothing that the results do not show.

    A search by what is removed would tell it: who is found by a name has the
    name. So it raises ``InvalidQueryError``. Patient ID is matched by a single
    pseudonym. Lists of patients are not to be had: they are in the order of
    names. With dates removed, studies come in the order of their identities.

    Parameters
    ----------
    index
        What it is about.
    deidentifier
        What results pass through.
    patients
        Finds whom a pseudonym is of; without it there is no search by one.
    """

    def __init__(self, index: IndexReader, deidentifier: Deidentifier, patients: PatientLookup | None = None) -> None:
        self._index = index
        self._deidentifier = deidentifier
        self._patients = patients
        self._profile = deidentifier.profile

    # ---- searches

    def query(self, query: Query) -> list[Hit]:
        """See :meth:`vna.ports.index.IndexReader.query`."""
        return [self._told(hit) for hit in self._index.query(self._asked(query))]

    def count(self, query: Query) -> int:
        """See :meth:`vna.ports.index.IndexReader.count`."""
        return self._index.count(self._asked(query))

    def scroll(self, query: Query, page: int = 1000) -> Iterator[Hit]:
        """See :meth:`vna.ports.index.IndexReader.scroll`."""
        return map(self._told, self._index.scroll(self._asked(query), page))

    def facets(
        self, query: Query, paths: Sequence[str], top: int = 20, *, studies: bool = False
    ) -> dict[str, list[Facet]]:
        """See :meth:`vna.ports.index.IndexReader.facets`; of values, those are told that are seen."""
        seen = [path for path in paths if self._profile.searchable(path, whole=True)]
        asked = self._asked(query)
        found = self._index.facets(asked, seen, top, studies=studies) if seen else {}
        return {
            path: [
                each
                for each in found.get(path, [])
                if self._is_seen(path, each.value) and self._is_shown(asked, path, each.value)
            ]
            for path in paths
        }

    def locate(self, selector: Selector, criteria: Sequence[Criterion] = ()) -> Iterator[Location]:
        """See :meth:`vna.ports.index.IndexReader.locate`."""
        if selector.patient_id is not None:
            raise _unseen(_PATIENT_ID)
        self._check(criteria)
        return (outgoing(each, self._deidentifier) for each in self._index.locate(selector, criteria))

    def check(self) -> None:
        """See :meth:`vna.ports.index.IndexReader.check`."""
        self._index.check()

    # ---- what is asked

    def _asked(self, query: Query) -> Query:
        if query.level is Level.PATIENT:
            raise InvalidQueryError("patients are not listed for who sees de-identified data alone; search for studies")
        criteria: list[Criterion] = []
        for each in query.criteria:
            of_patient = self._of_patient(each)
            if of_patient is None:
                self._check((each,))
            criteria += of_patient or (each,)
        by_identity = query.by_identity or not self._profile.options.dates
        return self._only_shown(replace(query, criteria=tuple(criteria), by_identity=by_identity))

    def _of_patient(self, criterion: Criterion) -> tuple[Criterion, ...] | None:
        """Return what a search by a pseudonym comes to, ``None`` for any other."""
        if not isinstance(criterion, AnyOf) or criterion.path != _PATIENT_ID or self._patients is None:
            return None
        return self._patients.criteria(self._index, criterion.values[0]) if len(criterion.values) == 1 else None

    def _check(self, criteria: Iterable[Criterion]) -> None:
        for each in criteria:
            if isinstance(each, Words):
                raise InvalidQueryError(
                    "there is no search by words for who sees de-identified data alone: names are among the words"
                )
            if isinstance(each, SomeInstance):
                paths = [path for path, _ in each.values]
            elif isinstance(each, DateTimeRange):
                paths = [each.date_path, each.time_path]
            else:
                paths = [each.path]
            whole = isinstance(each, (AnyOf, SomeInstance))
            for path in paths:
                if isinstance(each, Resembles) or not self._profile.searchable(path, whole=whole):
                    raise _unseen(path, whole=whole)

    def _is_seen(self, path: str, value: str) -> bool:
        tag = path[-8:]
        return self._deidentifier.value_may_be_seen(tag, public_vr(int(tag, 16)), value)

    def _may_go(self, path: str) -> bool:
        """Say whether a value of a path that is searched by goes from results where it tells too much."""
        tag = path[-8:]
        return self._profile.searchable(path, whole=True) and may_name(tag, public_vr(int(tag, 16)))

    def _is_shown(self, query: Query, path: str, value: str) -> bool:
        """Say whether results have a value: it goes from those where it names somebody, or is a code of the house."""
        if not self._may_go(path):
            return True
        criteria = (*query.criteria, AnyOf(path, (value,)))
        hits = self._index.query(replace(query, criteria=criteria, limit=_LOOKED_AT, offset=0))
        return any(fold(value) in _texts_at(self._told(hit).attributes, path.split(".")) for hit in hits)

    def _only_shown(self, query: Query) -> Query:
        """Let nothing be asked for that no result shows: that something is found would tell it."""
        criteria: list[Criterion] = []
        for each in query.criteria:
            if not isinstance(each, AnyOf) or not self._may_go(each.path):
                criteria.append(each)
                continue
            if len(each.values) > _MOST_VALUES:
                raise InvalidQueryError(f"at most {_MOST_VALUES} values are asked for together", attribute=each.path)
            shown = (value for value in each.values if not value or self._is_shown(query, each.path, value))
            criteria.append(AnyOf(each.path, tuple(shown)))
        return replace(query, criteria=tuple(criteria))

    # ---- what is told

    def _told(self, hit: Hit) -> Hit:
        location = hit.location and outgoing(hit.location, self._deidentifier)
        return replace(hit, attributes=self._deidentifier.result(hit.attributes), location=location)


def _texts_at(attributes: Attributes, path: Sequence[str]) -> Iterator[str]:
    """Yield the values at a path, folded."""
    tag, *below = path
    for value in attributes.get(tag, {}).get("Value") or ():
        if below and isinstance(value, dict):
            yield from _texts_at(value, below)
        elif isinstance(value, str):
            yield fold(value)


def _unseen(path: str, *, whole: bool = True) -> InvalidQueryError:
    tag = path.rpartition(".")[2]
    name = show_tag(int(tag, 16)) if "@" not in tag else tag
    why = "it is removed" if whole else "it is removed, or to be searched by whole values alone"
    return InvalidQueryError(f"{name} is not matched for who sees de-identified data alone: {why}", attribute=path)
