"""The disks that the power cuts are made with: they keep what was synced, and lose what was not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import mounts
from tests.support.crash_states import CrashStates
from tests.support.disk_faults import extents
from tests.support.disk_image import disk_image
from tests.support.mounts import Loop, mount, unmount, work_folder
from tests.support.ports import wait_until
from tests.support.recorded_disk import RecordedDisk, recorded_disk
from tests.support.worker import ROOT

_KINDS = pytest.mark.parametrize("kind", ["ext4", "xfs"])
_STATES = 40


@pytest.fixture
def folder() -> Iterator[Path]:
    with work_folder() as made:
        yield made


def _write(path: Path, data: bytes, *, sync: bool) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    if sync:
        descriptor = os.open(path.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _found(image: Path, kind: str, place: Path) -> dict[str, bytes]:
    """Return the files in an image."""
    place.mkdir(exist_ok=True)
    loop = Loop(image)
    mount(loop.path, place, kind, 0, "nouuid" if kind == "xfs" else "")
    try:
        return {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    finally:
        unmount(place)
        loop.detach()


def _fill(disk: RecordedDisk) -> None:
    for number in range(20):
        _write(disk.path / f"synced-{number}", bytes([number]) * 10_000, sync=True)
        disk.marks("synced", number)
        _write(disk.path / f"idle-{number}", bytes([number]) * 10_000, sync=False)
        disk.marks("idle", number)


@_KINDS
def test_states_keep_what_was_synced_and_lose_some_of_what_was_not(folder: Path, kind: str) -> None:
    with recorded_disk(folder / "disk", kind) as disk:
        _fill(disk)
    states = CrashStates(folder / "disk", folder)
    lost = 0
    for cut, choice in states.sample(1, _STATES):
        states.make(cut, choice, folder / "state.img")
        found = _found(folder / "state.img", kind, folder / "place")
        for mark in states.log.marks(cut):
            what, number = mark.split(" ")
            whole = found.get(f"{what}-{number}") == bytes([int(number)]) * 10_000
            assert whole or what == "idle", f"state {cut}:{choice}: {mark}"
            lost += not whole
    assert lost


@_KINDS
def test_a_cut_keeps_what_was_synced_and_loses_what_was_not(folder: Path, kind: str) -> None:
    with disk_image(folder / "disk", kind) as disk:
        _write(disk.path / "synced", b"s" * 10_000, sync=True)
        _write(disk.path / "idle", b"i" * 10_000, sync=False)
        disk.cut(folder / "cut.img")
    found = _found(folder / "cut.img", kind, folder / "place")
    assert found["synced"] == b"s" * 10_000
    assert found.get("idle") != b"i" * 10_000


@_KINDS
def test_an_error_of_the_disk_is_told_once(folder: Path, kind: str) -> None:
    with recorded_disk(folder / "disk", kind) as disk:
        path = disk.path / "file"
        _write(path, bytes(8192), sync=True)
        with path.open("r+b", buffering=0) as file:
            file.write(b"x" * 8192)
            disk.faults(write=1)
            with pytest.raises(OSError, match="error"):
                os.fdatasync(file.fileno())
            os.fdatasync(file.fileno())  # nothing was written by it
        assert disk.told()["write"] == 1
        disk.cut(folder / "cut.img")
    assert _found(folder / "cut.img", kind, folder / "place")["file"] == bytes(8192)


def test_sectors_of_a_file_cannot_be_read(folder: Path) -> None:
    with recorded_disk(folder / "disk") as disk:
        path = disk.path / "file"
        _write(path, os.urandom(8192), sync=True)
        disk.marks.ask(do="ruin", ranges=extents(path), share=1, seed=1)
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            with pytest.raises(OSError, match="error") as raised:
                file.read(8192)
        assert raised.value.errno == errno.EIO
        disk.faults()
        assert len(path.read_bytes()) == 8192


def test_what_a_killed_run_leaves_is_cleared_by_the_next() -> None:
    program = (
        "import time\n"
        "from tests.support.mounts import work_folder\n"
        "from tests.support.recorded_disk import recorded_disk\n"
        "with work_folder() as folder, recorded_disk(folder / 'disk'):\n"
        "    print(folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        assert (left / "disk" / "mnt").is_mount()
        (device,) = [device for device, file in mounts._loops() if file.startswith(str(left))]
        process.kill()
    mounts.sweep()
    assert not left.exists()
    wait_until(lambda: str(left) not in Path("/proc/self/mounts").read_text(), 5, "nothing is mounted")
    assert device not in dict(mounts._loops())
