"""Writes a batch of instances, then the series and studies that they change.

Instances first: whoever derives a series or a study anew from its instances
sees each of them, or is seen by the write that follows. Every write is a
compare-and-set, so that the outcome does not depend on who was faster.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vna.domain.errors import InvalidInputError, UnavailableError
from vna.domain.records import IndexedInstance
from vna.index.elastic_client import Connection, Operation, Revision
from vna.index.elastic_derive import Deriver
from vna.index.elastic_documents import (
    Document,
    Representative,
    encode,
    instance_document,
    representative,
    series_document,
    study_document,
)
from vna.index.elastic_mapping import Names, generation_of
from vna.index.elastic_marker import Marker, marker_request, parse_marker
from vna.index.elastic_versions import Merged, merge, read_versions
from vna.ports.index import Upserted

ROUNDS = 30
_SETS = ("words", "modalities", "sop_classes", "combinations")


@dataclass(slots=True)
class Written:
    """What an upsert did: outcomes in the order given, where it wrote, and what stood in the marker afterwards."""

    outcomes: list[Upserted]
    generation: int
    marker: Marker
    refused: dict[str, str]

    def check(self) -> None:
        """Raise ``InvalidInputError`` naming the instances that the service will never take."""
        if self.refused:
            listed = "; ".join(f"SOP Instance UID {sop}: {reason}" for sop, reason in self.refused.items())
            raise InvalidInputError(f"Elasticsearch refuses {listed}")


@dataclass(slots=True)
class _Batch:
    """The instances of one call by identity, and what became of them."""

    groups: dict[str, list[tuple[int, IndexedInstance]]]
    merged: dict[str, Merged] = field(default_factory=dict)
    contents: dict[str, Document] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    generation: int = 0

    def given(self, key: str) -> list[IndexedInstance]:
        return [instance for _, instance in self.groups[key]]

    def refuse(self, key: str, reason: str) -> None:
        self.refused[self.given(key)[0].uids.sop] = reason
        self.merged.pop(key)
        self.contents.pop(key, None)


@dataclass(slots=True)
class _Growth:
    """What a batch adds to one series or study."""

    content: Document
    words: set[str] = field(default_factory=set)
    modalities: set[str] = field(default_factory=set)
    sop_classes: set[str] = field(default_factory=set)
    combinations: set[str] = field(default_factory=set)

    def add(self, content: Document) -> None:
        if representative(content) < representative(self.content):
            self.content = content
        self.words |= set(content["words"])
        self.modalities |= set(content["modality"])
        self.sop_classes.add(content["sop_class"])
        self.combinations.add(content["combinations"])


class Writer:
    """Upserts into the indices behind some aliases."""

    def __init__(self, connection: Connection, names: Names, prefix: str) -> None:
        self._connection = connection
        self._names = names
        self._prefix = prefix
        self._deriver = Deriver(connection, names)

    def upsert(self, instances: Sequence[IndexedInstance]) -> Written:
        """Write a batch."""
        groups: dict[str, list[tuple[int, IndexedInstance]]] = {}
        for place, instance in enumerate(instances):
            groups.setdefault(instance.uids.instance_id, []).append((place, instance))
        batch = _Batch(groups)
        self._write_instances(batch)
        marker = self._write_entities(batch)
        replaced = [key for key, merged in batch.merged.items() if merged.replaced]
        if replaced:
            # What the former content added to a set may have to go again.
            contents = [batch.contents[key] for key in replaced]
            self._deriver.derive({one["series_id"] for one in contents}, {one["study_id"] for one in contents})
        outcomes: dict[int, Upserted] = {}
        for key, merged in batch.merged.items():
            for (place, _), outcome in zip(batch.groups[key], merged.outcomes, strict=True):
                outcomes[place] = outcome
        ordered = [outcomes[place] for place in range(len(instances)) if place in outcomes]
        return Written(ordered, batch.generation, marker, batch.refused)

    def _write_instances(self, batch: _Batch) -> None:
        """Create each instance; where there is one, add to its contents what is new."""
        pending: dict[str, tuple[Sequence[Any], Revision | None]] = dict.fromkeys(batch.groups, ((), None))
        for attempt in range(ROUNDS):
            operations: list[Operation] = []
            for key, (stored, revision) in pending.items():
                batch.merged[key] = merge(read_versions(stored), batch.given(key))
                try:
                    operations += self._instance_operation(batch, key, revision)
                except InvalidInputError as error:
                    batch.refuse(key, str(error))
            lost = self._send_instances(batch, operations)
            if not lost:
                return
            _pause(attempt)
            wanted = [(self._names.instances, key, ["versions"]) for key in lost]
            pending = {}
            for key, answer in zip(lost, self._connection.get_many("upsert", wanted), strict=True):
                batch.generation = generation_of(answer["_index"])
                found = answer.get("found")
                versions = answer["_source"].get("versions", ()) if found else ()
                pending[key] = (versions, Revision(answer["_seq_no"], answer["_primary_term"]) if found else None)
        raise UnavailableError(f"Elasticsearch: upsert: others kept changing the same instances for {ROUNDS} rounds")

    def _instance_operation(self, batch: _Batch, key: str, revision: Revision | None) -> list[Operation]:
        merged = batch.merged[key]
        versions = [version.stored() for version in merged.versions]
        if merged.current is not None:
            batch.contents[key] = instance_document(merged.current, merged.versions[0].received_us, versions)
        else:
            batch.contents.pop(key, None)
        if not merged.changed:
            return []
        if merged.current is None:
            body = encode({"versions": versions})
            return [Operation("update", self._names.instances, key, body, revision)]
        action = "create" if revision is None else "index"
        return [Operation(action, self._names.instances, key, encode(batch.contents[key]), revision)]

    def _send_instances(self, batch: _Batch, operations: Sequence[Operation]) -> list[str]:
        lost: list[str] = []
        if not operations:
            return lost
        for operation, result in zip(operations, self._connection.bulk("upsert", operations), strict=True):
            if result.status in (404, 409):
                lost.append(operation.id)
            elif result.revision is None:
                batch.refuse(operation.id, f"{result.status} {result.reason}")
            else:
                batch.generation = generation_of(result.index)
        return lost

    def _write_entities(self, batch: _Batch) -> Marker:
        """Grow the series and studies of the current contents; return the marker, read after the instances' writes."""
        pending = {
            kind: _grow(batch.contents.values(), field_)
            for kind, field_ in (("series", "series_id"), ("studies", "study_id"))
        }
        marker: Marker | None = None
        for attempt in range(ROUNDS):
            keys = [(kind, key) for kind, grown in pending.items() for key in grown]
            wanted = [(self._names.of(kind), key, ["representative", *_SETS]) for kind, key in keys]
            answers = self._connection.get_many("upsert", [*wanted, marker_request(self._prefix)])
            marker = marker or parse_marker(answers[-1])
            operations: list[Operation] = []
            owners: list[tuple[str, str]] = []
            for (kind, key), answer in zip(keys, answers[:-1], strict=True):
                batch.generation = batch.generation or generation_of(answer["_index"])
                if operation := _entity_operation(kind, self._names.of(kind), key, pending[kind][key], answer):
                    operations.append(operation)
                    owners.append((kind, key))
            if not operations:
                return marker
            lost = _lost(owners, self._connection.bulk("upsert", operations))
            if not lost:
                return marker
            pending = {
                kind: {key: grown[key] for key in grown if (kind, key) in lost} for kind, grown in pending.items()
            }
            _pause(attempt)
        raise UnavailableError(f"Elasticsearch: upsert: others kept changing the same study for {ROUNDS} rounds")


