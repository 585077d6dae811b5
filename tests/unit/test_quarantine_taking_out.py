"""What is taken out of quarantine, or comes again meanwhile, is somewhere at every moment, and is what was received."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.instances import part10, spool_one
from tests.unit.test_quarantine import Parts
from vna.domain.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError
from vna.ingest.journal import Journal
from vna.ingest.quarantine import Quarantine, copying
from vna.ingest.spool import Spool

BROKEN = b"broken, and acknowledged" * 20


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def other_worker(parts: Parts) -> Quarantine:
    return Quarantine(parts.spool, Journal(parts.spool), parts.objects)


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 0xFF
    path.write_bytes(data)


def copies(parts: Parts) -> list[bytes]:
    return [parts.objects.get(info.key) for info in parts.objects.list("quarantine/") if info.key.endswith(".dcm")]


@pytest.mark.parametrize("moment", ["suspect", "delete"])
@pytest.mark.parametrize("way", ["retry", "drop"])
def test_the_same_bytes_that_come_while_an_entry_leaves_are_an_entry_of_their_own(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, moment: str, way: str
) -> None:
    item = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    if way == "drop":
        spool_one(parts.spool, BROKEN)
        moment = "replace" if moment == "suspect" else moment
    worker = other_worker(parts)
    where: Any = parts.journal if moment == "suspect" else parts.objects
    real: Callable[..., None] = getattr(where, moment)
    done = []

    def slow(*given: object) -> None:
        real(*given)
        if not done:
            done.append(1)
            for entry in list(parts.spool.entries()):
                worker.put(entry, "broken", "E")

    monkeypatch.setattr(where, moment, slow)
    if way == "retry":
        parts.quarantine.retry(item.id)
    else:
        parts.quarantine.drop(item.id, "why", "me")
    assert list(parts.spool.entries()) == []
    (left,) = parts.quarantine.list()
    assert left.id != item.id
    assert parts.quarantine.file(left).read_bytes() == BROKEN
    assert copies(parts) == [BROKEN]


def test_a_store_that_goes_away_while_an_entry_leaves_has_the_rest_removed_later(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    real = parts.objects.delete
    calls = []

    def away(key: str) -> None:
        calls.append(key)
        if len(calls) > 1:
            raise UnavailableError("the store is away")
        real(key)

    monkeypatch.setattr(parts.objects, "delete", away)
    again = parts.quarantine.retry(item.id)
    parts.quarantine.put(again, "broken", "E")
    assert copies(parts) == [BROKEN]
    monkeypatch.undo()
    parts.quarantine.clean()
    assert len(parts.keys()) == 2
    assert parts.quarantine.count() == 1
    assert list((parts.quarantine.path / "leaving").iterdir()) == []


def test_an_entry_whose_taker_died_stays(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    item = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    (parts.quarantine.path / "leaving").mkdir()
    (parts.quarantine.path / "leaving" / item.name).touch()
    other = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    assert other.id != item.id, "nobody counts on what may be leaving"
    parts.quarantine.clean()
    assert parts.quarantine.count() == 2
    assert len(copies(parts)) == 2
    assert list((parts.quarantine.path / "leaving").iterdir()) == []


def test_one_takes_an_entry_out_at_a_time(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    item = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    other = other_worker(parts)
    real = parts.journal.suspect

    def meanwhile(name: str) -> None:
        with pytest.raises(ConflictError):
            other.drop(item.id, "why", "me")
        real(name)

    monkeypatch.setattr(parts.journal, "suspect", meanwhile)
    parts.quarantine.retry(item.id)
    with pytest.raises(NotFoundError):
        other.drop(item.id, "why", "me")


def test_a_spoilt_copy_is_not_given_back_while_there_is_a_good_one(parts: Parts) -> None:
    data = part10()
    item = parts.quarantine.put(spool_one(parts.spool, data), "the index refused it", "InvalidInputError")
    spoil(parts.quarantine.file(item))
    again = parts.quarantine.retry(item.id)
    assert parts.spool.source(again).read() == data


def test_bytes_that_were_never_received_are_given_back_by_force_alone(parts: Parts) -> None:
    data = part10()
    item = parts.quarantine.put(spool_one(parts.spool, data), "refused", "E")
    spoil(parts.quarantine.file(item))
    spoil(parts.objects.path / "quarantine" / item.name)
    with pytest.raises(IntegrityError, match="not those that were received"):
        parts.quarantine.retry(item.id)
    assert list(parts.spool.entries()) == []
    assert list(parts.quarantine.list()) == [item]
    spoilt = parts.quarantine.file(item).read_bytes()
    again = parts.quarantine.retry(item.id, force=True)
    assert parts.spool.source(again).read() == spoilt


def test_an_entry_that_came_here_damaged_does_not_become_a_whole_one(parts: Parts) -> None:
    entry = spool_one(parts.spool, part10())
    source = parts.spool.source(entry)
    with source.path.open("r+b") as file:
        file.seek(source.offset + source.length - 5)
        file.write(b"\xff")
    item = parts.quarantine.put(entry, "the bytes are not those that were received", "IntegrityError")
    with pytest.raises(IntegrityError):
        parts.quarantine.retry(item.id)
    assert parts.quarantine.count() == 1


def test_good_bytes_are_not_dropped_for_a_spoilt_copy(parts: Parts) -> None:
    item = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    spoil(parts.quarantine.file(item))
    fresh = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    assert fresh.id != item.id
    assert parts.quarantine.file(fresh).read_bytes() == BROKEN
    assert parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E") == fresh


def test_a_copy_that_the_store_has_lost_is_put_again_when_the_bytes_come_again(parts: Parts) -> None:
    item = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    (parts.objects.path / "quarantine" / item.name).unlink()
    parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    assert copies(parts) == [BROKEN]


def test_what_took_the_place_of_an_entry_while_it_was_read_is_not_kept_under_its_name(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = spool_one(parts.spool, BROKEN)
    slow = other_worker(parts)
    real = copying._read
    path = parts.spool.source(entry).path
    done = []

    def read(fd: int, at: int, end: int) -> tuple[bytes, int]:
        if not done:
            done.append(1)
            parts.quarantine.put(entry, "broken", "E")
            return bytes(end - at), 0  # of the next instance in this place
        return real(fd, at, end)

    assert path.exists()
    monkeypatch.setattr(copying, "_read", read)
    with pytest.raises(FileNotFoundError):
        slow.put(entry, "broken", "E")
    (item,) = parts.quarantine.list()
    assert parts.quarantine.file(item).read_bytes() == BROKEN
    assert copies(parts) == [BROKEN]


def test_a_good_file_is_never_replaced_by_a_damaged_one_and_heals_the_store(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = spool_one(parts.spool, BROKEN)
    monkeypatch.setattr(parts.spool, "finish", lambda _entries: None)  # the crash
    parts.quarantine.put(entry, "broken", "E")
    spoil(parts.objects.path / "quarantine" / entry.name)
    parts.quarantine.put(entry, "broken", "E")
    assert copies(parts) == [BROKEN]
    spoil(parts.spool.source(entry).path)
    monkeypatch.undo()
    item = parts.quarantine.put(entry, "broken", "E")
    assert parts.quarantine.file(item).read_bytes() == BROKEN
    assert copies(parts) == [BROKEN]


def test_what_cannot_be_read_is_zeros_and_the_rest_is_kept(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(50_000)
    entry = spool_one(parts.spool, data)
    source = parts.spool.source(entry)
    bad = source.offset - source.offset % 4096 + 8192
    real = os.preadv

    def preadv(fd: int, buffers: list[bytearray], at: int) -> int:
        if Path(f"/proc/self/fd/{fd}").readlink() == source.path and at <= bad < at + len(buffers[0]):
            raise OSError(errno.EIO, "a bad sector")
        return real(fd, buffers, at)

    monkeypatch.setattr(os, "preadv", preadv)
    item = parts.quarantine.put(entry, "cannot be read", "OSError")
    start = bad - source.offset
    kept = data[:start] + bytes(4096) + data[start + 4096 :]
    assert parts.quarantine.file(item).read_bytes() == kept
    assert copies(parts) == [kept]
    assert "4096 bytes cannot be read" in item.reason
    with pytest.raises(IntegrityError):
        parts.quarantine.retry(item.id)


def test_what_somebody_else_laid_there_is_no_entry(parts: Parts) -> None:
    (parts.quarantine.path / "x.dcm").write_bytes(b"x")
    item = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    assert list(parts.quarantine.list()) == [item]
    assert parts.quarantine.count() == 1
    assert parts.quarantine.show(item.id) == item


def test_a_folder_that_was_removed_is_made_again(parts: Parts) -> None:
    parts.quarantine.path.rmdir()
    assert parts.quarantine.count() == 0
    parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    assert parts.quarantine.count() == 1


def test_what_killed_processes_left_is_cleared_away_and_nothing_else(parts: Parts) -> None:
    item = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")
    old, young = parts.quarantine.path / ".123-abc", parts.quarantine.path / ".124-abc"
    orphan = parts.quarantine.path / f"{item.name[:-5]}x.dcm.reason.json"
    for path in (old, young, orphan):
        path.write_bytes(b"x")
    note = parts.quarantine.path / f"{item.name}.reason.json"
    hidden = parts.journal.inflight / ".9-9"
    draft = parts.journal.attempts / ".9-9"
    for path in (hidden, draft):
        path.touch()
    before = time.time() - 7200
    for path in (old, orphan, note, parts.quarantine.file(item), hidden, draft):
        os.utime(path, (before, before))
    parts.quarantine.clean()
    parts.journal.clean()
    assert not old.exists()
    assert not orphan.exists()
    assert not hidden.exists()
    assert not draft.exists()
    assert young.exists()
    assert list(parts.quarantine.list()) == [item]


def test_a_spool_that_takes_nothing_back_leaves_the_entry_as_it_was(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E")

    def full(_self: Spool, *_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Spool, "begin", full)
    with pytest.raises(UnavailableError):
        parts.quarantine.retry(item.id)
    monkeypatch.undo()
    assert parts.quarantine.put(spool_one(parts.spool, BROKEN), "broken", "E") == item
