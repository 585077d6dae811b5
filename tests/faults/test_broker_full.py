"""The broker is full: of hints, since the object store was away for long, or of what is not the archive's."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from tests.support.instances import Acknowledged, make_settings, part10
from tests.support.valkey import Valkey, valkey  # noqa: F401  # fixture
from tests.support.worker import Running, start_beat, start_worker, wait_until
from vna.bootstrap import Archive
from vna.domain.errors import OutOfResourcesError, UnavailableError
from vna.ingest.hints import DEEPEST, INGEST_TASK, enqueue_entries, ingest_queue
from vna.ingest.spool import SpoolEntry
from vna.queue.celery_queue import client_url
from workers.commands import worker_command
from workers.routing import ingest_queues, keeper_queues

_MEMORY = 24 << 20


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Redis]:  # noqa: F811
    """A client of a broker that refuses when it is full, and is full soon."""
    with Redis.from_url(client_url(valkey.url), socket_timeout=30) as made:
        made.config_set("maxmemory", _MEMORY)
        made.config_set("maxmemory-policy", "noeviction")
        yield made


@pytest.fixture
def archive(tmp_path: Path, valkey: Valkey) -> Iterator[Archive]:  # noqa: F811
    made = Archive(make_settings(tmp_path / "data", queue={"broker": valkey.url}))
    yield made
    made.close()


def fill(client: Redis, key: str = "foreign") -> None:
    """Fill the broker to the last byte with what is not the archive's."""
    for size in (1 << 16, 1 << 10, 16):
        while True:
            try:
                client.rpush(key, b"x" * size)
            except OutOfMemoryError:
                break


def fill_with_hints(archive: Archive, entries: list[SpoolEntry]) -> int:
    """Send hints, as gateways without a limit did, until the broker refuses; return how many it took."""
    for count in range(100_000):
        try:
            enqueue_entries(archive.queue, archive.settings.spool.id, entries)
        except UnavailableError:
            return count
    raise AssertionError("the broker is never full")


def is_full(archive: Archive) -> bool:
    try:
        archive.queue.check()
    except OutOfResourcesError:
        return True
    return False


def is_empty(archive: Archive) -> bool:
    return not list(archive.spool.entries())


def test_a_worker_that_starts_at_a_broker_full_of_hints_empties_the_spool(archive: Archive, client: Redis) -> None:
    oracle = Acknowledged.empty()
    entries = oracle.spool(archive.spool, [part10(number) for number in range(64)])
    assert fill_with_hints(archive, entries) > 5 * DEEPEST
    assert is_full(archive)
    with start_worker(archive.settings) as worker, start_beat(archive.settings):
        wait_until(lambda: is_empty(archive), 60, "an empty spool")
        assert worker.process.poll() is None
        assert not is_full(archive)
        assert "the broker was full of hints" in worker.logged()
        assert "Unrecoverable" not in worker.logged()
    assert client.llen(ingest_queue("main")) < 5
    oracle.check(archive)


def test_a_worker_whose_broker_fills_at_work_goes_on_by_itself(archive: Archive, client: Redis) -> None:
    oracle = Acknowledged.empty()
    oracle.spool(archive.receiver, [part10(number) for number in range(20)])
    # One that takes messages while they come: the broker is full between the taking and Celery's note of it.
    with start_worker(archive.settings) as worker, start_beat(archive.settings):
        wait_until(lambda: is_empty(archive), 60, "a worker at work")
        for round_ in range(3):
            entries = oracle.spool(archive.spool, [part10(number, study=2 + round_) for number in range(64)])
            worker.process.send_signal(signal.SIGSTOP)
            fill_with_hints(archive, entries)
            worker.process.send_signal(signal.SIGCONT)
            wait_until(lambda: is_empty(archive), 60, "an empty spool")
        assert worker.process.poll() is None
        assert "Unrecoverable" not in worker.logged()
    oracle.check(archive)


def test_messages_that_workers_took_and_left_are_dropped_as_well(archive: Archive, client: Redis) -> None:
    oracle = Acknowledged.empty()
    entries = oracle.spool(archive.spool, [part10(number) for number in range(64)])
    fill_with_hints(archive, entries)
    # As they lie there when workers that held thousands for a later try were killed.
    name = ingest_queue("main")
    client.config_set("maxmemory", 4 * _MEMORY)
    for number, message in enumerate(client.lrange(name, 0, -1)):
        client.hset("unacked", f"tag{number}", b'[%s, "", "%s"]' % (message, name.encode()))
        client.zadd("unacked_index", {f"tag{number}": time.time()})
    client.hset("unacked", "theirs", b'[{}, "", "somebody.else"]')
    client.zadd("unacked_index", {"theirs": time.time()})
    client.delete(name)
    client.config_set("maxmemory", _MEMORY)
    assert is_full(archive)
    assert archive.queue.depth(name) == 0
    with start_worker(archive.settings), start_beat(archive.settings):
        wait_until(lambda: is_empty(archive), 60, "an empty spool")
        assert not is_full(archive)
    oracle.check(archive)
    assert client.hkeys("unacked") == client.zrange("unacked_index", 0, -1) == [b"theirs"]


