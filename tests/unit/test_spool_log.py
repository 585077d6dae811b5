"""The spool's log: what it makes durable comes back after a power cut, and nothing else does."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash

from tests.support.ports import wait_until
from vna.domain.origin import Origin
from vna.ingest import spool_segment
from vna.ingest.spool import Spool
from vna.ingest.spool_log import SpoolLog
from vna.ingest.spool_segment import records

ORIGIN = Origin("dimse", "SCU", "VNA", "127.0.0.1")
ROOT = Path(__file__).parents[2]
SMALL = 8 << 20


def put(spool: Spool, data: bytes) -> str:
    with spool.begin(ORIGIN) as file:
        file.write(data[:100])
        file.write(data[100:])
        return file.seal().name


def after_power_cut(folder: Path, to: Path, *, lost: bool = True) -> Path:
    """Copy a spool as a power cut leaves it: the log's segments of another boot, and no file or a short one."""
    shutil.copytree(folder, to)
    for segment in (to / "log").iterdir():
        data = bytearray(segment.read_bytes())
        data[16:52] = b"an earlier boot".ljust(36)
        segment.write_bytes(data)
    for number, file in enumerate(sorted((to / "incoming").iterdir())):
        if lost and number % 2:
            file.unlink()
        elif lost:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return to


def spool_log_checksum(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data)


def ready(log: SpoolLog, folder: Path) -> None:
    """Return when the log has segments to write to."""
    log.prepare()
    deadline = time.monotonic() + 30
    while len(log._free) < log._most:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(whole(folder)) == log._most


def whole(folder: Path) -> list[Path]:
    """Return the segments that are whole, whether somebody has them or they are free."""
    return [path for path in folder.iterdir() if read(path)[:8] == b"VNASEG01"]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # another name meanwhile, as somebody took it
        return b""


def free(folder: Path) -> list[Path]:
    return list(folder.glob("free-*"))


def with_records(folder: Path) -> list[Path]:
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if list(records(file.fileno())):
                found.append(path)
    return found


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", log_bytes=SMALL)
    ready(spool.log, spool.path / "log")
    yield spool
    spool.close()


def test_small_entries_are_written_anew_after_a_power_cut(spool: Spool, tmp_path: Path) -> None:
    sent = {put(spool, os.urandom(size)): size for size in (1, 100, 4096, 70_000, 1 << 20)}
    content = {name: spool.file(name).read_bytes() for name in sent}
    again = Spool(after_power_cut(spool.path, tmp_path / "again"), log_bytes=SMALL)
    assert {entry.name: again.file(entry).read_bytes() for entry in again.entries()} == content
    assert not with_records(again.path / "log")
    assert len(free(again.path / "log")) == 4


def test_an_entry_that_was_stored_and_dropped_comes_back_whole(spool: Spool, tmp_path: Path) -> None:
    name = put(spool, b"x" * 5000)
    content = spool.file(name).read_bytes()
    spool.file(name).unlink()
    again = Spool(after_power_cut(spool.path, tmp_path / "again"), log_bytes=SMALL)
    assert again.file(name).read_bytes() == content


def test_a_large_entry_takes_no_room_in_the_log(spool: Spool) -> None:
    put(spool, bytes(3 << 20))
    assert not with_records(spool.path / "log")


def test_a_record_that_was_cut_short_is_left_out(spool: Spool, tmp_path: Path) -> None:
    names = [put(spool, os.urandom(9000)) for _ in range(3)]
    folder = after_power_cut(spool.path, tmp_path / "again")
    [segment] = with_records(folder / "log")
    with segment.open("rb") as file:
        middle = list(records(file.fileno()))[1]
    data = bytearray(segment.read_bytes())
    data[middle.offset + 8000] ^= 1
    segment.write_bytes(data)
    again = Spool(folder)
    whole = {entry.name for entry in again.entries() if again.file(entry).stat().st_size == entry.length}
    assert whole == {names[0], names[2]}


def test_records_of_an_earlier_use_of_a_segment_are_left_out(tmp_path: Path) -> None:
    syncs: list[int] = []
    spool = Spool(tmp_path / "spool", log_bytes=SMALL)
    (tmp_path / "log").mkdir()
    log = SpoolLog(tmp_path / "log", lambda: syncs.append(1), lambda _folder: None, segment_bytes=1 << 20, most=1)
    ready(log, tmp_path / "log")
    data = os.urandom(300_000)
    checksum = spool_log_checksum(data)
    source = tmp_path / "source"
    source.write_bytes(data)
    fd = os.open(source, os.O_RDONLY)
    written = []
    for number in range(50):
        while not log.append(f"entry-{number}", fd, len(data), checksum):
            pass
        written.append(f"entry-{number}")
    os.close(fd)
    [segment] = (tmp_path / "log").iterdir()
    with segment.open("rb") as file:
        left = [record.name for record in records(file.fileno())]
    assert left
    assert left == written[-len(left) :]
    assert len(left) <= 3
    assert syncs
    log.close()
    spool.close()


