"""The broker flushed, frozen, killed and restarted while instances arrive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.instances import Acknowledged, make_settings, part10
from tests.support.valkey import Valkey, valkey  # noqa: F401  # fixture
from tests.support.worker import start_beat, start_worker, wait_until
from vna.bootstrap import Archive


def flush(broker: Valkey) -> None:
    for _ in range(5):
        broker.flush()
        time.sleep(0.2)


def freeze(broker: Valkey) -> None:
    broker.freeze()
    time.sleep(3)
    broker.thaw()


def restart(broker: Valkey) -> None:
    broker.kill()
    time.sleep(1)
    broker.start()


@pytest.fixture
def archive(tmp_path: Path, valkey: Valkey) -> Iterator[Archive]:  # noqa: F811
    made = Archive(make_settings(tmp_path / "data", queue={"broker": valkey.url, "timeout_seconds": 0.5}))
    yield made
    made.close()


@pytest.mark.parametrize("ill_treat", [flush, freeze, restart])
def test_nothing_is_lost_and_nobody_waits(
    archive: Archive,
    valkey: Valkey,  # noqa: F811
    ill_treat: Callable[[Valkey], None],
) -> None:
    oracle = Acknowledged.empty()
    slowest = 0.0
    with start_worker(archive.settings), start_beat(archive.settings):
        trouble = threading.Thread(target=ill_treat, args=(valkey,))
        number = 0
        trouble.start()
        while trouble.is_alive() or number < 300:
            begin = time.monotonic()
            oracle.spool(archive.receiver, [part10(number, study=1 + number % 5)])
            slowest = max(slowest, time.monotonic() - begin)
            number += 1
            time.sleep(0.005)
        trouble.join()
        wait_until(lambda: not list(archive.spool.entries()), 120, "an empty spool")
    oracle.check(archive)
    assert archive.quarantine.count() == 0
    # The acknowledgement never waits for the broker, whatever the state of that.
    assert slowest < 2


def test_a_backlog_without_any_broker_is_worked_off_when_there_is_one(archive: Archive, valkey: Valkey) -> None:  # noqa: F811
    valkey.kill()
    oracle = Acknowledged.empty()
    oracle.spool(archive.receiver, [part10(number) for number in range(200)])
    archive.receiver.close()
    valkey.start()
    with start_worker(archive.settings):
        # No beat: the worker sweeps when it starts.
        wait_until(lambda: not list(archive.spool.entries()), 60, "an empty spool")
    oracle.check(archive)
