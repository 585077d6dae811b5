"""What the Elasticsearch adapter does while the service is down, slow, busy, or its answers are lost.

Each upsert that a fault hits either succeeds or raises ``UnavailableError``;
called again after the fault it leaves what an undisturbed one leaves.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contracts import index_data as d
from tests.support.elasticsearch import drop_indices
from tests.support.http_proxy import HttpProxy, Message
from vna.config import IndexSettings
from vna.domain.errors import InvalidInputError, UnavailableError
from vna.domain.query import Level, Query, Selector
from vna.domain.records import IndexedInstance
from vna.index.elastic import ElasticIndex
from vna.ports.index import IndexCounts, Outcome

BATCH = [
    d.instance(f"1.{number % 2}", str(number % 3), str(number), received=number, size=1, terms={d.MODALITY: modality})
    for number in range(12)
    for modality in (("MR" if number % 4 == 3 else "CT"),)
]
WHOLE = IndexCounts(patients=1, studies=2, series=6, instances=12, bytes=12)


@pytest.fixture
def proxy(elasticsearch_url: str) -> Iterator[HttpProxy]:
    target = urlsplit(elasticsearch_url)
    assert target.hostname is not None
    with HttpProxy(target.hostname, target.port or 9200) as started:
        yield started


@pytest.fixture
def index(elasticsearch_url: str, proxy: HttpProxy) -> Iterator[ElasticIndex]:
    prefix = f"t{secrets.token_hex(6)}"
    opened = ElasticIndex(IndexSettings(kind="elasticsearch", hosts=(proxy.url,), prefix=prefix, timeout_seconds=2))
    opened.check()
    yield opened
    opened.close()
    drop_indices(elasticsearch_url, prefix)


def upsert_until_done(index: ElasticIndex, instances: list[IndexedInstance], proxy: HttpProxy, times: int = 20) -> int:
    """Do what a worker does: try again later. Return how often it failed."""
    for failures in range(times):
        try:
            index.upsert(instances)
        except UnavailableError:
            proxy.heal()
        else:
            return failures
    pytest.fail(f"upsert failed {times} times")


def assert_whole(index: ElasticIndex) -> None:
    index.refresh()
    assert index.counts() == WHOLE
    studies = index.query(Query(Level.STUDY))
    assert [hit.attributes[d.STUDY_INSTANCES]["Value"] for hit in studies] == [[6], [6]]
    by_uid = {hit.attributes[d.STUDY_UID]["Value"][0]: hit for hit in studies}
    assert by_uid["1.0"].attributes[d.MODALITIES_IN_STUDY]["Value"] == ["CT"]
    assert by_uid["1.1"].attributes[d.MODALITIES_IN_STUDY]["Value"] == ["CT", "MR"]
    located = list(index.locate(Selector(studies=("1.0", "1.1"))))
    assert sorted(found.digest for found in located) == sorted(one.digest for one in BATCH)


FAULTS: dict[str, Callable[[HttpProxy], None]] = {
    "bulk answers 503": lambda proxy: proxy.error(503, where="_bulk"),
    "bulk answers 429 once": lambda proxy: proxy.error(429, where="_bulk", times=1),
    "bulk answers 500": lambda proxy: proxy.error(500, where="_bulk"),
    "reading answers 502": lambda proxy: proxy.error(502, where="_mget"),
    "no Elasticsearch answers": lambda proxy: proxy.error(200, where="_bulk", body=b"<html>maintenance</html>"),
    "bulk is cut before it arrives": lambda proxy: proxy.cut_request(where="_bulk"),
    "answer of bulk is lost once": lambda proxy: proxy.cut_after(0, where="_bulk", times=1),
    "every answer of bulk is lost": lambda proxy: proxy.cut_after(0, where="_bulk"),
    "answer of bulk is cut in its body": lambda proxy: proxy.cut_after(200, where="_bulk", times=3),
    "answer of reading is cut": lambda proxy: proxy.cut_after(30, where="_mget", times=3),
    "slower than the time-out": lambda proxy: proxy.delay(3, where="_bulk", times=1),
    "down": lambda proxy: proxy.refuse(),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_upsert_hit_by_a_fault_is_made_whole_by_calling_again(
    index: ElasticIndex, proxy: HttpProxy, name: str
) -> None:
    FAULTS[name](proxy)
    upsert_until_done(index, BATCH, proxy)
    assert_whole(index)


@pytest.mark.parametrize("failing", range(1, 4))
def test_a_fault_at_each_step_of_an_upsert(index: ElasticIndex, proxy: HttpProxy, failing: int) -> None:
    """The instances are written, the entities are read, the entities are written: each in turn fails for good."""
    seen = 0

    def lose(request: Message, answer: Message) -> Message:
        nonlocal seen
        seen += 1
        return answer if seen < failing else Message("HTTP/1.1 503 Service Unavailable", [], b"")

    proxy.rewrite(lose, where="_bulk|_mget")
    with pytest.raises(UnavailableError):
        index.upsert(BATCH)
    proxy.heal()
    outcomes = {found.outcome for found in index.upsert(BATCH)}
    assert outcomes == {Outcome.DUPLICATE}
    assert_whole(index)


def _fail_items(status: int, kind: str, every: int) -> Callable[[Message, Message], Message]:
    """Turn some items of a bulk answer into failures, though they were stored."""

    def rewrite(request: Message, answer: Message) -> Message:
        body: dict[str, Any] = json.loads(answer.body)
        for place, item in enumerate(body.get("items", [])):
            if place % every == 0:
                [action] = item
                item[action] = {"status": status, "error": {"type": kind, "reason": "by the test"}}
        return Message(answer.line, answer.headers, json.dumps(body).encode())

    return rewrite


@pytest.mark.parametrize("status", [429, 503])
def test_items_refused_for_a_while_are_tried_again(index: ElasticIndex, proxy: HttpProxy, status: int) -> None:
    proxy.rewrite(_fail_items(status, "es_rejected_execution_exception", 3), where="_bulk", times=2)
    assert upsert_until_done(index, BATCH, proxy) == 0
    assert_whole(index)


def test_items_refused_for_long_are_unavailable(index: ElasticIndex, proxy: HttpProxy) -> None:
    proxy.rewrite(_fail_items(429, "es_rejected_execution_exception", 3), where="_bulk")
    with pytest.raises(UnavailableError, match="429"):
        index.upsert(BATCH)
    proxy.heal()
    index.upsert(BATCH)
    assert_whole(index)


def test_an_item_refused_for_good_is_named_and_the_others_are_found(index: ElasticIndex, proxy: HttpProxy) -> None:
    proxy.rewrite(_fail_items(400, "document_parsing_exception", 100), where="_bulk", times=1)
    with pytest.raises(InvalidInputError, match=rf"SOP Instance UID {BATCH[0].uids.sop}: 400") as raised:
        index.upsert(BATCH)
    assert BATCH[1].uids.sop not in str(raised.value)
    index.refresh()
    assert index.counts().instances == len(BATCH)  # the item was stored; its series are those of others
    assert index.counts().series == WHOLE.series


def test_a_lost_answer_makes_no_conflict(index: ElasticIndex, proxy: HttpProxy) -> None:
    proxy.cut_after(0, where="_bulk", times=1)
    found = index.upsert(BATCH)
    assert {one.outcome for one in found} <= {Outcome.CREATED, Outcome.DUPLICATE}
    assert all(one.current and not one.other_digest for one in found)
    assert_whole(index)


def test_a_conflict_whose_upsert_was_cut_short_is_seen_again(index: ElasticIndex, proxy: HttpProxy) -> None:
    index.upsert(BATCH)
    other = d.instance("1.0", "0", "0", content="other", received=100)
    proxy.error(503, where="_mget")
    with pytest.raises(UnavailableError):
        index.upsert([other])
    proxy.heal()
    (found,) = index.upsert([other])
    assert found.other_digest == BATCH[0].digest
    assert not found.current
    assert_whole(index)


def test_a_removal_cut_short_is_finished_by_calling_again(index: ElasticIndex, proxy: HttpProxy) -> None:
    index.upsert(BATCH)
    ids = [one.uids.instance_id for one in BATCH if one.uids.study == "1.0"]
    proxy.error(503, where="_msearch")
    with pytest.raises(UnavailableError):
        index.remove(ids)
    proxy.heal()
    index.refresh()
    assert index.counts().instances == 6
    index.remove(ids)
    index.refresh()
    assert index.counts() == IndexCounts(patients=1, studies=1, series=3, instances=6, bytes=6)


def test_everything_is_unavailable_while_the_service_is_down(index: ElasticIndex, proxy: HttpProxy) -> None:
    index.upsert(BATCH)
    proxy.refuse()
    calls: list[Callable[[], object]] = [
        index.check,
        index.refresh,
        index.counts,
        lambda: index.query(Query(Level.STUDY)),
        lambda: index.count(Query(Level.PATIENT)),
        lambda: list(index.scroll(Query(Level.SERIES))),
        lambda: list(index.locate(Selector(studies=("1.0",)))),
        lambda: index.facets(Query(Level.STUDY), [d.STUDY_DATE]),
        lambda: index.versions([BATCH[0].uids.instance_id]),
        lambda: index.remove([BATCH[0].uids.instance_id]),
        lambda: index.upsert(BATCH),
        lambda: index.get_state("key"),
        lambda: index.put_state("key", {}, None),
        lambda: index.rebuild().__enter__(),
        lambda: ElasticIndex(index._settings).check(),
    ]
    for call in calls:
        with pytest.raises(UnavailableError):
            call()
    proxy.heal()
    index.check()
    assert_whole(index)


def test_a_slow_service_is_unavailable_within_the_time_out(index: ElasticIndex, proxy: HttpProxy) -> None:
    proxy.delay(8, where="_search")
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        index.query(Query(Level.STUDY))
    assert time.monotonic() - began < 7


def test_a_rebuild_that_cannot_swap_leaves_the_old_index(index: ElasticIndex, proxy: HttpProxy) -> None:
    index.upsert(BATCH)

    def rebuild() -> None:
        with index.rebuild() as new:
            new.upsert(BATCH[:1])
            proxy.error(503, where="POST /_aliases")

    with pytest.raises(UnavailableError):
        rebuild()
    proxy.heal()
    assert_whole(index)


def test_a_swap_whose_answer_is_lost_is_a_swap(index: ElasticIndex, proxy: HttpProxy) -> None:
    index.upsert(BATCH)
    with index.rebuild() as new:
        new.upsert(BATCH[:1])
        proxy.rewrite(
            lambda _, __: Message("HTTP/1.1 503 Service Unavailable", [], b""), where="POST /_aliases", times=3
        )
    index.refresh()
    assert index.counts().instances == 1


def test_workers_racing_through_a_flaky_service_lose_and_double_nothing(index: ElasticIndex, proxy: HttpProxy) -> None:
    proxy.cut_after(0, where="_bulk", times=3)
    proxy.error(503, where="_mget", times=2)
    proxy.rewrite(_fail_items(429, "es_rejected_execution_exception", 2), where="_bulk", times=4)

    def work(start: int) -> None:
        mine = BATCH[start:] + BATCH[:start]
        for at in range(0, len(mine), 5):
            for _ in range(20):
                try:
                    index.upsert(mine[at : at + 5])
                except UnavailableError:
                    continue
                break

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, (0, 4, 8)))
    proxy.heal()
    assert_whole(index)
