"""What is particular to the index in Elasticsearch: shards, deep pages, odd texts, generations, forks."""

from __future__ import annotations

import multiprocessing
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from tests.contracts import index_data as d
from tests.support.elasticsearch import drop_indices
from vna.config import IndexSettings
from vna.domain.errors import InvalidInputError
from vna.domain.query import AnyOf, Level, Query, Range, Selector, Wildcard
from vna.index import elastic_marker, elastic_patients, elastic_search
from vna.index.elastic import ElasticIndex
from vna.ports.index import Index, Outcome


@pytest.fixture
def settings(elasticsearch_url: str) -> Iterator[IndexSettings]:
    prefix = f"t{secrets.token_hex(6)}"
    yield IndexSettings(kind="elasticsearch", hosts=(elasticsearch_url,), prefix=prefix, shards=2)
    drop_indices(elasticsearch_url, prefix)


@pytest.fixture
def index(settings: IndexSettings) -> Iterator[ElasticIndex]:
    opened = ElasticIndex(settings)
    yield opened
    opened.close()


def test_pages_beyond_the_window_are_walked_to(index: ElasticIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.upsert(
        [
            d.instance(
                f"1.{n}", sop=str(n), terms={d.PATIENT_ID: str(n % 9), d.STUDY_DATE: None if n % 5 else "20240101"}
            )
            for n in range(40)
        ]
    )
    index.refresh()
    whole = {level: [hit.id for hit in index.query(Query(level))] for level in Level}
    monkeypatch.setattr(elastic_search, "WINDOW", 6)
    monkeypatch.setattr(elastic_search, "_WALK", 4)
    monkeypatch.setattr(elastic_patients, "_BUCKETS", 4)
    for level in Level:
        assert [hit.id for hit in index.query(Query(level))] == whole[level]
        for offset in (0, 5, 17, 33, 39, 40):
            found = [hit.id for hit in index.query(Query(level, limit=7, offset=offset))]
            assert found == whole[level][offset : offset + 7]
        assert [hit.id for hit in index.scroll(Query(level, offset=8, limit=13), page=5)] == whole[level][8:21]
        assert index.count(Query(level)) == len(whole[level])


def test_texts_that_are_no_texts_are_stored_and_found(index: ElasticIndex) -> None:
    odd = {
        d.ACCESSION: "nul\0byte",
        d.STUDY_DESCRIPTION: "half \ud83d pair",
        "00104000": "x" * 40_000,
        "00291008@TAB\tAND\0NUL": "creator",
        "00291009@.. dots ..": "dots",
    }
    given = d.instance(words=("w" * 40_000, "plain"), terms=odd)
    assert index.upsert([given])[0].outcome is Outcome.CREATED
    index.refresh()
    for path, value in odd.items():
        assert index.count(Query(Level.INSTANCE, (AnyOf(path, (value,)),))) == 1, path
        assert index.count(Query(Level.INSTANCE, (Wildcard(path, value[:3] + "*"),))) == 1, path
        assert index.count(Query(Level.INSTANCE, (Range(path, value[:2], None),))) == 1, path
    assert index.upsert([given])[0].outcome is Outcome.DUPLICATE


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"00080100": {"vr": "SH", "Value": [0.1, 1e-7, 1 << 70]}}
    for _ in range(depth):
        value = {"0040A730": {"vr": "SQ", "Value": [value]}}
    return value


def test_sequences_nested_as_deep_as_they_come(index: ElasticIndex) -> None:
    one = d.instance(sop="1")
    given = replace(one, attributes=one.attributes | nested(60))
    index.upsert([given])
    index.refresh()
    (hit,) = index.query(Query(Level.INSTANCE))
    assert hit.attributes == given.attributes


def test_sequences_nested_beyond_reason_are_refused_by_name_and_alone(index: ElasticIndex) -> None:
    deep = [replace(d.instance(sop=f"9{depth}"), attributes=nested(depth)) for depth in (400, 5000)]
    with pytest.raises(InvalidInputError, match=deep[1].uids.sop) as raised:
        index.upsert([d.instance(sop="1"), *deep])
    assert deep[0].uids.sop in str(raised.value)
    index.refresh()
    assert index.counts().instances == 1
    with pytest.raises(InvalidInputError):
        index.upsert(deep[1:])


def test_a_name_beyond_all_measure_still_makes_a_patient(index: ElasticIndex) -> None:
    index.upsert([d.instance(terms={d.PATIENT_NAME: "n" * 50_000, d.PATIENT_ID: "i" * 50_000})])
    index.refresh()
    assert len(index.query(Query(Level.PATIENT))) == 1
    assert index.counts().patients == 1


