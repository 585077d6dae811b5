"""Elasticsearch and S3 fail in every way while instances arrive: acknowledgements go on, and all is found later."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.archive import RunningArchive, running_archive, scaled_environment
from tests.support.elasticsearch import drop_indices
from tests.support.http_proxy import HttpProxy, Message
from tests.support.oracle import Oracle, load
from tests.support.ports import wait_until
from tests.support.s3 import S3Service
from vna.ingest.spool import Spool

FAULT_SECONDS = 5


@dataclass
class _Behind:
    archive: RunningArchive
    elasticsearch: str
    search: HttpProxy
    store: HttpProxy

    def waiting(self) -> int:
        with closing(Spool(self.archive.data / "spool", log_bytes=0)) as spool:
            return spool.count().entries

    def heal(self) -> None:
        self.search.heal()
        self.store.heal()


@pytest.fixture
def behind(minio: S3Service, elasticsearch_url: str, valkey_url: str, tmp_path: Path) -> Iterator[_Behind]:
    environment = scaled_environment(minio, elasticsearch_url, valkey_url)
    index, objects = urlsplit(elasticsearch_url), urlsplit(minio.endpoint)
    with (
        HttpProxy(index.hostname or "", index.port or 0) as search,
        HttpProxy(objects.hostname or "", objects.port or 0) as store,
    ):
        environment |= {"VNA_STORE__ENDPOINT": store.url, "VNA_INDEX__HOSTS": json.dumps([search.url])}
        with running_archive(tmp_path / "data", **environment) as archive:
            yield _Behind(archive, elasticsearch_url, search, store)
    drop_indices(elasticsearch_url, environment["VNA_INDEX__PREFIX"])


def _receive_through(behind: _Behind, fault: Callable[[], None]) -> tuple[Oracle, int]:
    """Send before, during and after a fault; return the oracle, and how many entries waited when the fault ended."""
    with load(behind.archive, dimse=1) as oracle:
        # Some are stored, so all that is made at first is made.
        wait_until(lambda: behind.waiting() + 10 < len(oracle.acknowledged), 60, "it stores")
        before, first = len(oracle.acknowledged), len(oracle.seconds)
        fault()
        time.sleep(FAULT_SECONDS)
        waiting = behind.waiting()
        during = len(oracle.acknowledged) - before
        behind.heal()
        time.sleep(1)
    assert not oracle.refused
    assert during > 50, "it goes on receiving"
    # Whoever waited for the services would have waited for as long as they were away.
    assert median(oracle.seconds[first:]) < 0.5
    assert max(oracle.seconds[first:]) < FAULT_SECONDS
    return oracle, waiting


def _down(behind: _Behind) -> None:
    behind.search.refuse()
    behind.store.refuse()


def _slow(behind: _Behind) -> None:
    behind.search.delay(2)
    behind.store.delay(2)


def _errors(behind: _Behind) -> None:
    for proxy in (behind.search, behind.store):
        proxy.error(500, times=4)  # the first fault that applies is the one that is answered
        proxy.error(503)


def _cut(behind: _Behind) -> None:
    # In the body of what Elasticsearch answers, in the head of what S3 does: its answers to writes have no body.
    behind.search.cut_after(300)
    behind.store.cut_after(40)


@pytest.mark.parametrize("fault", [_down, _slow, _errors, _cut])
def test_acknowledgements_go_on_and_all_is_found_later(behind: _Behind, fault: Callable[[_Behind], None]) -> None:
    oracle, waiting = _receive_through(behind, lambda: fault(behind))
    assert waiting > 20, "the fault kept nobody from storing"
    oracle.check(behind.archive, 90)


@dataclass
class _RefuseSome:
    """Undoes every third document that a bulk request made, and says of it that the node was too busy."""

    elasticsearch: str
    refused: list[str] = field(default_factory=list)
    seen: int = 0

    def __call__(self, request: Message, answer: Message) -> Message:
        lines = [json.loads(line) for line in request.body.splitlines() if b'"_id"' in line[:200]]
        heads = [next(iter(line.values())) for line in lines if line.keys() & {"create", "index", "update", "delete"}]
        body = json.loads(answer.body)
        items = body.get("items", [])
        assert len(heads) == len(items)
        for head, item in zip(heads, items, strict=True):
            [(action, result)] = item.items()
            if action != "create" or result["status"] != 201:
                continue
            self.seen += 1
            if self.seen % 3 == 0:
                url = f"{self.elasticsearch}/{result['_index']}/_doc/{head['_id']}"
                httpx.delete(url, timeout=10).raise_for_status()
                item[action] = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "busy"}}
                self.refused.append(head["_id"])
        return Message(answer.line, answer.headers, json.dumps(body).encode())


def test_partial_failures_of_bulk_requests_leave_nobody_out(behind: _Behind) -> None:
    hook = _RefuseSome(behind.elasticsearch)

    def fault() -> None:
        behind.search.rewrite(hook, where="_bulk")
        behind.store.error(503, where="^PUT", times=5)

    oracle, _ = _receive_through(behind, fault)
    assert len(hook.refused) >= 3, f"{len(hook.refused)} of {hook.seen} refused"
    oracle.check(behind.archive, 90)
