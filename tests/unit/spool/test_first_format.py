"""A spool of the first format: what its log holds and its files lack is restored, whatever its segments are called."""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from pathlib import Path

import pytest
import xxhash

from tests.support.instances import ORIGIN
from vna.domain.origin import now_us
from vna.ingest.spool import Spool
from vna.ingest.spool.entry import encode_origin

PAGE = 4096


class FirstFormat:
    """Writes what the archive wrote before it had segments of this format."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("partial", "incoming", "log"):
            (path / name).mkdir(parents=True)

    def name(self, data: bytes) -> str:
        return f"{now_us():014x}.{os.urandom(6).hex()}.{len(data):x}.{encode_origin(ORIGIN)}.dcm"

    def file(self, name: str, data: bytes) -> Path:
        path = self.path / "incoming" / name
        path.write_bytes(data)
        return path

    def segment(self, called: str, records: list[tuple[str, bytes] | None], generation: int = 7) -> Path:
        out = bytearray(struct.pack("<8sQ36s", b"VNASEG01", generation, b"some boot".ljust(36)).ljust(PAGE, b"\0"))
        for record in records:
            if record is None:  # reserved, and never written
                out += bytes(PAGE)
                continue
            name, data = record
            label = name.encode()
            fields = struct.pack("<QQQH", generation, len(data), xxhash.xxh3_64_intdigest(data), len(label))
            out += fields + zlib.crc32(fields + label).to_bytes(4, "little") + label + data
            out += bytes(-len(out) % PAGE)
        path = self.path / "log" / called
        path.write_bytes(bytes(out).ljust(1 << 20, b"\0"))
        return path


@pytest.fixture
def first(tmp_path: Path) -> FirstFormat:
    return FirstFormat(tmp_path / "spool")


def contents(spool: Spool) -> dict[str, bytes]:
    return {entry.name: spool.source(entry).read() for entry in spool.entries()}


@pytest.mark.parametrize("called", ["123-0123456789ab", "free-123-0123456789ab"])
def test_what_the_files_lack_is_restored(first: FirstFormat, called: str) -> None:
    data = [os.urandom(5000) for _ in range(4)]
    names = [first.name(each) for each in data]
    first.file(names[0], data[0])
    first.file(names[1], data[1][:100])
    first.file(names[2], bytes(5000))
    first.segment(called, list(zip(names, data, strict=True)))
    spool = Spool(first.path)
    assert contents(spool) == dict(zip(names, data, strict=True))
    assert list((first.path / "partial").iterdir()) == []
    spool.close()
    # An earlier version makes a folder of this name at its start: it must not run.
    assert (first.path / "log").is_file()
    assert contents(Spool(first.path)) == dict(zip(names, data, strict=True))


def test_a_hole_hides_nothing_behind_it(first: FirstFormat) -> None:
    data = [os.urandom(9000) for _ in range(3)]
    names = [first.name(each) for each in data]
    first.segment("1-a", [(names[0], data[0]), None, (names[1], data[1]), None, None, (names[2], data[2])])
    assert contents(Spool(first.path)) == dict(zip(names, data, strict=True))


def test_records_of_an_earlier_generation_stay_gone(first: FirstFormat) -> None:
    name = first.name(b"old")
    path = first.segment("1-a", [(name, b"old")], 6)
    with path.open("r+b") as file:
        file.write(struct.pack("<8sQ36s", b"VNASEG01", 7, b""))
    assert contents(Spool(first.path)) == {}


def test_segments_that_are_not_known_are_set_aside(first: FirstFormat) -> None:
    foreign = first.path / "log" / "1-b"
    foreign.write_bytes(b"VNASEG09" + os.urandom(100))
    spool = Spool(first.path)
    (aside,) = (first.path / "set-aside").iterdir()
    assert aside.name.startswith("1-b-")
    assert aside.read_bytes().startswith(b"VNASEG09")
    spool.close()


def test_segments_of_a_living_process_are_left_to_it(first: FirstFormat) -> None:
    name = first.name(b"living")
    path = first.segment("1-a", [(name, b"living")])
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert contents(Spool(first.path)) == {}
        assert path.exists()
    assert contents(Spool(first.path)) == {name: b"living"}
    assert (first.path / "log").is_file()


def test_nothing_is_given_up_before_what_it_stands_for_is_durable(
    first: FirstFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = first.name(b"data")
    path = first.segment("1-a", [(name, b"data")])

    def broken(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(Exception, match="Input/output"):
            Spool(first.path)
    assert path.exists()
    assert contents(Spool(first.path)) == {name: b"data"}


def test_entries_of_the_first_format_are_done_with_as_others(first: FirstFormat) -> None:
    name = first.name(b"data")
    path = first.file(name, b"data")
    spool = Spool(first.path)
    (entry,) = spool.entries()
    assert entry.checksum is None
    assert spool.waits(entry)
    spool.finish([entry])
    assert not path.exists()
    assert not spool.waits(entry)