def _grow(contents: Iterable[Document], field_: str) -> dict[str, _Growth]:
    grown: dict[str, _Growth] = {}
    for content in contents:
        grown.setdefault(content[field_], _Growth(content)).add(content)
    return grown


def _entity_operation(kind: str, index: str, key: str, growth: _Growth, answer: Document) -> Operation | None:
    names = _SETS if kind == "studies" else _SETS[:1]
    given: dict[str, set[str]] = {name: getattr(growth, name) for name in names}
    if not answer.get("found"):
        return Operation("create", index, key, encode(_entity(kind, growth.content, given)))
    source, revision = answer["_source"], Revision(answer["_seq_no"], answer["_primary_term"])
    union = {name: given[name] | set(source.get(name, ())) for name in names}
    if representative(growth.content) < Representative(*source["representative"]):
        return Operation("index", index, key, encode(_entity(kind, growth.content, union)), revision)
    larger = {name: sorted(union[name]) for name in names if len(union[name]) > len(source.get(name, ()))}
    return Operation("update", index, key, encode(larger), revision) if larger else None


def _entity(kind: str, content: Document, sets: dict[str, set[str]]) -> Document:
    build: Callable[..., Document] = study_document if kind == "studies" else series_document
    return build(content, **sets)


def _lost(owners: Sequence[tuple[str, str]], results: Sequence[Any]) -> set[tuple[str, str]]:
    lost = set()
    for owner, result in zip(owners, results, strict=True):
        if result.status in (404, 409):
            lost.add(owner)
        elif result.revision is None:
            raise InvalidInputError(f"Elasticsearch refuses the {owner[0]} document {owner[1]}: {result.reason}")
    return lost


def _pause(attempt: int) -> None:
    """Wait a little, a different while in each process."""
    time.sleep(random.uniform(0, min(0.005 * 2**attempt, 0.25)))  # noqa: S311 - spreads load, guards nothing
