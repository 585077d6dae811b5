"""Searches: pages, scrolls, counts and facets of one generation of the index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vna.domain.query import Criterion, Facet, Hit, Level, Query, Selector
from vna.domain.records import Location
from vna.index import elastic_query as dsl
from vna.index.elastic_client import Body, Connection
from vna.index.elastic_documents import LOCATION_FIELDS, hit, location, term_prefix
from vna.index.elastic_errors import MissingIndexError, body_of, vendor_errors
from vna.index.elastic_mapping import Names
from vna.index.elastic_patients import Patients
from vna.ports.index import IndexCounts, Total

# Beyond that many results a page is not ranked again but walked to (index.max_result_window).
WINDOW = 10_000
_WALK = 1000
KEEP_ALIVE = "5m"
_SWAPS = 3

_STUDY_SERIES, _STUDY_INSTANCES, _SERIES_INSTANCES = "00201206", "00201208", "00201209"
_SOURCES: dict[Level, list[str]] = {
    Level.STUDY: ["study_id", "modalities", "sop_classes", "attributes"],
    Level.SERIES: ["series_id", "attributes"],
    Level.INSTANCE: ["instance_id", "attributes", *LOCATION_FIELDS],
}


class Searcher:
    """Answers queries from the indices behind some aliases."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection = connection
        self._names = names
        self._patients = Patients(connection, names)

    def page(self, query: Query) -> list[Hit]:
        """Return a page of results."""
        clause = dsl.clause(query)
        if query.limit == 0:
            return []
        if query.level is Level.PATIENT:
            return self._patients.page(clause, query.offset, query.limit)
        size = _WALK if query.limit is None else query.limit
        if query.offset + size <= WINDOW:
            body = self._body(query, clause, size) | {"from": query.offset}
            documents = self._connection.search("query", body, self._index(query.level))["hits"]["hits"]
            if query.limit is not None or len(documents) < size:
                return self._hits(query.level, documents)
        walk = self._walk(query, clause, _WALK, query.offset, limit=query.limit)
        return [found for documents in walk for found in self._hits(query.level, documents)]

    def scroll(self, query: Query, page: int) -> Iterator[Hit]:
        """Yield every match, from one state of the index unless it is swapped meanwhile."""
        clause = dsl.clause(query)
        if query.level is Level.PATIENT:
            yield from self._patients.scroll(clause, page, query.offset, query.limit)
            return
        wanted = query.limit
        for documents in self._walk(query, clause, max(1, min(page, WINDOW)), query.offset, limit=wanted):
            yield from self._hits(query.level, documents)

    def count(self, query: Query) -> int:
        """Return the number of matches."""
        clause = dsl.clause(query)
        if query.level is Level.PATIENT:
            return self._patients.count(clause)
        body = {"size": 0, "track_total_hits": True, "query": clause}
        answer = self._connection.search("count", body, self._index(query.level))
        return int(answer["hits"]["total"]["value"])

    def facets(self, query: Query, paths: Sequence[str], top: int, *, studies: bool = False) -> dict[str, list[Facet]]:
        """Return the most frequent values of some paths."""
        clause = dsl.clause(query)
        wanted = {path: dsl.facet(path, query.level, top, studies=studies) for path in paths} if top > 0 else {}
        aggregations = {str(place): wanted[path] for place, path in enumerate(paths) if wanted.get(path)}
        found: dict[str, list[Facet]] = {path: [] for path in paths}
        if not aggregations:
            return found
        body = {"size": 0, "track_total_hits": False, "query": clause, "aggs": aggregations}
        answer = self._connection.search("facets", body, self._index(query.level))["aggregations"]
        for place, path in enumerate(paths):
            spot = dsl.place_of(path, query.level)
            for bucket in answer.get(str(place), {}).get("buckets", []):
                value = bucket["key"].removeprefix(term_prefix(path)) if spot and spot.prefix else bucket["key"]
                number = bucket["of"]["value"] if "of" in bucket else bucket["doc_count"]
                found[path].append(Facet(value, number))
        return found

    def totals(self, path: str, top: int) -> list[Total]:
        """Return what is stored by the values of a path."""
        body = {"size": 0, "track_total_hits": False, "query": dsl.clause(Query(Level.INSTANCE))}
        answer = self._connection.search("totals", body | {"aggs": dsl.totals(path, top)}, self._names.instances)
        found = answer["aggregations"]
        buckets = [(bucket["key"].removeprefix(term_prefix(path)), bucket) for bucket in found["some"]["buckets"]]
        totals = [
            Total(
                value,
                bucket["studies"]["value"],
                bucket["series"]["value"],
                bucket["doc_count"],
                int(bucket["bytes"]["value"]),
            )
            for value, bucket in [*buckets, ("", found["none"])]
            if bucket["doc_count"]
        ]
        return sorted(totals, key=lambda total: (-total.bytes, total.value))[:top]

    def locate(self, selector: Selector, criteria: Sequence[Criterion] = ()) -> Iterator[Location]:
        """Yield the locations of a selection."""
        clause = dsl.selection(selector, criteria)
        if clause is None:
            return
        for documents in self._walk(Query(Level.INSTANCE), clause, WINDOW // 2, fields=list(LOCATION_FIELDS)):
            for document in documents:
                yield location(document["_source"])

    def counts(self) -> IndexCounts:
        """Return how much there is."""
        total = {"size": 0, "track_total_hits": True}
        instances = dsl.clause(Query(Level.INSTANCE))
        answers = self._connection.multi_search(
            "counts",
            [
                (self._names.studies, total),
                (self._names.series, total),
                (self._names.instances, total | {"query": instances, "aggs": {"bytes": {"sum": {"field": "size"}}}}),
            ],
        )
        studies, series, found = (answer["hits"]["total"]["value"] for answer in answers)
        size = int(answers[2]["aggregations"]["bytes"]["value"] or 0)
        return IndexCounts(self._patients.count(dsl.EVERYTHING), studies, series, found, size)

    def _index(self, level: Level) -> str:
        return self._names.of(dsl.KIND_OF[level])

    def _body(self, query: Query, clause: dsl.Clause, size: int, fields: list[str] | None = None) -> Body:
        return {
            "size": size,
            "track_total_hits": False,
            "query": clause,
            "sort": dsl.sort_of(query),
            "_source": _SOURCES[query.level] if fields is None else fields,
        }

    def _walk(
        self,
        query: Query,
        clause: dsl.Clause,
        page: int,
        skip: int = 0,
        *,
        limit: int | None = None,
        fields: list[str] | None = None,
    ) -> Iterator[list[Body]]:
        """Yield the matches in the query's order, in pages by search_after on a point in time, ``skip`` left out.

        When the index is swapped and dropped its point in time is gone: the
        walk goes on in the new one.
        """
        after: list[Any] | None = None
        swaps = 0
        while limit is None or limit > 0:
            point = self._open(query.level)
            try:
                while limit is None or limit > 0:
                    skipping = min(skip, WINDOW)
                    size = skipping or (page if limit is None else min(page, limit))
                    body = self._body(query, clause, size, [] if skipping else fields)
                    body["pit"] = {"id": point, "keep_alive": KEEP_ALIVE}
                    if after is not None:
                        body["search_after"] = after
                    answer = self._connection.search("scroll", body)
                    point = answer.get("pit_id", point)
                    documents = answer["hits"]["hits"]
                    if documents:
                        # The last one is the tie-break that a point in time adds; identities need none.
                        after = documents[-1]["sort"][: len(dsl.sort_of(query))]
                    if skipping:
                        skip -= len(documents)
                    elif documents:
                        limit = limit if limit is None else limit - len(documents)
                        yield documents
                    if len(documents) < size:
                        return
            except MissingIndexError:
                swaps += 1
                if swaps > _SWAPS:
                    raise
            finally:
                self._close(point)

    def _open(self, level: Level) -> str:
        with vendor_errors("scroll"):
            client = self._connection.client
            answer = client.open_point_in_time(index=self._index(level), keep_alive=KEEP_ALIVE)
        return str(body_of(answer, "scroll")["id"])

    def _close(self, point: str) -> None:
        try:
            with vendor_errors("scroll"):
                self._connection.client.close_point_in_time(id=point)
        except Exception:  # noqa: BLE001, S110 - it ends by itself after the keep-alive; what was found stands
            pass

    def _hits(self, level: Level, documents: Sequence[Body]) -> list[Hit]:
        sources = [document["_source"] for document in documents]
        if level is Level.INSTANCE or not sources:
            return [hit(level, source, {}) for source in sources]
        numbers = self._numbers(level, sources)
        return [hit(level, source, number) for source, number in zip(sources, numbers, strict=True)]

    def _numbers(self, level: Level, sources: Sequence[Body]) -> list[dict[str, int]]:
        """Count what belongs to each series or study.

        An entity that is found has one series and one instance at least: the
        indices become visible one by one, and those may come a moment later.
        """
        if level is Level.SERIES:
            ids = [source["series_id"] for source in sources]
            [instances] = self._connection.count_by("series_id", ids, [self._names.instances])
            return [{_SERIES_INSTANCES: max(1, instances.get(key, 0))} for key in ids]
        ids = [source["study_id"] for source in sources]
        series, instances = self._connection.count_by("study_id", ids, [self._names.series, self._names.instances])
        return [
            {_STUDY_SERIES: max(1, series.get(key, 0)), _STUDY_INSTANCES: max(1, instances.get(key, 0))} for key in ids
        ]
