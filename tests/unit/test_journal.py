from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.instances import spool_one
from vna.ingest.journal import Journal
from vna.ingest.spool import Spool, SpoolEntry


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


@pytest.fixture
def entries(spool: Spool) -> list[SpoolEntry]:
    return [spool_one(spool, bytes([number])) for number in range(5)]


def die_at(folder: Path, names: list[str], steps: str) -> None:
    """Let another process take up a batch, go through some steps and be killed."""
    program = f"""
        import os, signal, sys
        from pathlib import Path
        from vna.ingest.journal import Journal
        from vna.ingest.spool import Spool
        journal = Journal(Spool(Path(sys.argv[1])))
        journal.begin(sys.argv[2:])
        {steps}
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(folder), *names], check=False)
    assert done.returncode == -signal.SIGKILL


def test_death_while_reading_is_blamed_on_the_entry_that_was_read(
    tmp_path: Path, spool: Spool, entries: list[SpoolEntry]
) -> None:
    names = [entry.name for entry in entries]
    die_at(tmp_path, names, "journal.parsing(0); journal.parsing(1); journal.parsing(3)")
    journal = Journal(spool)
    (death,) = journal.recover()
    assert death.blamed == names[3]
    assert set(death.names) == set(names)
    assert journal.suspects() == {names[3]}
    known = journal.get(names[3])
    assert known is not None
    assert known.count == 1
    assert "died" in known.error
    assert journal.recover() == []


def test_death_while_storing_a_batch_makes_suspects_of_all_and_blames_none(
    tmp_path: Path, spool: Spool, entries: list[SpoolEntry]
) -> None:
    names = [entry.name for entry in entries]
    die_at(tmp_path, names, "journal.parsing(4); journal.storing()")
    journal = Journal(spool)
    (death,) = journal.recover()
    assert death.blamed is None
    assert journal.suspects() == set(names)
    counts = [known.count for name in names if (known := journal.get(name))]
    assert counts == [0] * 5


def test_death_while_storing_one_is_blamed_on_it(tmp_path: Path, spool: Spool, entries: list[SpoolEntry]) -> None:
    die_at(tmp_path, [entries[0].name], "journal.parsing(0); journal.storing()")
    journal = Journal(spool)
    assert [death.blamed for death in journal.recover()] == [entries[0].name]


def test_death_between_batches_is_nobodys(tmp_path: Path, spool: Spool, entries: list[SpoolEntry]) -> None:
    die_at(tmp_path, [entry.name for entry in entries], "journal.parsing(1); journal.end()")
    journal = Journal(spool)
    assert journal.recover() == []
    assert journal.suspects() == set()
    assert list(journal.inflight.iterdir()) == []


def test_entries_that_have_left_the_spool_are_not_counted(
    tmp_path: Path, spool: Spool, entries: list[SpoolEntry]
) -> None:
    for entry in entries:
        spool.finish([entry])
    die_at(tmp_path, [entry.name for entry in entries], "journal.parsing(1)")
    assert Journal(spool).recover() == []


def test_a_living_worker_is_left_alone(spool: Spool, entries: list[SpoolEntry]) -> None:
    names = [entry.name for entry in entries]
    alive, other = Journal(spool), Journal(spool)
    alive.begin(names)
    alive.parsing(2)
    assert other.recover() == []
    assert other.in_hand() == set(names)
    alive.end()
    assert other.in_hand() == set()
    alive.close()
    assert list(other.inflight.iterdir()) == []


def test_a_second_shorter_batch_hides_the_first(spool: Spool, entries: list[SpoolEntry]) -> None:
    journal = Journal(spool)
    journal.begin([entry.name for entry in entries])
    journal.end()
    journal.begin([entries[4].name])
    assert Journal(spool).in_hand() == {entries[4].name}
    journal.close()


def test_attempts_add_up_and_are_forgotten(spool: Spool, entries: list[SpoolEntry]) -> None:
    name = entries[0].name
    journal = Journal(spool)
    journal.suspect(name)
    journal.add(name, "first")
    journal.suspect(name)
    known = journal.add(name, "second\udcff")
    assert (known.count, known.error) == (2, "second\udcff")
    assert Journal(spool).get(name) == known
    journal.forget(name)
    journal.forget(name)
    assert journal.get(name) is None
    assert journal.suspects() == set()


def test_a_torn_record_still_marks_a_suspect(spool: Spool, entries: list[SpoolEntry]) -> None:
    journal = Journal(spool)
    (journal.attempts / f"{entries[0].name}.json").write_text('{"name": "')
    known = journal.get(entries[0].name)
    assert known is not None
    assert known.count == 0
    assert journal.suspects() == {entries[0].name}


@pytest.mark.parametrize("junk", [b"", b"P", b"P 000001 00000000zz\nabc", b"\0" * 100, b"P 999999 0000000003\nabc"])
def test_a_note_of_junk_is_no_death(spool: Spool, junk: bytes) -> None:
    journal = Journal(spool)
    (journal.inflight / f"{os.getpid()}-junk").write_bytes(junk)
    assert journal.recover() == []
    assert list(journal.inflight.iterdir()) == []


def test_records_of_entries_that_are_gone_are_pruned(spool: Spool, entries: list[SpoolEntry]) -> None:
    journal = Journal(spool)
    journal.add(entries[0].name, "x")
    journal.add(entries[1].name, "x")
    spool.finish(entries[:1])
    assert journal.prune() == 1
    assert journal.suspects() == {entries[1].name}


def test_a_note_given_back_in_the_middle_of_work_is_a_death(spool: Spool, entries: list[SpoolEntry]) -> None:
    journal = Journal(spool)
    journal.begin([entry.name for entry in entries])
    journal.parsing(2)
    journal.close()
    (death,) = Journal(spool).recover()
    assert death.blamed == entries[2].name


def test_a_disk_that_takes_nothing_keeps_no_worker_from_its_work(
    spool: Spool, entries: list[SpoolEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [entry.name for entry in entries]
    journal, began = Journal(spool), Journal(spool)
    began.begin(names[:1])
    began.end()

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    for name in ("pwrite", "replace", "rename"):
        monkeypatch.setattr(os, name, full)
    for each in (journal, began):
        each.begin(names)
        each.parsing(1)
        each.storing()
        each.end()
    for _ in range(3):
        journal.add(names[0], "x")
    journal.suspect(names[1])
    journal.hold(names[2], "y")
    known = journal.get(names[0])
    assert known is not None
    assert known.count == 3
    assert journal.suspects() == set(names[:3])
    assert journal.held() == {names[2]}
    assert journal.release() == [names[2]]
    monkeypatch.undo()
    assert journal.in_hand() == set()
    journal.add(names[0], "x")
    assert Journal(spool).suspects() == {names[0]}
    journal.forget(names[1])
    assert journal.get(names[1]) is None
    for each in (journal, began):
        each.close()
    assert list(journal.inflight.iterdir()) == []


def test_folders_that_are_missing_hold_nothing(spool: Spool, entries: list[SpoolEntry]) -> None:
    journal = Journal(spool)
    journal.inflight.rmdir()
    journal.attempts.rmdir()
    journal.begin([entries[0].name])
    journal.end()
    assert journal.recover() == []
    assert (journal.in_hand(), journal.suspects(), journal.held()) == (set(), set(), set())
