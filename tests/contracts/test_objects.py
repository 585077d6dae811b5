"""What every object store promises: putting and reading. One test for each sentence of the port."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import xxhash

from tests.contracts.objects_adapters import DATA, ObjectsSpec, open_objects
from tests.contracts.objects_processes import content, pass_large, put_for_ever, put_one
from vna.domain.errors import IntegrityError, NotFoundError
from vna.domain.file_range import FileRange
from vna.ports.objects import ObjectStore, Put

MIB = 1 << 20
SPAWN = multiprocessing.get_context("spawn")
BAD_KEYS = ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "../a", "a b", "a\\b", "ä", "a\n", "a~", "a\0"]
BAD_KEYS += ["a" * 513, "a/" * 256 + "b", "a" * 256]


def ranged(folder: Path, length: int) -> tuple[bytes, FileRange]:
    """Return bytes, and where they are in a file among others."""
    content = (DATA * (length // len(DATA) + 1))[:length]
    path = folder / "segment"
    path.write_bytes(b"before" * 1000 + content + b"after" * 1000)
    return content, FileRange(path, 6000, length, xxhash.xxh3_64_intdigest(content))


def test_an_absent_object_is_put_and_a_present_one_is_left(objects: ObjectStore) -> None:
    assert objects.put("a/b", b"first") is True
    assert objects.put("a/b", b"second") is False
    assert objects.get("a/b") == b"first"


def test_outcomes_come_in_the_order_of_the_puts(objects: ObjectStore, tmp_path: Path) -> None:
    objects.put("k/3", b"old")
    puts = []
    for number in range(40):
        source = tmp_path / str(number)
        source.write_bytes(b"%d" % number)
        puts.append(Put(f"k/{number}", source if number % 3 else b"%d" % number))
    assert objects.put_batch(puts) == [number != 3 for number in range(40)]
    assert objects.get("k/3") == b"old"
    assert all(objects.get(f"k/{number}") == b"%d" % number for number in range(40) if number != 3)


def test_a_batch_of_nothing_is_fine(objects: ObjectStore) -> None:
    assert objects.put_batch([]) == []


def test_of_one_key_twice_in_a_batch_one_is_stored(objects: ObjectStore) -> None:
    stored = objects.put_batch([Put("twice", b"1"), Put("other", b"o"), Put("twice", b"2")])
    assert stored[1]
    assert stored[0] != stored[2]
    assert objects.get("twice") == (b"1" if stored[0] else b"2")


def test_an_empty_object_is_an_object(objects: ObjectStore, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert objects.put_batch([Put("e/1", b""), Put("e/2", empty)]) == [True, True]
    for key in ("e/1", "e/2"):
        assert objects.get(key) == b""
        assert list(objects.stream(key)) == []
        assert list(objects.stream(key, 0, 5)) == []
        with objects.open(key) as file:
            assert file.read() == b""


def test_a_file_source_may_be_removed_afterwards(objects: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    assert objects.put("f", source)
    source.unlink()
    assert objects.get("f") == DATA


def test_a_file_in_parts_comes_back_whole_and_is_put_once(objects: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    large = DATA * 12
    source.write_bytes(large)
    assert objects.put_batch([Put("small", b"s"), Put("large", source)]) == [True, True]
    assert objects.put("large", source) is False
    assert objects.get("large") == large


def test_a_file_of_another_file_system_is_copied(objects: ObjectStore) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        source = Path(folder) / "source"
        source.write_bytes(DATA)
        assert objects.put("f", source)
        source.write_bytes(b"other")
    assert objects.get("f") == DATA


def test_of_a_symbolic_link_the_bytes_are_kept_not_the_link(objects: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(DATA)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert objects.put("f", tmp_path / "link")
    (tmp_path / "target").unlink()
    assert objects.get("f") == DATA


def test_a_missing_file_source_is_not_found_unless_its_key_is_there(objects: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        objects.put("f", tmp_path / "none")
    objects.put("f", b"by a faster worker")
    assert objects.put("f", tmp_path / "none") is False


@pytest.mark.parametrize("length", [0, 9_000, 525_000, 12 * len(DATA)], ids=["empty", "small", "middle", "in parts"])
def test_a_range_of_a_file_is_put(objects: ObjectStore, tmp_path: Path, length: int) -> None:
    content, source = ranged(tmp_path, length)
    assert objects.put_batch([Put("r", source), Put("s", b"s")]) == [True, True]
    assert objects.get("r") == content
    assert objects.put("r", source) is False
    # It was copied: the next owner of the place writes over it.
    source.path.write_bytes(b"other")
    assert objects.get("r") == content


@pytest.mark.parametrize("length", [9_000, 12 * len(DATA)], ids=["small", "in parts"])
@pytest.mark.parametrize("damage", ["byte", "last", "short", "checksum"])
def test_a_range_with_other_bytes_is_not_put(objects: ObjectStore, tmp_path: Path, length: int, damage: str) -> None:
    _, source = ranged(tmp_path, length)
    with source.path.open("r+b") as file:
        if damage == "short":
            file.truncate(source.offset + length - 1)
        elif damage == "checksum":
            source = replace(source, checksum=0)
        else:
            file.seek(source.offset + (length - 1 if damage == "last" else 100))
            file.write(b"#" if file.peek(1)[:1] != b"#" else b"+")  # type: ignore[attr-defined]
    with pytest.raises(IntegrityError):
        objects.put("r", source)
    assert objects.head("r") is None
    assert list(objects.list()) == []


def test_a_range_without_a_checksum_is_put_unless_it_is_short(objects: ObjectStore, tmp_path: Path) -> None:
    content, source = ranged(tmp_path, 9_000)
    assert objects.put("r", replace(source, checksum=None))
    assert objects.get("r") == content
    with pytest.raises(IntegrityError):
        objects.put("s", replace(source, checksum=None, length=1 << 20))
    assert objects.head("s") is None


def test_a_range_of_a_missing_file_is_not_found_unless_its_key_is_there(objects: ObjectStore, tmp_path: Path) -> None:
    missing = FileRange(tmp_path / "none", 4096, 10, 1)
    with pytest.raises(NotFoundError):
        objects.put("f", missing)
    objects.put("f", b"by a faster worker")
    assert objects.put("f", missing) is False
    with pytest.raises(NotFoundError):
        objects.put("g", replace(missing, length=100 * MIB))


def test_of_many_threads_with_other_bytes_one_wins_whole(objects: ObjectStore) -> None:
    start = threading.Barrier(8)

    def put(writer: int) -> bool:
        start.wait(60)
        return objects.put("race/key", content(writer))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert won.count(True) == 1
    assert objects.get("race/key") == content(won.index(True))


def test_of_many_processes_with_other_bytes_one_wins_whole(objects: ObjectStore, objects_spec: ObjectsSpec) -> None:
    start, answers = SPAWN.Barrier(3), SPAWN.Queue()
    processes = [SPAWN.Process(target=put_one, args=(objects_spec, "race", n, start, answers)) for n in range(3)]
    for process in processes:
        process.start()
    won = dict(answers.get(timeout=90) for _ in processes)
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    winners = [writer for writer, stored in won.items() if stored]
    assert len(winners) == 1
    assert objects.get("race") == content(winners[0])


def test_a_killed_process_leaves_no_partial_object(
    objects: ObjectStore, objects_spec: ObjectsSpec, tmp_path: Path
) -> None:
    begun = SPAWN.Event()
    process = SPAWN.Process(target=put_for_ever, args=(objects_spec, tmp_path, begun))
    process.start()
    assert begun.wait(90)
    # In the middle of some batch: where, differs from run to run.
    threading.Event().wait(random.uniform(0, 0.2))
    process.kill()
    process.join(30)
    seen = [info.key for info in objects.list("k/")]
    assert len(seen) >= 20
    for key, data in objects.get_many(seen):
        assert data == content(int(key[2:]) % 256), key
    again = [Put(f"k/{number:06d}", content(number % 256)) for number in range(len(seen) + 20)]
    assert objects.put_batch(again).count(False) == len(seen)


def test_after_a_fork_the_child_can_use_the_store(objects: ObjectStore) -> None:
    objects.put_batch([Put(f"before/{number}", b"x") for number in range(5)])
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=objects.put_batch, args=([Put(f"after/{n}", b"y") for n in range(5)],))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert [data for _, data in objects.get_many([f"after/{n}" for n in range(5)])] == [b"y"] * 5


def test_a_document_is_replaced(objects: ObjectStore) -> None:
    objects.replace("facts/one", b"1")
    objects.replace("facts/one", b"two")
    assert objects.get("facts/one") == b"two"
    assert [info.size for info in objects.list("facts/")] == [3]


def test_readers_see_the_old_document_or_the_new_one(objects: ObjectStore) -> None:
    objects.replace("facts/one", content(0))
    stop = threading.Event()

    def read() -> Counter[bytes]:
        seen: Counter[bytes] = Counter()
        while not stop.is_set():
            seen[objects.get("facts/one")] += 1
        return seen

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for number in range(30):
            objects.replace("facts/one", content(number % 5))
        stop.set()
        seen = sum((reader.result() for reader in readers), Counter())
    assert set(seen) <= {content(number) for number in range(5)}
    assert seen.total() > 0


def test_a_missing_object_is_not_found(objects: ObjectStore) -> None:
    for read in (
        objects.get,
        objects.open,
        lambda key: next(objects.stream(key)),
        lambda key: list(objects.stream(key, 5, 5)),
    ):
        with pytest.raises(NotFoundError):
            read("no/such")
    with pytest.raises(NotFoundError):
        list(objects.stream("no/such", 0, 0))
    assert objects.head("no/such") is None


def test_many_are_read_in_the_order_asked_with_none_for_the_missing(objects: ObjectStore) -> None:
    objects.put_batch([Put(f"m/{number}", b"%d" % number) for number in range(40)])
    keys = [f"m/{number}" for number in random.Random(1).sample(range(60), 60)]
    expected = [(key, key[2:].encode() if int(key[2:]) < 40 else None) for key in keys]
    assert list(objects.get_many(keys)) == expected
    assert next(objects.get_many(keys)) == expected[0]
    assert list(objects.get_many([])) == []


@pytest.mark.parametrize("start", [0, 1, MIB, 3 * MIB + 16, 3 * MIB + 17, 4 * MIB])
@pytest.mark.parametrize("length", [None, 0, 1, MIB + 1, 5 * MIB])
def test_a_range_yields_what_there_is_of_it(read_only: ObjectStore, start: int, length: int | None) -> None:
    end = None if length is None else start + length
    assert b"".join(read_only.stream("data", start, length)) == DATA[start:end]


def test_pieces_are_no_larger_than_asked(read_only: ObjectStore) -> None:
    pieces = list(read_only.stream("data", chunk=100_000))
    assert b"".join(pieces) == DATA
    assert max(map(len, pieces)) <= 100_000


def test_a_stream_can_be_left_early(read_only: ObjectStore) -> None:
    for _ in range(30):
        stream = read_only.stream("data", chunk=10)
        assert next(stream) == DATA[:10]
        del stream


def test_an_open_object_is_read_at_any_position(read_only: ObjectStore) -> None:
    choose = random.Random(3)
    expected = io.BytesIO(DATA)
    with read_only.open("data") as file:
        assert file.seekable()
        for _ in range(60):
            position = choose.randrange(len(DATA) + 10)
            size = choose.choice([1, 128, 70_000, MIB])
            assert file.seek(position) == expected.seek(position)
            assert file.read(size) == expected.read(size)
            assert file.tell() == expected.tell()
        assert file.seek(-100, os.SEEK_END) == len(DATA) - 100
        assert file.read() == DATA[-100:]
        assert file.read(1) == b""
        file.seek(0)
        assert file.read() == DATA


def test_an_open_object_is_read_in_sequence(read_only: ObjectStore) -> None:
    with read_only.open("data") as file:
        pieces = list(iter(lambda: file.read(50_000), b""))
    assert b"".join(pieces) == DATA


def test_head_says_size_time_and_class(objects: ObjectStore) -> None:
    objects.put("h", b"12345")
    info = objects.head("h")
    assert info is not None
    assert (info.key, info.size, info.storage_class) == ("h", 5, "STANDARD")
    assert info.modified.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - info.modified) < timedelta(seconds=60)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_bad_key_is_refused_by_every_method(read_only: ObjectStore, tmp_path: Path, key: str) -> None:
    calls: list[Any] = [
        lambda: read_only.put(key, b"x"),
        lambda: read_only.put_batch([Put("good", b"x"), Put(key, b"x")]),
        lambda: read_only.replace(key, b"x"),
        lambda: read_only.get(key),
        lambda: list(read_only.get_many(["data", key])),
        lambda: list(read_only.stream(key)),
        lambda: read_only.open(key),
        lambda: read_only.head(key),
        lambda: read_only.delete(key),
        lambda: read_only.set_storage_class(key, "STANDARD"),
        lambda: read_only.set_legal_hold(key, on=True),
        lambda: read_only.set_retention(key, datetime.now(UTC)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="not a key"):
            call()
    assert [info.key for info in read_only.list()] == ["data"]


def test_a_long_key_is_kept(objects: ObjectStore) -> None:
    key = "/".join(["a" * 127] * 4)
    assert len(key) == 511
    objects.put(key, b"x")
    assert [info.key for info in objects.list()] == [key]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_object(objects: ObjectStore, objects_spec: ObjectsSpec, tmp_path: Path) -> None:
    source = tmp_path / "large"
    with source.open("wb") as file:
        for _ in range(200):
            file.write(DATA[:MIB])
    answers = SPAWN.Queue()
    process = SPAWN.Process(target=pass_large, args=(objects_spec, source, answers))
    process.start()
    length, grown_by_put, grown_by_stream = answers.get(timeout=120)
    process.join(30)
    assert length == 200 * MIB
    assert grown_by_put < 40 * MIB
    assert grown_by_stream < 20 * MIB
    with closing(open_objects(objects_spec)) as other, other.open("large") as file:
        file.seek(150 * MIB)
        assert file.read(MIB) == DATA[:MIB]
