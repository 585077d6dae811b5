"""Small programs on a recorded disk: the spool, the object store and the quarantine alone, step by step."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.support.crash_settings import DATA, crash_settings
from tests.support.crash_workloads import Disk
from tests.support.instances import part10, spool_one
from tests.support.ports import wait_until
from tests.support.sending import sha256
from vna.bootstrap import Archive
from vna.domain.file_range import FileRange
from vna.ports.objects import Put

_SENDERS = 3
_ROUNDS = 3
# Few instances fill a segment of 512 KiB, so that emptied ones are used again.
_LOG_BYTES = 2 << 20


def play_spool(disk: Disk, seed: int) -> None:
    """Receive by several threads, commit, stop, start again."""
    source = random.Random(seed)
    data = disk.path / DATA
    for round_ in range(_ROUNDS):
        archive = Archive(crash_settings(data, log_bytes=_LOG_BYTES))
        archive.spool.prepare()
        _wait_for_segments(archive.spool.segments)
        parts = [[_instance(round_, sender, number, source) for number in range(20)] for sender in range(_SENDERS)]
        threads = [threading.Thread(target=_spool, args=(disk, archive, part)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        committer = archive.committer()
        names = sorted(entry.name for entry in archive.spool.entries())
        left = 0 if round_ % 2 == 0 else 10
        for at in range(left, len(names), 16):
            batch = names[at : at + 16]
            committer.commit(batch)
            for name in batch:
                # Those in files of their own may come back, as duplicates.
                if ".f." not in name:
                    disk.marks("finished", name)
        committer.close()
        archive.close()
        disk.marks("stopped", round_)


def _wait_for_segments(folder: Path) -> None:
    """Return when no more are being made: nothing that is synced for the next one helps the last one."""
    before: set[str] = set()

    def at_rest() -> bool:
        found = {path.name for path in folder.iterdir()}
        rest = bool(found) and found == before
        before.clear()
        before.update(found)
        return rest

    wait_until(at_rest, 20, "segments", every=0.7)


def _instance(round_: int, sender: int, number: int, source: random.Random) -> bytes:
    # Small ones first: the sync of a large one makes much else durable, too.
    size = source.choice([3_000, 9_000, 9_000, 40_000, *([300_000] if number > 12 else [])])
    whole = part10(1 + number, study=1 + round_, series=1 + sender, pixels=source.randbytes(size))
    return whole if source.random() > 0.1 else source.randbytes(900)


def _spool(disk: Disk, archive: Archive, instances: Sequence[bytes]) -> None:
    for data in instances:
        digest = sha256(data)
        disk.marks("sent", "file", digest)
        spool_one(archive.spool, data)
        disk.marks("acknowledged", "file", digest)


def play_store(disk: Disk, seed: int) -> None:
    """Put objects of every kind, one or many at a time, and replace some."""
    source = random.Random(seed)
    data = disk.path / DATA
    objects = Archive(crash_settings(data)).objects
    for number in range(24):
        sources = [_source(disk.path, source, f"{number}-{each}") for each in range(source.choice([1, 1, 2, 7]))]
        puts = [Put(f"test/{number % 5}/{number}-{at}", given) for at, (given, _) in enumerate(sources)]
        for put, (_, digest) in zip(puts, sources, strict=True):
            disk.marks("putting", put.key, digest)
        objects.put_batch(puts)
        for put, (_, digest) in zip(puts, sources, strict=True):
            disk.marks("put", put.key, digest)
        document = source.randbytes(5_000)
        key = f"test/replaced/{number % 3}"
        disk.marks("putting", key, sha256(document))
        objects.replace(key, document)
        disk.marks("put", key, sha256(document))
    objects.close()


def _source(folder: Path, source: random.Random, name: str) -> tuple[bytes | Path | FileRange, str]:
    """Return what is to be put, written but not made durable by anybody, and its digest."""
    data = source.randbytes(source.choice([700, 20_000, 300_000]))
    kind = source.randrange(3)
    if kind == 0:
        return data, sha256(data)
    path = folder / f"source-{name}"
    if kind == 1:
        path.write_bytes(data)
        return path, sha256(data)
    path.write_bytes(bytes(4096) + data + bytes(100))
    return FileRange(path, 4096, len(data)), sha256(data)


PROGRAMS = {"spool": play_spool, "store": play_store}
