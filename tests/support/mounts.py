"""Loop devices, mounts and mount namespaces, by system calls: thousands of crash states are mounted one after another.

Whatever is made here lies in a folder of one test that is locked as long as its process lives; what a killed run left
behind is unmounted, detached and removed by the next one (:func:`sweep`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# linux/mount.h
MS_NOATIME, MS_BIND, MS_REC, MS_PRIVATE = 1 << 10, 1 << 12, 1 << 14, 1 << 18
_MNT_DETACH = 2
# linux/sched.h
_CLONE_NEWNS = 0x00020000
# linux/loop.h
_LOOP_SET_FD, _LOOP_CLR_FD, _LOOP_SET_STATUS64, _LOOP_GET_STATUS64 = 0x4C00, 0x4C01, 0x4C04, 0x4C05
_LOOP_CTL_GET_FREE = 0x4C82
# struct loop_info64: device, inode, rdevice, offset, sizelimit, number, encrypt type and size, flags, names, keys
_LOOP_INFO = struct.Struct("<5Q4I64s64s32s2Q")
BOOT_ID = "/proc/sys/kernel/random/boot_id"

_PREFIX = "vna-disk-"
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def require_root() -> None:
    """Raise ``AssertionError`` where power cuts cannot be made: they need root, loop devices and FUSE."""
    assert os.geteuid() == 0, "power cuts are made on mounted images: run these tests as root"
    for device in ("/dev/loop-control", "/dev/fuse"):
        assert os.path.exists(device), f"power cuts are made on mounted images: there is no {device} here"


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    _check(
        _libc.mount(source.encode(), bytes(target), kind.encode(), ctypes.c_ulong(flags), options.encode() or None),
        f"mount {kind} {source} at {target} ({options})",
    )


def unmount(target: Path, *, lazily: bool = False) -> None:
    _check(_libc.umount2(bytes(target), _MNT_DETACH if lazily else 0), f"unmount {target}")


def own_namespace() -> None:
    """Give this process mounts of its own: they go with it, however it ends."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    mount("none", Path("/"), "none", MS_REC | MS_PRIVATE)


def another_boot(folder: Path) -> None:
    """Make this process, which has mounts of its own, see the identity of another boot."""
    made = folder / f"boot-{os.getpid()}"
    made.write_text(f"{os.urandom(4).hex()}-0000-4000-8000-{os.urandom(6).hex()}\n")
    mount(str(made), Path(BOOT_ID), "none", MS_BIND)
    made.unlink()


class Loop:
    """A loop device over a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        for attempt in range(100):
            with open("/dev/loop-control", "rb") as control:
                number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            self.path = f"/dev/loop{number}"
            backing = os.open(file, os.O_RDWR | os.O_CLOEXEC)
            try:
                device = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:  # made this moment
                os.close(backing)
                time.sleep(0.02)
                continue
            try:
                fcntl.ioctl(device, _LOOP_SET_FD, backing)
                name = bytes(file)[-63:]
                fcntl.ioctl(device, _LOOP_SET_STATUS64, _LOOP_INFO.pack(*[0] * 9, name, b"", b"", 0, 0))
            except OSError as error:  # somebody else was faster
                if error.errno not in {errno.EBUSY, errno.EAGAIN, errno.ENXIO} or attempt == 99:
                    raise
                time.sleep(0.02)
                continue
            finally:
                os.close(device)
                os.close(backing)
            return
        raise AssertionError("no loop device is free")

    def is_used(self) -> bool:
        """Whether a file system holds the device."""
        try:
            os.close(os.open(self.path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return True
        return False

    def wait_unused(self, seconds: float = 10) -> None:
        """Return when no file system holds the device: a namespace goes a moment after its process."""
        end = time.monotonic() + seconds
        while self.is_used():
            assert time.monotonic() < end, f"{self.path} is still mounted"
            time.sleep(0.005)

    def detach(self) -> None:
        """Give the device back, as soon as nobody uses it any more."""
        with contextlib.suppress(OSError), open(self.path, "rb") as device:
            fcntl.ioctl(device, _LOOP_CLR_FD)


def _loops() -> Iterator[tuple[str, str]]:
    """Yield the devices that have a file, with that."""
    for folder in Path("/sys/block").glob("loop*/loop"):
        with contextlib.suppress(OSError):
            yield f"/dev/{folder.parent.name}", (folder / "backing_file").read_text().strip()


def _mounted_below(folder: Path) -> list[Path]:
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        target = Path(line.split(" ")[1].encode().decode("unicode_escape"))
        if folder in target.parents:
            found.append(target)
    return sorted(found, reverse=True)


def clear(folder: Path) -> None:
    """Unmount, detach and remove everything of a work folder."""
    devices = [device for device, file in _loops() if file.startswith(f"{folder}/")]
    for target in _mounted_below(folder):
        with contextlib.suppress(OSError):
            unmount(target, lazily=True)
    for device in devices:
        # Not at once, while something of a process that was killed is still on its way.
        for _ in range(50):
            with contextlib.suppress(OSError), open(device, "rb") as opened:
                fcntl.ioctl(opened, _LOOP_CLR_FD)
            if not Path(f"/sys/block/{device[5:]}/loop").exists():
                break
            time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def _end_processes(folder: Path) -> None:
    """Kill what a run that was killed left running on its disks."""
    name = bytes(folder)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if name in told and int(process.name) != os.getpid():
                os.kill(int(process.name), signal.SIGKILL)
                found.append(process)
    end = time.monotonic() + 5
    while any(process.exists() for process in found) and time.monotonic() < end:
        time.sleep(0.02)


def _places() -> list[Path]:
    return [Path("/dev/shm"), Path(tempfile.gettempdir())]


def sweep() -> None:
    """Clear the work folders of processes that were killed."""
    for place in _places():
        for folder in place.glob(f"{_PREFIX}*"):
            try:
                lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # being made, or being removed
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its process lives
            else:
                _end_processes(folder)
                clear(folder)
            finally:
                os.close(lock)


@contextlib.contextmanager
def work_folder(bytes_needed: int = 1 << 30) -> Iterator[Path]:
    """Make a folder for images, in memory if there is room; clear it afterwards, mounts and devices included."""
    require_root()
    sweep()
    shared, temporary = _places()
    place = shared if shared.is_dir() and shutil.disk_usage(shared).free > bytes_needed else temporary
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        clear(folder)
        os.close(lock)


def make_file_system(kind: str, image: str, *more: str) -> None:
    """Make an ext4 or XFS in an image or a device."""
    # What ext4 would initialise in the background is done at once: it would be noise among the writes.
    options = {
        "ext4": ["-q", "-F", "-b", "4096", "-J", "size=4", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
        "xfs": ["-q", "-f", "-K", "--unsupported", "-l", "size=8m"],
    }
    command = [f"mkfs.{kind}", *options[kind], *more, image]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
