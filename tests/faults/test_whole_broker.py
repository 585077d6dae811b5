"""The broker of a whole archive is flushed, frozen and restarted: nobody waits for it, nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from tests.support.archive import running_archive
from tests.support.oracle import load
from tests.support.ports import wait_until
from tests.support.valkey import Valkey, valkey  # noqa: F401  # fixture


def flush(broker: Valkey) -> None:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        broker.flush()
        time.sleep(0.02)


def freeze(broker: Valkey) -> None:
    broker.freeze()
    time.sleep(8)
    broker.thaw()


def restart(broker: Valkey) -> None:
    broker.kill()
    time.sleep(5)
    broker.start()


@pytest.mark.parametrize("ill_treat", [flush, freeze, restart])
def test_acknowledgements_do_not_wait_for_the_broker(
    tmp_path: Path,
    valkey: Valkey,  # noqa: F811
    ill_treat: Callable[[Valkey], None],
) -> None:
    with running_archive(tmp_path / "data", VNA_QUEUE__BROKER=valkey.url) as archive:
        with load(archive) as oracle:
            # The first ones pay for the start of everything.
            wait_until(lambda: len(oracle.acknowledged) > 30, 30)
            before = len(oracle.acknowledged)
            first = len(oracle.seconds)
            ill_treat(valkey)
            during = len(oracle.acknowledged) - before
            time.sleep(1)
        assert not oracle.refused
        assert during > 50, "it goes on receiving"
        # Whoever waited for the broker would have waited for as long as it was away. What else takes
        # its time is the machine, which may have other work.
        seconds = oracle.seconds[first:]
        assert median(seconds) < 0.5
        assert max(seconds) < 5
        oracle.check(archive)
