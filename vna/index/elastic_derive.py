"""Derives series and studies anew from their instances: after a removal, or when another content became current."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from vna.domain.errors import UnavailableError
from vna.index.elastic_client import Body, Connection, Operation, Revision
from vna.index.elastic_documents import Document, encode, series_document, study_document
from vna.index.elastic_mapping import Names, generation_of
from vna.index.elastic_marker import Marker, marker_request, parse_marker

_ROUNDS = 20
_MOST_VALUES = 10_000
_BATCH = 200
_COMPARED = ("representative", "words", "modalities", "sop_classes", "combinations")
_SETS = ("words", "modality", "sop_class", "combinations")


@dataclass(frozen=True, slots=True)
class Removed:
    """How many instances a removal found, where, and what stood in the marker afterwards."""

    count: int
    generation: int
    marker: Marker


class Deriver:
    """Writes what the instances of one generation say."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection = connection
        self._names = names

    def derive(self, series: Collection[str], studies: Collection[str]) -> None:
        """Bring series and studies in line with their instances.

        What was written is looked at again: an instance that came between the
        look and the write is then seen, as searches do not see it at once.
        """
        entities = [("series", key) for key in sorted(series)] + [("studies", key) for key in sorted(studies)]
        for at in range(0, len(entities), _BATCH):
            self._derive(entities[at : at + _BATCH])

    def _derive(self, pending: list[tuple[str, str]]) -> None:
        for _ in range(_ROUNDS):
            fields = list(_COMPARED)
            stored = self._connection.get_many("derive", [(self._names.of(kind), key, fields) for kind, key in pending])
            self._connection.refresh(self._names.instances)
            found = self._connection.multi_search(
                "derive", [(self._names.instances, _contents(kind, key)) for kind, key in pending]
            )
            operations: list[Operation] = []
            changed: list[tuple[str, str]] = []
            for (kind, key), answer, expected in zip(pending, stored, found, strict=True):
                operation = self._operation(kind, key, answer, _expected(kind, expected))
                if operation is not None:
                    operations.append(operation)
                    changed.append((kind, key))
            if not operations:
                return
            for result in self._connection.bulk("derive", operations):
                if result.status >= 300 and result.status not in (404, 409):
                    raise UnavailableError(f"Elasticsearch: derive: {result.status} {result.reason}")
            pending = changed
        raise UnavailableError(f"Elasticsearch: derive: others kept changing the same study for {_ROUNDS} rounds")

    def _operation(self, kind: str, key: str, answer: Body, expected: Document | None) -> Operation | None:
        index, there = self._names.of(kind), answer.get("found")
        revision = Revision(answer["_seq_no"], answer["_primary_term"]) if there else None
        if expected is None:
            return Operation("delete", index, key, expected=revision) if there else None
        if not there:
            return Operation("create", index, key, encode(expected))
        if all(answer["_source"].get(name) == expected.get(name) for name in _COMPARED):
            return None
        return Operation("index", index, key, encode(expected), revision)


class Remover:
    """Forgets instances of one generation."""

    def __init__(self, connection: Connection, names: Names, prefix: str) -> None:
        self._connection = connection
        self._names = names
        self._prefix = prefix
        self._deriver = Deriver(connection, names)

    def remove(self, instance_ids: Sequence[str]) -> Removed:
        """Mark instances as removed, put their series and studies right, then delete them.

        When it fails half-way, the marks still tell the next call which series
        and studies to look at.
        """
        ids = list(dict.fromkeys(instance_ids))
        count, generation = 0, 0
        series: set[str] = set()
        studies: set[str] = set()
        marked: list[tuple[str, Revision]] = []
        pending = ids
        for _ in range(_ROUNDS):
            wanted = [(self._names.instances, key, ["series_id", "study_id", "removed"]) for key in pending]
            operations: list[Operation] = []
            for key, answer in zip(pending, self._connection.get_many("remove", wanted), strict=True):
                generation = generation_of(answer["_index"])
                if not answer.get("found"):
                    continue
                source, revision = answer["_source"], Revision(answer["_seq_no"], answer["_primary_term"])
                series.add(source["series_id"])
                studies.add(source["study_id"])
                if source.get("removed"):
                    marked.append((key, revision))
                else:
                    mark = {"series_id": source["series_id"], "study_id": source["study_id"], "removed": True}
                    operations.append(Operation("index", self._names.instances, key, encode(mark), revision))
            pending = []
            for operation, result in zip(operations, self._bulk(operations), strict=True):
                if result.revision is not None:
                    count += 1
                    marked.append((operation.id, result.revision))
                else:
                    pending.append(operation.id)
            if not pending:
                break
        else:
            raise UnavailableError(f"Elasticsearch: remove: others kept changing the same instances ({len(pending)})")
        self._deriver.derive(series, studies)
        # An instance that came back meanwhile has another revision, and stays.
        self._bulk([Operation("delete", self._names.instances, key, expected=revision) for key, revision in marked])
        [answer] = self._connection.get_many("remove", [marker_request(self._prefix)])
        return Removed(count, generation, parse_marker(answer))

    def _bulk(self, operations: Sequence[Operation]) -> list[Any]:
        return self._connection.bulk("remove", operations) if operations else []


def _contents(kind: str, key: str) -> Body:
    field = "series_id" if kind == "series" else "study_id"
    values = {name: {"terms": {"field": name, "size": _MOST_VALUES}} for name in _SETS}
    return {
        "size": 1,
        "track_total_hits": False,
        "query": {"bool": {"filter": [{"term": {field: key}}], "must_not": [{"term": {"removed": True}}]}},
        "sort": [{"received_us": "asc"}, {"instance_id": "asc"}],
        "aggs": values,
    }


def _expected(kind: str, answer: Body) -> Document | None:
    if not answer["hits"]["hits"]:
        return None
    content = answer["hits"]["hits"][0]["_source"]
    sets = {name: [bucket["key"] for bucket in found["buckets"]] for name, found in answer["aggregations"].items()}
    if kind == "series":
        return series_document(content, sets["words"])
    return study_document(content, sets["words"], sets["modality"], sets["sop_class"], sets["combinations"])