def test_a_broker_full_of_what_is_not_ours_is_told_and_waited_for(archive: Archive, client: Redis) -> None:
    oracle = Acknowledged.empty()
    fill(client)
    taken = client.llen("foreign")
    oracle.spool(archive.receiver, [part10(number) for number in range(20)])
    log = archive.settings.data / "worker.log"
    archive.settings.data.mkdir(parents=True, exist_ok=True)
    with Running(worker_command(archive.settings), archive.settings, log) as worker:
        wait_until(lambda: "the broker is full of what is not this spool's" in worker.logged(), 60, "a word of it")
        time.sleep(6)
        assert worker.process.poll() is None
        # After 1, 2, 4 … seconds: not a loop that fills the log and a processor.
        assert worker.logged().count("the broker is full of what is not") <= 4
        assert worker.logged().count("\n") < 60
        assert client.llen("foreign") == taken, "what is not ours is left alone"
        assert len(list(archive.spool.entries())) == 20
        client.delete("foreign")
        with start_beat(archive.settings):
            wait_until(lambda: is_empty(archive), 60, "an empty spool")
    oracle.check(archive)


def test_a_worker_that_waits_for_room_ends_when_it_is_told(archive: Archive, client: Redis) -> None:
    fill(client)
    archive.settings.data.mkdir(parents=True, exist_ok=True)
    with Running(worker_command(archive.settings), archive.settings, archive.settings.data / "worker.log") as worker:
        wait_until(lambda: "the broker is full of what is not this spool's" in worker.logged(), 60, "a word of it")
        begin = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - begin < 10


def test_a_broker_that_fills_with_what_is_not_ours_at_work_is_survived(archive: Archive, client: Redis) -> None:
    oracle = Acknowledged.empty()
    with start_worker(archive.settings) as worker, start_beat(archive.settings) as beat:
        oracle.spool(archive.receiver, [part10(number) for number in range(20)])
        wait_until(lambda: is_empty(archive), 60, "a worker at work")
        fill(client)
        oracle.spool(archive.receiver, [part10(number, study=2) for number in range(20)])
        time.sleep(5)
        assert worker.process.poll() is None
        assert beat.process.poll() is None
        client.delete("foreign")
        wait_until(lambda: is_empty(archive), 60, "an empty spool")
    oracle.check(archive)


def test_gateways_do_not_fill_the_broker_while_nobody_works(archive: Archive, client: Redis) -> None:
    oracle = Acknowledged.empty()
    room = ingest_queue("main")
    for _ in range(DEEPEST + 20):
        archive.queue.enqueue(INGEST_TASK, [["old"]], room)
    for number in range(300):
        oracle.spool(archive.receiver, [part10(number)])
    archive.receiver.close()
    del archive.__dict__["receiver"]
    assert client.llen(room) == DEEPEST + 20
    with start_worker(archive.settings), start_beat(archive.settings):
        wait_until(lambda: is_empty(archive), 60, "an empty spool")
    oracle.check(archive)


def test_sweeps_do_not_wait_behind_a_backlog(archive: Archive, client: Redis) -> None:
    oracle = Acknowledged.empty()
    for _ in range(DEEPEST):
        archive.queue.enqueue(INGEST_TASK, [["old"]], ingest_queue("main"))
    settings = archive.settings
    swept = archive.spool.path / "sweep.json"
    # The worker of ingest stands still, and with it the backlog.
    with start_worker(settings, "--queues", ",".join(keeper_queues(settings)), name="keeper"), start_beat(settings):
        oracle.spool(archive.spool, [part10(1)])
        wait_until(lambda: swept.exists() and '"entries": 1' in swept.read_text(), 30, "a sweep")
        wait_until((settings.run_path / "heartbeat-keeper.json").exists, 40, "a heartbeat")
        assert client.llen(ingest_queue("main")) == DEEPEST
        assert not (settings.run_path / "heartbeat-ingest.json").exists()
        with start_worker(settings, "--queues", ",".join(ingest_queues(settings))):
            wait_until(lambda: is_empty(archive), 60, "an empty spool")
            wait_until((settings.run_path / "heartbeat-ingest.json").exists, 40, "a sign of life")
    oracle.check(archive)
