"""The parts of a whole archive, and all of it at once, are killed while instances arrive."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.archive import RunningArchive, running_archive, scaled_environment
from tests.support.elasticsearch import drop_indices
from tests.support.oracle import load
from tests.support.ports import answers, wait_until

_PARTS = ("vna.gateways.dimse", "vna.gateways.dicomweb", "workers.app", "workers.beat", "valkey-server")


@pytest.fixture(params=["embedded", "scaled"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningArchive]:
    if request.param == "embedded":
        with running_archive(tmp_path / "data") as running:
            yield running
        return
    elasticsearch: str = request.getfixturevalue("elasticsearch_url")
    environment = scaled_environment(
        request.getfixturevalue("minio"), elasticsearch, request.getfixturevalue("valkey_url")
    )
    with running_archive(tmp_path / "data", **environment) as running:
        yield running
    drop_indices(elasticsearch, environment["VNA_INDEX__PREFIX"])


def _kill(processes: list[psutil.Process]) -> int:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return len(processes)


def test_parts_killed_in_random_order_lose_nothing(archive: RunningArchive) -> None:
    source = random.Random(7)
    killed = dict.fromkeys(_PARTS, 0)
    with load(archive) as oracle:
        end = time.monotonic() + 14
        while time.monotonic() < end:
            for part in source.sample(_PARTS, len(_PARTS)):
                found = archive.parts(part)
                # The parent with its children, or one of them alone.
                killed[part] += _kill(found if source.random() < 0.5 else found[-1:])
                time.sleep(source.uniform(0.1, 1.2))
        wait_until(lambda: _answers(archive), 60, "the gateways are started again")
        time.sleep(1)
    embedded = "VNA_QUEUE__BROKER" not in archive.environment
    assert all(count for part, count in killed.items() if embedded or part != "valkey-server"), killed
    oracle.check(archive, 120, partial=False)


def _answers(archive: RunningArchive) -> bool:
    return answers("127.0.0.1", archive.dimse_port) and answers("127.0.0.1", archive.http_port)


def test_everything_killed_and_started_again_loses_nothing(archive: RunningArchive) -> None:
    with load(archive) as oracle:
        for _ in range(2):
            time.sleep(3)
            parts = archive.parts("")
            assert len(parts) >= 4
            os.kill(parts[0].ppid(), signal.SIGSTOP)  # it starts nothing again in between
            supervisor = psutil.Process(parts[0].ppid())
            _kill([supervisor, *parts])
            # Reaped here as the child that it is, and its port free again.
            archive.close()
            wait_until(lambda: not any(part.is_running() for part in parts), 30, "everything ended")  # noqa: B023
            archive.start()
        time.sleep(2)
    oracle.check(archive, 120, partial=False)
