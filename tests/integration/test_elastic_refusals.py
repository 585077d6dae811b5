"""Whose fault it is when Elasticsearch refuses something, and what of an index is left when a part of it is gone."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from tests.contracts import index_data as d
from tests.support.elasticsearch import drop_indices
from tests.support.instances import make_settings, part10, spool_one
from vna.bootstrap import Archive
from vna.config import IndexSettings
from vna.domain.errors import InvalidInputError, UnavailableError
from vna.domain.query import Level, Query
from vna.domain.records import IndexedInstance
from vna.index.elastic import ElasticIndex
from vna.lifecycle.index_loss import Loss, find_loss
from vna.lifecycle.reindex import reindex

KINDS = ("instances", "series", "studies")


@pytest.fixture
def settings(elasticsearch_url: str) -> Iterator[IndexSettings]:
    prefix = f"t{secrets.token_hex(6)}"
    yield IndexSettings(kind="elasticsearch", hosts=(elasticsearch_url,), prefix=prefix, timeout_seconds=10)
    drop_indices(elasticsearch_url, prefix)


@pytest.fixture
def index(settings: IndexSettings) -> Iterator[ElasticIndex]:
    opened = ElasticIndex(settings)
    yield opened
    opened.close()


@pytest.fixture
def client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with Elasticsearch(elasticsearch_url) as opened:
        yield opened


Refusal = Callable[[Elasticsearch, str], object]
REFUSALS: dict[str, tuple[Refusal, Refusal]] = {
    "closed": (
        lambda client, name: client.indices.close(index=name),
        lambda client, name: client.indices.open(index=name),
    ),
    **{
        block: (
            lambda client, name, block=block: client.indices.put_settings(index=name, settings={block: True}),
            lambda client, name, block=block: client.indices.put_settings(index=name, settings={block: None}),
        )
        for block in ("index.blocks.write", "index.blocks.read_only_allow_delete", "index.blocks.read_only")
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_service_that_takes_no_writes_blames_no_document(
    index: ElasticIndex, settings: IndexSettings, client: Elasticsearch, refusal: str, kind: str
) -> None:
    index.upsert([d.instance(sop="1")])
    index.check()
    name = f"{settings.prefix}-{kind}-000001"
    begin, end = REFUSALS[refusal]
    begin(client, name)
    try:
        with pytest.raises(UnavailableError):
            index.check()
        with pytest.raises(UnavailableError):
            index.upsert([d.instance("1.2", sop="2")])
    finally:
        end(client, name)
    client.cluster.health(index=name, wait_for_status="yellow")
    index.check()
    index.upsert([d.instance("1.2", sop="2")])
    index.refresh()
    assert index.counts().instances == 2


def test_indices_that_cannot_be_made_blame_no_document(index: ElasticIndex, client: Elasticsearch) -> None:
    client.cluster.put_settings(persistent={"cluster.max_shards_per_node": 1})
    try:
        for call in (index.check, lambda: index.upsert([d.instance()])):
            with pytest.raises(UnavailableError, match="shards"):
                call()
    finally:
        client.cluster.put_settings(persistent={"cluster.max_shards_per_node": None})
    index.upsert([d.instance()])


def test_a_check_leaves_a_document_in_the_state_index_alone(index: ElasticIndex) -> None:
    index.check()
    found = index._connection.client.search(index=f"{index._settings.prefix}-*", query={"ids": {"values": ["canary"]}})
    assert {hit["_index"].split("-")[1] for hit in found["hits"]["hits"]} <= {"state"}


def large(sop: str, value: str) -> IndexedInstance:
    one = d.instance(sop=sop)
    return replace(one, attributes=one.attributes | {"00104000": {"vr": "LT", "Value": [value]}})


def test_a_document_that_is_too_large_for_the_service_is_refused_alone(index: ElasticIndex) -> None:
    # Control characters take six bytes of JSON each: over http.max_content_length. The other is over what the
    # service takes at once into its memory: 429, for ever.
    too_long, too_heavy = large("8", "\1" * (20 << 20)), large("9", "x" * (90 << 20))
    fine = [d.instance(sop=str(number)) for number in range(3)]
    with pytest.raises(InvalidInputError, match=rf"{too_long.uids.sop}: 413 .* bytes of JSON") as raised:
        index.upsert([fine[0], too_long, fine[1], too_heavy, fine[2]])
    assert f"{too_heavy.uids.sop}: 413" in str(raised.value)
    assert all(f"{one.uids.sop}:" not in str(raised.value) for one in fine)
    index.refresh()
    assert index.counts().instances == 3
    index.check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("generation", [1, 2])
def test_a_part_that_is_gone_is_made_anew_and_is_a_loss(
    index: ElasticIndex, settings: IndexSettings, client: Elasticsearch, kind: str, generation: int
) -> None:
    index.mark_built()
    index.upsert([d.instance("1.1"), d.instance("1.2")])
    if generation == 2:
        with index.rebuild() as new:
            new.upsert([d.instance("1.1"), d.instance("1.2")])
    assert index.built()
    client.indices.delete(index=f"{settings.prefix}-{kind}-{generation:06d}")
    assert not index.built()
    index.upsert([d.instance("1.3")])
    other = ElasticIndex(settings)
    other.upsert([d.instance("1.4")])
    other.refresh()
    assert {"1.3", "1.4"} <= {hit.first(d.STUDY_UID) for hit in other.query(Query(Level.STUDY))}
    assert not other.built()
    with other.rebuild() as new:
        new.upsert([d.instance("1.1")])
    assert other.built()
    index.refresh()
    assert index.counts().instances == 1
    other.close()


@pytest.mark.parametrize("state", [True, False])
def test_an_index_that_is_gone_as_a_whole_is_a_loss(
    index: ElasticIndex, settings: IndexSettings, client: Elasticsearch, state: bool
) -> None:
    with index.rebuild() as new:
        new.upsert([d.instance("1.1")])
    for name in (*(f"{kind}-000002" for kind in KINDS), *(["state-000001"] if state else [])):
        client.indices.delete(index=f"{settings.prefix}-{name}")
    for opened in (index, ElasticIndex(settings)):
        opened.upsert([d.instance("1.2")])
        opened.refresh()
        assert opened.counts().instances == 1
        assert not opened.built()
    with index.rebuild() as new:
        new.upsert([d.instance("1.1")])
    assert index.built()
    opened.close()


def test_an_alias_that_is_gone_is_a_loss_and_what_it_named_is_found(
    index: ElasticIndex, settings: IndexSettings, client: Elasticsearch
) -> None:
    index.mark_built()
    index.upsert([d.instance("1.1")])
    alias = f"{settings.prefix}-series"
    client.indices.delete_alias(index=f"{alias}-000001", name=alias)
    index.upsert([d.instance("1.2")])
    assert not index.built()
    index.refresh()
    assert index.counts().series == 2


def test_an_index_of_the_version_before_is_built_if_it_has_rows(
    index: ElasticIndex, settings: IndexSettings, client: Elasticsearch
) -> None:
    index.check()
    for kind in KINDS:
        client.indices.put_mapping(index=f"{settings.prefix}-{kind}", meta={"layout": 2})
    assert not index.built()
    index.upsert([d.instance()])
    index.refresh()
    assert index.built()
    client.indices.delete(index=f"{settings.prefix}-series-000001")
    assert not index.built()


def test_an_archive_that_lost_a_part_says_so_until_it_is_rebuilt(
    settings: IndexSettings, client: Elasticsearch, tmp_path: Path
) -> None:
    archive = Archive(make_settings(tmp_path / "data").model_copy(update={"index": settings}))
    for number in range(3):
        spool_one(archive.spool, part10(number))
    committer = archive.committer()
    committer.commit([entry.name for entry in archive.spool.entries()])
    assert archive.index.built()
    assert find_loss(archive.objects, archive.index) is None
    client.indices.delete(index=f"{settings.prefix}-studies-000001")
    assert find_loss(archive.objects, archive.index) == Loss(3)
    assert not archive.index.built()
    reindex(archive.objects, archive.index)
    assert find_loss(archive.objects, archive.index) is None
    committer.close()
    archive.close()
