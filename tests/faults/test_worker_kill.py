"""Workers killed at each step of the way. Nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.support.instances import Acknowledged, make_settings, part10, spool_one
from tests.support.killing import HANGS, HANGS_DEAF, POISON, STEPS, kill_at
from tests.support.valkey import Valkey, valkey  # noqa: F401  # fixture
from tests.support.worker import start_beat, start_worker, wait_until
from vna.bootstrap import Archive
from vna.ingest import hints
from vna.lifecycle.reindex import reindex
from vna.queue import celery_queue


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step(tmp_path: Path, step: str) -> None:
    data = tmp_path / "data"
    archive = Archive(make_settings(data))
    oracle = Acknowledged.empty()
    oracle.spool(archive.spool, [part10(number, series=1 + number % 2) for number in range(10)])
    # Other bytes under the UIDs of one of them, so that there is a fact to be written.
    oracle.spool(archive.spool, [part10(1, series=2, pixels=b"\7" * 128)])
    kill_at(step, data)
    deaths = archive.sweeper.recover()
    committer = archive.committer()
    committer.commit(sorted(entry.name for entry in archive.spool.entries()))
    assert deaths <= 1
    oracle.check(archive)
    assert archive.quarantine.count() == 0
    assert len(list(archive.objects.list("facts/conflict/"))) == 1
    assert list((archive.spool.path / "attempts").iterdir()) == []
    committer.close()
    archive.close()


@pytest.mark.parametrize("step", ["within-put", "after-put"])
def test_a_reindex_after_a_kill_finds_whole_instances_only(tmp_path: Path, step: str) -> None:
    data = tmp_path / "data"
    archive = Archive(make_settings(data))
    oracle = Acknowledged.empty()
    oracle.spool(archive.spool, [part10(number) for number in range(12)])
    kill_at(step, data)
    report = reindex(archive.objects, archive.index)
    keys = {info.key for info in archive.objects.list("instances/")}
    whole = {key for key in keys if key.endswith(".dcm")}
    assert archive.index.counts().instances == len(whole) == report.instances
    archive.committer().commit(sorted(entry.name for entry in archive.spool.entries()))
    oracle.check(archive)
    archive.close()


def test_the_same_entry_is_never_read_again_after_enough_deaths(tmp_path: Path) -> None:
    data = tmp_path / "data"
    archive = Archive(make_settings(data))
    oracle = Acknowledged.empty()
    worst = spool_one(archive.spool, part10(99, pixels=POISON * 8)).name
    for round_ in range(3):
        oracle.spool(archive.spool, [part10(10 * round_ + number) for number in range(3)])
        kill_at("poison", data)
        assert archive.sweeper.recover() == 1
        known = archive.sweeper._journal.get(worst)
        assert known is not None
        assert known.count == round_ + 1
        assert archive.sweeper._journal.suspects() == {worst}
        # Nobody is taken along a second time: from now on the others are done before it is read.
        assert len(list(archive.spool.entries())) == (4 if round_ == 0 else 1)
    committer = archive.committer()
    report = committer.commit([entry.name for entry in archive.spool.entries()])
    assert report.quarantined == [worst]
    oracle.check(archive)
    (item,) = archive.quarantine.list()
    assert item.attempts == 3
    assert "died while reading" in item.reason
    archive.close()


def test_an_object_that_kills_its_reader_ends_in_quarantine_and_takes_nobody_along(
    tmp_path: Path,
    valkey: Valkey,  # noqa: F811
) -> None:
    settings = make_settings(tmp_path / "data", queue={"broker": valkey.url})
    archive = Archive(settings)
    oracle = Acknowledged.empty()
    with start_worker(settings, module="tests.support.poison_app"), start_beat(settings):
        oracle.spool(archive.receiver, [part10(number) for number in range(20)])
        poison = spool_one(archive.receiver, part10(77, pixels=POISON * 8))
        oracle.spool(archive.receiver, [part10(number) for number in range(100, 120)])
        wait_until(lambda: not list(archive.spool.entries()), 120, "an empty spool")
    oracle.check(archive)
    (item,) = archive.quarantine.list()
    assert item.name == poison.name
    assert item.attempts == 3
    assert (settings.data / "killed.log").read_text().splitlines() == [str(poison.received_us)] * 3
    archive.close()


@pytest.mark.parametrize(("content", "reason"), [(HANGS, "SoftTimeLimitExceeded"), (HANGS_DEAF, "worker died")])
def test_an_object_that_hangs_its_reader_ends_in_quarantine(
    tmp_path: Path,
    valkey: Valkey,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    reason: str,
) -> None:
    monkeypatch.setenv("TEST_SHORT_LIMITS", "1")
    monkeypatch.setattr(hints, "BASE_SECONDS", 1.0)
    monkeypatch.setattr(celery_queue, "GRACE_SECONDS", 2.0)
    settings = make_settings(tmp_path / "data", queue={"broker": valkey.url}, spool={"max_attempts": 2})
    archive = Archive(settings)
    oracle = Acknowledged.empty()
    with start_worker(settings, module="tests.support.poison_app"), start_beat(settings):
        oracle.spool(archive.receiver, [part10(number) for number in range(5)])
        hanging = spool_one(archive.receiver, part10(77, pixels=content * 8))
        oracle.spool(archive.receiver, [part10(number) for number in range(100, 105)])
        wait_until(lambda: not list(archive.spool.entries()), 120, "an empty spool")
    oracle.check(archive)
    (item,) = archive.quarantine.list()
    assert item.name == hanging.name
    assert item.attempts == 2
    assert reason in item.reason
    archive.close()


@pytest.mark.slow
def test_killed_at_random_moments_under_load(tmp_path: Path, valkey: Valkey) -> None:  # noqa: F811
    settings = make_settings(tmp_path / "data", queue={"broker": valkey.url})
    archive = Archive(settings)
    oracle = Acknowledged.empty()
    moments = random.Random(20260301)
    with start_beat(settings):
        for round_ in range(5):
            worker = start_worker(settings)
            oracle.spool(
                archive.receiver,
                [
                    part10(number, study=1 + number % 4, series=1 + round_ % 2)
                    for number in range(200 * round_, 200 * round_ + 200)
                ],
            )
            time.sleep(moments.uniform(0, 0.3))
            worker.kill()
        with start_worker(settings):
            wait_until(lambda: not list(archive.spool.entries()), 120, "an empty spool")
    oracle.check(archive)
    assert archive.quarantine.count() == 0
    counts = archive.index.counts()
    assert (counts.patients, counts.studies, counts.series, counts.instances) == (1, 4, 8, 1000)
    archive.close()
