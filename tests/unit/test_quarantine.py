from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.instances import ORIGIN, digest_of, part10, spool_one
from vna.domain.errors import InvalidInputError, NotFoundError, UnavailableError
from vna.ingest.filemeta import peek
from vna.ingest.journal import Journal
from vna.ingest.quarantine import TORN, Quarantine
from vna.ingest.spool import Spool
from vna.ports.objects import Put
from vna.store.folder import FolderStore


class Parts:
    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder / "spool")
        self.journal = Journal(self.spool)
        self.objects = FolderStore(folder / "objects")
        self.quarantine = Quarantine(self.spool, self.journal, self.objects)

    def keys(self) -> list[str]:
        return [info.key for info in self.objects.list("quarantine/")]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def test_bytes_and_reason_move_and_are_copied_to_the_store(parts: Parts) -> None:
    data = part10(7)
    entry = spool_one(parts.spool, data)
    parts.journal.add(entry.name, "x")
    item = parts.quarantine.put(entry, "no StudyInstanceUID (0020,000D)", "UnparsableError", 1)
    assert list(parts.spool.entries()) == []
    assert parts.journal.suspects() == set()
    assert parts.quarantine.file(item).read_bytes() == data
    assert list(parts.quarantine.list()) == [item]
    assert parts.quarantine.count() == 1
    assert item.reason == "no StudyInstanceUID (0020,000D)"
    assert item.origin["calling"] == ORIGIN.calling
    assert item.meta["sop_instance"] == "1.2.3.1.1.7"
    assert item.size == len(data)
    dcm, reason = sorted(parts.keys())
    assert parts.objects.get(dcm) == data
    assert json.loads(parts.objects.get(reason))["reason"] == item.reason


def test_put_again_after_a_crash_gives_the_same(parts: Parts) -> None:
    entry = spool_one(parts.spool, part10())
    finish = parts.spool.finish
    parts.spool.finish = lambda _entries: None  # type: ignore[method-assign]  # the crash
    parts.quarantine.put(entry, "a", "E")
    parts.spool.finish = finish  # type: ignore[method-assign]
    parts.quarantine.put(entry, "b", "E")
    assert [item.reason for item in parts.quarantine.list()] == ["b"]
    assert list(parts.spool.entries()) == []


def test_an_entry_stays_in_the_spool_while_the_store_is_down(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = spool_one(parts.spool, part10())

    def down(_puts: list[Put]) -> list[bool]:
        raise UnavailableError("store: down")

    monkeypatch.setattr(parts.objects, "put_batch", down)
    with pytest.raises(UnavailableError):
        parts.quarantine.put(entry, "a", "E")
    assert list(parts.spool.entries()) == [entry]
    assert parts.quarantine.count() == 0


def test_a_torn_file_stays_local(parts: Parts) -> None:
    entry = spool_one(parts.spool, part10())
    parts.quarantine.put(entry, "torn", TORN)
    assert parts.keys() == []
    assert parts.quarantine.count() == 1


def test_an_id_may_be_shortened_while_it_is_unique(parts: Parts) -> None:
    items = [parts.quarantine.put(spool_one(parts.spool, part10(n)), "a", "E") for n in range(20)]
    one = items[3]
    assert len(one.id) == 12
    assert parts.quarantine.show(one.id) == one
    assert parts.quarantine.show(one.id[:9].upper()) == one
    with pytest.raises(NotFoundError, match="xyz"):
        parts.quarantine.show("xyz")
    with pytest.raises(NotFoundError):
        parts.quarantine.show("")
    # Of 20 ids two at least share the first of 16 digits.
    firsts = [item.id[0] for item in items]
    shared = max(firsts, key=firsts.count)
    with pytest.raises(InvalidInputError, match="start with"):
        parts.quarantine.show(shared)


def test_retry_gives_the_entry_back_as_a_suspect_without_attempts(parts: Parts) -> None:
    data = part10()
    entry = spool_one(parts.spool, data)
    item = parts.quarantine.put(entry, "a", "E", 3)
    again = parts.quarantine.retry(item.id)
    assert (again.received_us, again.origin) == (entry.received_us, entry.origin)
    assert list(parts.spool.entries()) == [again]
    assert parts.spool.source(again).read() == data
    known = parts.journal.get(again.name)
    assert known is not None
    assert known.count == 0
    assert parts.quarantine.count() == 0
    assert parts.keys() == []
    assert [path for path in parts.quarantine.path.rglob("*") if path.is_file()] == []


def test_drop_keeps_the_fact(parts: Parts) -> None:
    data = part10()
    item = parts.quarantine.put(spool_one(parts.spool, data), "broken", "UnparsableError", 1)
    parts.quarantine.drop(item.id, "test object of the vendor", "admin")
    assert parts.quarantine.count() == 0
    assert parts.keys() == []
    fact = json.loads(parts.objects.get(f"facts/quarantine/{item.id}.json"))
    assert fact["by"] == "admin"
    assert fact["why"] == "test object of the vendor"
    assert fact["digest"] == digest_of(data)
    assert fact["entry"]["reason"] == "broken"
    with pytest.raises(NotFoundError):
        parts.quarantine.drop(item.id, "again", "admin")


def test_bytes_without_a_reason_are_listed_all_the_same(parts: Parts) -> None:
    item = parts.quarantine.put(spool_one(parts.spool, part10()), "a", "E")
    (parts.quarantine.path / f"{item.name}.reason.json").unlink()
    (found,) = parts.quarantine.list()
    assert found.id == item.id
    assert "missing" in found.reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"DICM",
        b"\0" * 128 + b"DICM",
        b"\0" * 128 + b"DICM\x02\x00\x00\x00UL",
        b"\0" * 128 + b"DICM\x02\x00\x01\x00OB\x00\x00\xff\xff\xff\xff",
        b"\0" * 128 + b"DICM\x02\x00\x02\x00UI\xff\xff1.2",
        bytes(range(256)) * 100,
    ],
)
def test_peeking_survives_anything(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    assert set(peek(path)) <= {"sop_class"}


def test_peeking_reads_the_file_meta_information(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(part10(3))
    found = peek(path)
    assert found["sop_instance"] == "1.2.3.1.1.3"
    assert found["sop_class"] == "1.2.840.10008.5.1.4.1.1.2"
    assert found["transfer_syntax"] == "1.2.840.10008.1.2.1"


def test_the_same_bytes_for_the_same_reason_wait_once(parts: Parts) -> None:
    first = parts.quarantine.put(spool_one(parts.spool, b"broken"), "no data set", "E")
    again = spool_one(parts.spool, b"broken")
    parts.journal.add(again.name, "x")
    assert parts.quarantine.put(again, "no data set", "E") == first
    assert list(parts.quarantine.list()) == [first]
    assert list(parts.spool.entries()) == []
    assert parts.journal.suspects() == set()
    assert len(parts.keys()) == 2


def test_another_reason_or_other_bytes_of_the_same_length_wait_beside_them(parts: Parts) -> None:
    for data, reason in ((b"broken", "a"), (b"broken", "b"), (b"brokem", "a")):
        parts.quarantine.put(spool_one(parts.spool, data), reason, "E")
    assert parts.quarantine.count() == 3
