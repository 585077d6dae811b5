"""The queue adapter on a real Valkey, and the worker that consumes it."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.support.instances import Acknowledged, make_settings, part10, spool_one
from tests.support.valkey import Valkey, valkey, valkey_url  # noqa: F401  # fixtures
from tests.support.worker import start_beat, start_worker, wait_until
from vna.bootstrap import Archive
from vna.config import QueueSettings
from vna.domain.errors import ConfigurationError, OutOfResourcesError, UnavailableError
from vna.queue.celery_queue import CeleryQueue, client_url

QUICK = QueueSettings(timeout_seconds=0.5)


@pytest.fixture
def name() -> str:
    return f"test.{uuid.uuid4().hex}"


@pytest.fixture
def queue(valkey_url: str) -> Iterator[CeleryQueue]:  # noqa: F811
    made = CeleryQueue(valkey_url, QUICK)
    yield made
    made.close()


def test_a_message_waits_in_the_list_of_its_queue(queue: CeleryQueue, valkey_url: str, name: str) -> None:  # noqa: F811
    queue.check()
    assert queue.depth(name) == 0
    queue.enqueue("vna.ingest.commit", [["a", "b"]], name)
    assert queue.depth(name) == 1
    with Redis.from_url(client_url(valkey_url)) as client:
        message = json.loads(client.rpop(name))
    assert message["headers"]["task"] == "vna.ingest.commit"
    assert json.loads(base64.b64decode(message["body"]))[0] == [["a", "b"]]


def test_a_message_says_how_long_its_work_may_take(queue: CeleryQueue, valkey_url: str, name: str) -> None:  # noqa: F811
    queue.enqueue("t", [1], name, seconds=68_719.4)
    queue.enqueue("t", [1], name, seconds=600)
    queue.enqueue("t", [1], name)
    with Redis.from_url(client_url(valkey_url)) as client:
        limits = [json.loads(client.rpop(name))["headers"]["timelimit"] for _ in range(3)]
    # The hard end comes some time after the polite one.
    assert limits == [[75_592, 68_720], [660, 600], [None, None]]


def test_messages_of_a_queue_are_dropped_with_those_that_workers_hold(valkey: Valkey) -> None:  # noqa: F811
    queue = CeleryQueue(valkey.url, QUICK)
    for name in ("ours", "theirs"):
        queue.enqueue("t", [1], name)
    with Redis.from_url(client_url(valkey.url)) as client:
        for tag, name in enumerate(("ours", "theirs")):
            client.hset("unacked", f"{tag}", json.dumps([{}, "", name]))
            client.zadd("unacked_index", {f"{tag}": 1.0})
        assert queue.held() == 2
        assert queue.discard("ours") == 2
        assert queue.discard("ours") == 0
        assert (queue.depth("ours"), queue.depth("theirs"), queue.held()) == (0, 1, 1)
        assert client.zrange("unacked_index", 0, -1) == [b"1"]
    valkey.kill()
    with pytest.raises(UnavailableError):
        queue.discard("theirs")
    queue.close()


def test_a_broker_that_is_full_is_told_apart_from_one_that_is_away(valkey: Valkey) -> None:  # noqa: F811
    queue = CeleryQueue(valkey.url, QUICK)
    queue.check()
    with Redis.from_url(client_url(valkey.url)) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(OutOfResourcesError, match="is full"):
            queue.check()
        with pytest.raises(UnavailableError):
            queue.enqueue("t", [1], "q")
        client.config_set("maxmemory", 0)
    queue.check()
    queue.close()


def test_messages_of_many_threads_all_arrive(queue: CeleryQueue, name: str) -> None:
    def send() -> None:
        for number in range(25):
            queue.enqueue("t", [number], name)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.depth(name) == 200


def test_a_forked_process_has_connections_of_its_own(queue: CeleryQueue, name: str) -> None:
    queue.enqueue("t", ["parent"], name)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            queue.enqueue("t", ["child"], name)
            code = 0 if queue.depth(name) == 2 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    queue.enqueue("t", ["parent again"], name)
    assert queue.depth(name) == 3


def test_a_frozen_broker_blocks_nobody(valkey: Valkey) -> None:  # noqa: F811
    queue = CeleryQueue(valkey.url, QUICK)
    queue.enqueue("t", [1], "q")
    valkey.freeze()
    for call in (
        lambda: queue.enqueue("t", [1], "q"),
        lambda: queue.enqueue("t", [1], "q"),
        lambda: queue.depth("q"),
        queue.check,
    ):
        begin = time.monotonic()
        with pytest.raises(UnavailableError):
            call()
        assert time.monotonic() - begin < 3
    valkey.thaw()
    wait_until(lambda: queue.depth("q") >= 1, 10)
    before = queue.depth("q")
    queue.enqueue("t", [2], "q")
    assert queue.depth("q") == before + 1
    queue.close()


def test_a_frozen_broker_that_was_never_reached_blocks_nobody(valkey: Valkey) -> None:  # noqa: F811
    valkey.freeze()
    queue = CeleryQueue(valkey.url, QUICK)
    begin = time.monotonic()
    with pytest.raises(UnavailableError):
        queue.enqueue("t", [1], "q")
    assert time.monotonic() - begin < 3
    queue.close()
    valkey.thaw()


def test_a_broker_that_comes_back_is_used_again(valkey: Valkey) -> None:  # noqa: F811
    queue = CeleryQueue(valkey.url, QUICK)
    queue.enqueue("t", [1], "q")
    valkey.kill()
    with pytest.raises(UnavailableError):
        queue.enqueue("t", [1], "q")
    with pytest.raises(UnavailableError, match="broker"):
        queue.check()
    valkey.start()
    queue.enqueue("t", [1], "q")
    assert queue.depth("q") == 1
    queue.close()


def test_a_flushed_broker_takes_messages_as_before(valkey: Valkey) -> None:  # noqa: F811
    queue = CeleryQueue(valkey.url, QUICK)
    queue.enqueue("t", [1], "q")
    valkey.flush()
    queue.enqueue("t", [2], "q")
    assert queue.depth("q") == 1
    queue.close()


@pytest.mark.parametrize("url", ["amqp://localhost", "memory://", "", "localhost:6379"])
def test_other_brokers_are_refused_with_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(ConfigurationError, match="VNA_QUEUE__BROKER"):
        CeleryQueue(url, QUICK)


@pytest.mark.parametrize(
    ("url", "client"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("rediss://h:1/2", "rediss://h:1/2"),
        ("redis+socket:///run/v.sock", "unix:///run/v.sock"),
        ("redis+socket:///run/v.sock?virtual_host=3", "unix:///run/v.sock?db=3"),
    ],
)
def test_urls_as_the_client_spells_them(url: str, client: str) -> None:
    assert client_url(url) == client


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_worker_stores_what_a_gateway_received(tmp_path: Path, valkey: Valkey, pool: str) -> None:  # noqa: F811
    settings = make_settings(tmp_path / "data", queue={"broker": valkey.url, "timeout_seconds": 1})
    archive = Archive(settings)
    oracle = Acknowledged.empty()
    # Before any worker runs: messages wait.
    oracle.spool(archive.receiver, [part10(number) for number in range(20)])
    with start_worker(settings, "--pool", pool) as worker, start_beat(settings):
        oracle.spool(archive.receiver, [part10(number, study=2) for number in range(70)])
        # Nobody tells the queue of these: the sweeper finds them.
        oracle.spool(archive.spool, [part10(number, study=3) for number in range(10)])
        bad = spool_one(archive.receiver, b"no DICOM at all" * 50)
        wait_until(lambda: not list(archive.spool.entries()), what="an empty spool")
        if pool == "prefork":
            for part in ("keeper", "ingest", "large"):
                wait_until((settings.run_path / f"heartbeat-{part}.json").exists, 40, f"a sign of life of {part}")
        begin = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - begin < 20
    oracle.check(archive)
    assert [item.name for item in archive.quarantine.list()] == [bad.name]
    assert "Traceback" not in worker.logged()
    archive.close()


def test_a_batch_whose_services_are_down_is_tried_again_by_the_worker(tmp_path: Path, valkey: Valkey) -> None:  # noqa: F811
    settings = make_settings(tmp_path / "data", queue={"broker": valkey.url}, spool={"sweep_age_seconds": 3600})
    archive = Archive(settings)
    oracle = Acknowledged.empty()
    with start_worker(settings) as worker:
        # Without the folder for what is being written, as when a disk is not mounted, every put fails.
        drafts = settings.objects_path / "~tmp"
        wait_until(drafts.is_dir, what="the folder for what is being written")
        drafts.rename(settings.objects_path / "~away")
        oracle.spool(archive.receiver, [part10(number) for number in range(5)])
        wait_until(lambda: "a batch waits" in worker.logged(), what="a retry")
        (settings.objects_path / "~away").rename(drafts)
        wait_until(lambda: not list(archive.spool.entries()), what="an empty spool")
    oracle.check(archive)
    assert archive.quarantine.count() == 0
    archive.close()


def test_the_child_that_dies_at_work_is_replaced_and_its_batch_goes_on(tmp_path: Path, valkey: Valkey) -> None:  # noqa: F811
    settings = make_settings(tmp_path / "data", queue={"broker": valkey.url})
    archive = Archive(settings)
    oracle = Acknowledged.empty()
    with start_worker(settings) as worker, start_beat(settings):
        for round_ in range(3):
            for pid in worker.children():
                os.kill(pid, signal.SIGKILL)
            oracle.spool(archive.receiver, [part10(number, study=round_ + 1) for number in range(80)])
            wait_until(lambda: not list(archive.spool.entries()), what="an empty spool")
    oracle.check(archive)
    archive.close()