def test_without_room_the_caller_does_it_itself(tmp_path: Path) -> None:
    hold = threading.Event()
    (tmp_path / "log").mkdir()
    log = SpoolLog(tmp_path / "log", hold.wait, lambda _folder: None, segment_bytes=64 << 10, most=1)  # type: ignore[arg-type]
    ready(log, tmp_path / "log")
    source = tmp_path / "source"
    source.write_bytes(bytes(30_000))
    with source.open("rb") as file:
        checksum = spool_log_checksum(bytes(30_000))
        answers = [log.append(str(number), file.fileno(), 30_000, checksum) for number in range(4)]
    assert answers == [True, False, False, False]
    hold.set()
    log.close()


def test_the_log_of_a_live_process_is_left_alone(spool: Spool) -> None:
    put(spool, b"x" * 100)
    other = Spool(spool.path, log_bytes=SMALL)
    assert len(with_records(spool.path / "log")) == 1
    other.close()
    assert not free(spool.path / "log")
    spool.close()
    assert not with_records(spool.path / "log")


def test_segments_outlive_their_process_and_are_taken_again(spool: Spool) -> None:
    logs = spool.path / "log"
    put(spool, b"x" * 100)
    spool.close()
    left = {path.stat().st_ino for path in free(logs)}
    assert len(left) == 4
    again = Spool(spool.path, log_bytes=SMALL)
    put(again, b"y" * 100)  # without a segment as yet: the file itself is made durable
    ready(again.log, logs)
    wait_until(lambda: not free(logs), 30, "the segments are taken")
    assert {path.stat().st_ino for path in whole(logs)} == left
    name = put(again, b"z" * 100)
    [segment] = with_records(logs)
    with segment.open("rb") as file:
        assert [record.name for record in records(file.fileno())] == [name]
    again.close()


def test_of_two_processes_one_takes_a_segment(spool: Spool) -> None:
    logs = spool.path / "log"
    spool.close()
    both = [Spool(spool.path, log_bytes=SMALL) for _ in range(2)]
    for one in both:
        one.log.prepare()
    wait_until(lambda: len(whole(logs)) == 8 and not free(logs), 30, "each has segments of its own")
    for one in both:
        one.close()
    assert len(free(logs)) == 8


def test_a_segment_at_rest_is_emptied_so_that_nothing_old_comes_back(tmp_path: Path) -> None:
    syncs: list[int] = []
    logs = tmp_path / "log"
    logs.mkdir()
    log = SpoolLog(logs, lambda: syncs.append(1), lambda _folder: None, segment_bytes=64 << 10, rest_seconds=0.2)
    ready(log, logs)
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with source.open("rb") as file:
        assert log.append("name", file.fileno(), 1, spool_log_checksum(b"x"))
    assert len(with_records(logs)) == 1
    wait_until(lambda: not with_records(logs), 10, "the record is gone")
    assert syncs
    log.close()


def test_a_segment_of_another_size_or_none_at_all_is_removed(spool: Spool) -> None:
    logs = spool.path / "log"
    spool.close()
    for path in free(logs):
        os.truncate(path, 100_000)
    (logs / "free-1-torn").write_bytes(b"VNA")
    again = Spool(spool.path, log_bytes=SMALL)
    ready(again.log, logs)
    wait_until(lambda: not free(logs), 30, "free ones are gone")
    assert {path.stat().st_size for path in logs.iterdir()} == {SMALL // 4}
    again.close()


def test_after_kill_9_of_the_process_alone_files_are_there_and_the_log_goes(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from vna.ingest.spool import Spool; "
        "from vna.domain.origin import Origin\n"
        "spool = Spool(Path(sys.argv[1]), log_bytes=1 << 20); spool.log.prepare()\n"
        "import time\n"
        "while len(list((spool.path / 'log').iterdir())) < 4: time.sleep(0.01)\n"
        "for number in range(20):\n"
        "    with spool.begin(Origin('dimse')) as file:\n"
        "        file.write(bytes([number]) * 5000)\n"
        "        print(file.seal().name, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "spool")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert with_records(tmp_path / "spool" / "log")
    spool = Spool(tmp_path / "spool", log_bytes=SMALL)
    assert sorted(entry.name for entry in spool.entries()) == sorted(done.stdout.split())
    assert not with_records(tmp_path / "spool" / "log")


def test_many_threads_append_at_once(spool: Spool, tmp_path: Path) -> None:
    content: dict[str, bytes] = {}

    def send(number: int) -> None:
        for size in (10, 5000, 200_000):
            data = bytes([number]) * size
            content[put(spool, data)] = data

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = Spool(after_power_cut(spool.path, tmp_path / "again"), log_bytes=SMALL)
    assert {entry.name: again.file(entry).read_bytes() for entry in again.entries()} == content


def test_a_disk_too_short_for_a_segment_still_takes_the_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool_segment.os, "pwrite", no_space)
    spool = Spool(tmp_path / "spool", log_bytes=SMALL)
    names = [put(spool, b"x" * 1000) for _ in range(5)]
    time.sleep(0.1)
    names.append(put(spool, b"x" * 1000))
    monkeypatch.undo()
    assert {spool.file(name).stat().st_size for name in names} == {1000}
    assert not list((spool.path / "log").iterdir())
    spool.close()