def test_one_patient_under_two_names_stands_once(index: ElasticIndex) -> None:
    index.upsert([d.instance("1.1", terms={d.PATIENT_NAME: "b^b"}), d.instance("1.2", terms={d.PATIENT_NAME: "a^a"})])
    index.upsert([d.instance("1.3", terms={d.PATIENT_NAME: "c^c", d.PATIENT_ID: "P2"})])
    index.refresh()
    hits = index.query(Query(Level.PATIENT))
    assert [hit.attributes[d.PATIENT_STUDIES]["Value"] for hit in hits] == [[2], [1]]
    assert hits[0].attributes[d.PATIENT_NAME]["Value"] == [{"Alphabetic": "A^A"}]
    assert [hit.id for hit in index.query(Query(Level.PATIENT, (Wildcard(d.PATIENT_NAME, "b*"),)))] == [hits[0].id]


def test_a_batch_of_a_thousand(index: ElasticIndex) -> None:
    given = [d.instance(f"1.{n % 250}", str(n % 3), str(n)) for n in range(1000)]
    assert {found.outcome for found in index.upsert(given)} == {Outcome.CREATED}
    index.refresh()
    assert (index.counts().studies, index.counts().instances) == (250, 1000)
    assert index.remove([one.uids.instance_id for one in given if one.uids.study != "1.7"]) == 996
    index.refresh()
    assert (index.counts().studies, index.counts().instances) == (1, 4)


def test_a_generation_that_a_scroll_reads_is_dropped_later(
    index: ElasticIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.upsert([d.instance(f"1.{n}") for n in range(5)])
    index.refresh()
    scroll = index.scroll(Query(Level.STUDY), page=2)
    next(scroll)
    with index.rebuild() as new:
        new.upsert([d.instance("2.1")])
    assert index._layout.generations() == {1, 2}
    index.upsert([d.instance("2.2")])
    assert index._layout.generations() == {1, 2}
    assert len(list(scroll)) == 4
    monkeypatch.setattr(elastic_marker, "RETIREMENT_SECONDS", 0)
    index.upsert([d.instance("2.3")])
    assert index._layout.generations() == {2}


def test_a_scroll_whose_generation_is_gone_goes_on_in_the_new_one(index: ElasticIndex) -> None:
    given = [d.instance(f"1.{n}") for n in range(9)]
    index.upsert(given)
    index.refresh()
    expected = [hit.id for hit in index.query(Query(Level.STUDY))]
    scroll = index.scroll(Query(Level.STUDY), page=3)
    found = [next(scroll).id]
    for _ in range(2):  # the second one drops what the first one left for the scroll
        with index.rebuild() as new:
            new.upsert(given)
    found += [hit.id for hit in scroll]
    assert found == expected


def test_writes_go_on_when_the_indices_of_a_dead_rebuild_are_gone(
    index: ElasticIndex, elasticsearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.upsert([d.instance("1.1")])
    dead = index.rebuild()
    dead.__enter__()
    drop_indices_of_generation_two(index, elasticsearch_url)
    monkeypatch.setattr(elastic_marker, "LEASE_SECONDS", 0)
    index.upsert([d.instance("1.2")])
    index.refresh()
    assert index.counts().studies == 2
    with pytest.raises(GeneratorExit):
        dead.gen.throw(GeneratorExit)  # type: ignore[attr-defined]


def drop_indices_of_generation_two(index: ElasticIndex, url: str) -> None:
    for kind in ("instances", "series", "studies"):
        index._layout._delete(f"{index._layout.prefix}-{kind}-000002")


def _write_in_a_fork(index: Index) -> None:
    index.upsert([d.instance("1.2")])


def test_an_index_opened_before_a_fork_serves_both_processes(index: ElasticIndex) -> None:
    index.upsert([d.instance("1.1")])
    child = multiprocessing.get_context("fork").Process(target=_write_in_a_fork, args=(index,))
    child.start()
    index.upsert([d.instance("1.3")])
    child.join(60)
    assert child.exitcode == 0
    index.refresh()
    assert index.counts().studies == 3
    assert len(list(index.locate(Selector(patient_id="P1")))) == 3


def test_an_index_of_an_earlier_version_says_so_until_it_is_rebuilt(
    index: ElasticIndex, settings: IndexSettings, elasticsearch_url: str
) -> None:
    assert not index.outdated()
    with Elasticsearch(elasticsearch_url) as client:
        client.indices.put_mapping(index=f"{settings.prefix}-studies", meta={"layout": 1})
    assert index.outdated()
    with index.rebuild():
        pass
    assert not index.outdated()
