"""Patients: the distinct patient identities of the studies found.

A patient whose studies spell the name differently stands once, where the first
of its names stands, with the attributes of the first received of those studies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from vna.domain.query import Hit, Level
from vna.index.elastic_client import Body, Connection
from vna.index.elastic_documents import SEPARATOR, hit
from vna.index.elastic_mapping import Names

_BUCKETS = 10_000
_BATCH = 1000
_STUDIES, _SERIES, _INSTANCES = "00201200", "00201202", "00201204"


class Patients:
    """Groups the studies of one generation by patient."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection = connection
        self._names = names

    def page(self, clause: Body, offset: int, limit: int | None) -> list[Hit]:
        """Return a page in the order of folded name and patient identity."""
        return list(self.scroll(clause, _BATCH, offset, limit))

    def scroll(self, clause: Body, page: int, offset: int, limit: int | None) -> Iterator[Hit]:
        """Yield patients in that order, a page at a time."""
        end = None if limit is None else offset + limit
        identities = islice(self._identities(clause, _BUCKETS if end is None else end + 1), offset, end)
        while ids := list(islice(identities, max(1, min(page, _BATCH)))):
            yield from self._hits(clause, ids)

    def count(self, clause: Body) -> int:
        """Return how many patients there are, exactly."""
        return sum(1 for _ in self._buckets("count", clause, [{"patient": {"terms": {"field": "patient"}}}], _BUCKETS))

    def _identities(self, clause: Body, size: int) -> Iterator[str]:
        seen: set[str] = set()
        sources = [{"key": {"terms": {"field": "patient_key"}}}]
        for bucket in self._buckets("query", clause, sources, min(size, _BUCKETS)):
            identity = bucket["key"]["key"].rpartition(SEPARATOR)[2]
            if identity not in seen:
                seen.add(identity)
                yield identity

    def _buckets(self, doing: str, clause: Body, sources: Sequence[Body], size: int) -> Iterator[Body]:
        composite: dict[str, Any] = {"size": size, "sources": list(sources)}
        body = {"size": 0, "track_total_hits": False, "query": clause, "aggs": {"all": {"composite": composite}}}
        while True:
            answer = self._connection.search(doing, body, self._names.studies)["aggregations"]["all"]
            yield from answer["buckets"]
            if len(answer["buckets"]) < size:
                return
            composite["after"] = answer["after_key"]

    def _hits(self, clause: Body, ids: Sequence[str]) -> list[Hit]:
        of_page = {"terms": {"patient": list(ids)}}
        body = {
            "size": len(ids),
            "track_total_hits": False,
            "query": {"bool": {"filter": [clause, of_page]}},
            "collapse": {"field": "patient"},
            "sort": [{"patient_key": "asc"}, {"received_us": "asc"}, {"study_id": "asc"}],
            "_source": ["patient", "attributes"],
        }
        documents = self._connection.search("query", body, self._names.studies)["hits"]["hits"]
        sources = {document["_source"]["patient"]: document["_source"] for document in documents}
        numbers = self._numbers(of_page)
        return [hit(Level.PATIENT, sources[key], numbers.get(key, {})) for key in ids if key in sources]

    def _numbers(self, of_page: Body) -> dict[str, dict[str, int]]:
        """Count the studies of each patient, and what is in them."""
        sources = [{"patient": {"terms": {"field": "patient"}}}, {"study": {"terms": {"field": "study_id"}}}]
        patient_of = {
            bucket["key"]["study"]: bucket["key"]["patient"]
            for bucket in self._buckets("count", of_page, sources, _BUCKETS)
        }
        numbers: dict[str, dict[str, int]] = {}
        studies = list(patient_of)
        for at in range(0, len(studies), _BUCKETS):
            batch = studies[at : at + _BUCKETS]
            indices = [self._names.series, self._names.instances]
            series, instances = self._connection.count_by("study_id", batch, indices)
            for study in batch:
                entry = numbers.setdefault(patient_of[study], {_STUDIES: 0, _SERIES: 0, _INSTANCES: 0})
                entry[_STUDIES] += 1
                entry[_SERIES] += series.get(study, 0)
                entry[_INSTANCES] += instances.get(study, 0)
        return numbers
