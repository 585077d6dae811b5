"""A file system that gives up between a name and its sync: nobody is told that the name is durable.

It gives up when its journal cannot be written, for the sake of whoever waits for that. XFS then lets others sync their
folders without an error, and what was not in the journal is gone.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disk_image import DiskImage, disk_image
from tests.support.instances import spool_one
from tests.support.mounts import work_folder
from vna.domain.errors import ArchiveError
from vna.files import make_durable_folder
from vna.ingest.spool import Spool
from vna.ports.objects import Put
from vna.security import audit_journal
from vna.store.folder import FolderStore

# XFS_IOC_GOINGDOWN and EXT4_IOC_SHUTDOWN, and the flag that drops the journal.
_SHUT_DOWN, _NO_LOG_FLUSH = 0x8004587D, struct.pack("I", 2)


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest) -> Iterator[DiskImage]:
    with work_folder() as folder, disk_image(folder / "disk", request.param) as made:
        yield made


def _shut_down_at_folder(monkeypatch: pytest.MonkeyPatch, disk: DiskImage) -> None:
    """Have the file system give up when a folder is open that is about to be synced, as it does for another's sake."""
    real = os.fsync
    place = os.open(disk.path, os.O_RDONLY)

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            monkeypatch.setattr(os, "fsync", real)
            fcntl.ioctl(place, _SHUT_DOWN, _NO_LOG_FLUSH)
            os.close(place)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_large_instance_is_not_acknowledged(disk: DiskImage, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(disk.path / "spool", log_bytes=0)
    spool_one(spool, b"x" * 1000)
    for number in range(256):
        make_durable_folder(spool.files.path / f"{number:02x}")
    _shut_down_at_folder(monkeypatch, disk)
    with pytest.raises(ArchiveError):
        spool_one(spool, b"y" * 1000)
    spool.close()


def test_an_object_is_not_stored(disk: DiskImage, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(disk.path / "objects")
    store.put("before", b"x")
    _shut_down_at_folder(monkeypatch, disk)
    with pytest.raises(ArchiveError):
        store.put_batch([Put("after", b"x")])
    store.close()


def test_a_document_is_not_replaced(disk: DiskImage, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(disk.path / "objects")
    store.replace("document", b"x")
    _shut_down_at_folder(monkeypatch, disk)
    with pytest.raises(ArchiveError):
        store.replace("document", b"y")
    store.close()


def test_the_trail_s_head_is_not_moved(disk: DiskImage, monkeypatch: pytest.MonkeyPatch) -> None:
    head: Path = disk.path / "head.json"
    audit_journal.write_whole(head, b"1")
    _shut_down_at_folder(monkeypatch, disk)
    with pytest.raises(OSError, match=r"error|Read-only|shut"):
        audit_journal.write_whole(head, b"2")
