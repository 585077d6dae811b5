"""The spool: a local folder where an instance is durable before it is acknowledged.

A file is written under a temporary name, renamed to its final name and only
then made durable: a small one by a copy in the spool's log (see
:mod:`vna.ingest.spool_log`), a large one by itself, together with its folder.
A power cut may so leave a final name with less than its bytes. Those that the
log holds are written anew when the spool is next opened. For the others the
name holds the length, so that such a file, which was never acknowledged, is
told from a whole one. The name holds the origin as well: an entry needs no
second file.

Whoever gives an entry's file to something that outlives the spool by linking
it makes the file itself durable first.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast, get_args

import xxhash

from vna.domain.errors import OutOfResourcesError
from vna.domain.origin import Origin, Protocol, now_us
from vna.ingest.spool_log import SpoolLog, recover
from vna.ingest.spool_segment import Rounds

_SUFFIX = ".dcm"
# Up to this size a second copy costs less than a sync of the file.
_LOG_MOST = 2 << 20
_SEGMENTS = 4
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)

# Names also come from the queue: nothing that is not of this shape ever becomes part of a path.
_NAME = re.compile(r"([0-9a-f]{14})\.([0-9a-f]{12})\.([0-9a-f]{1,16})\.([A-Za-z0-9_-]{1,200})\.dcm", re.ASCII)
_PROTOCOLS = frozenset(get_args(Protocol))


@lru_cache(maxsize=1024)
def _encode_origin(origin: Origin) -> str:
    # 40, 16 and 45 bytes of names and an address make at most 150 of base64: a file name has room for 255.
    parts = (origin.protocol, origin.calling, origin.called, origin.address)
    raw = b"\0".join(
        part.replace("\0", "").encode("utf-8", "replace")[:most]
        for part, most in zip(parts, (8, 40, 16, 45), strict=True)
    )
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode_origin(text: str) -> Origin:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # A name that was cut within a character loses that character.
    protocol, calling, called, address = (part.decode("utf-8", "ignore") for part in raw.split(b"\0"))
    if protocol not in _PROTOCOLS:
        message = f"no protocol of the archive: {protocol!r}"
        raise ValueError(message)
    return Origin(cast("Protocol", protocol), calling, called, address)


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """One received instance in the spool.

    Attributes
    ----------
    name
        File name within the spool's ``incoming`` folder, and the entry's identity.
    received_us
        When it had arrived, microseconds since 1970 UTC.
    length
        Length of the whole Part-10 file in bytes.
    origin
        Who sent it.
    """

    name: str
    received_us: int
    length: int
    origin: Origin

    @classmethod
    def parse(cls, name: str) -> SpoolEntry:
        """Read an entry back from its name; raises ``ValueError`` for a name that is none."""
        found = _NAME.fullmatch(name)
        if found is None:
            message = f"not the name of a spool entry: {name[:300]!r}"
            raise ValueError(message)
        received, _nonce, length, origin = found.groups()
        return cls(name, int(received, 16), int(length, 16), _decode_origin(origin))

    @property
    def nonce(self) -> str:
        """Twelve random hex digits of the name: what a person types to mean this entry."""
        return self.name[15:27]


class SpoolFile:
    """An instance being received. Leaving the block without :meth:`seal` leaves nothing behind."""

    def __init__(self, spool: Spool, origin: Origin) -> None:
        self._spool = spool
        self._origin = origin
        self._nonce = os.urandom(6).hex()
        # Texts, not paths: to build a path costs more than to open the file.
        self._part = f"{spool.partial}/{self._nonce}"
        self.length = 0
        self._checksum = xxhash.xxh3_64()
        try:
            self._fd = os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise _out_of(error) from error
        self._sealed = False

    def fileno(self) -> int:
        """Return the file descriptor, open for reading and writing."""
        return self._fd

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; raises ``OutOfResourcesError`` when the disk is full."""
        view = memoryview(data)
        if self.length <= _LOG_MOST:
            self._checksum.update(view)
        try:
            while view:
                written = os.write(self._fd, view)
                self.length += written
                view = view[written:]
        except OSError as error:
            raise _out_of(error) from error

    def seal(self) -> SpoolEntry:
        """Give the file its final name and return when its bytes are durable.

        Group commit: one sync serves all files that are sealed at the same time
        in this process.

        Raises
        ------
        OutOfResourcesError
            The bytes are not durable; nothing may be acknowledged.
        """
        received = now_us()
        name = f"{received:014x}.{self._nonce}.{self.length:x}.{_encode_origin(self._origin)}{_SUFFIX}"
        final = f"{self._spool.incoming}/{name}"
        try:
            os.rename(self._part, final)
            self._sealed = True
            if self.length > _LOG_MOST or not self._spool.log.append(
                name, self._fd, self.length, self._checksum.intdigest()
            ):
                os.fdatasync(self._fd)
                self._spool.sync_folder()
        except OSError as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(final)
            raise _out_of(error) from error
        return SpoolEntry(name, received, self.length, self._origin)

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, and remove it unless it was sealed."""
        self.close()

    def close(self) -> None:
        """Close the file, and remove it unless it was sealed."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        if not self._sealed:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._part)


class Spool:
    """A spool folder: ``partial`` (being received), ``incoming``, ``log``, and the journal's folders.

    To open it restores what a power cut left in the log alone.

    Parameters
    ----------
    path
        The folder; made if missing.
    min_free_bytes
        Free disk below which :meth:`begin` refuses.
    log_bytes
        Disk that the log of this process takes at most.
    """

    def __init__(self, path: Path, min_free_bytes: int = 0, log_bytes: int = 256 << 20) -> None:
        self.path = path
        self.partial = path / "partial"
        self.incoming = path / "incoming"
        self._min_free = min_free_bytes
        logs = path / "log"
        for folder in (self.partial, self.incoming, logs):
            make_durable_folder(folder)
        self._folder_fd = os.open(self.incoming, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folder_rounds = Rounds(lambda: os.fsync(self._folder_fd))
        with (path / "recovery.lock").open("a") as lock:
            # Nobody takes up entries while another restores them.
            fcntl.flock(lock, fcntl.LOCK_EX)
            recover(logs, self._restore, self.sync_all)
        self.log = SpoolLog(logs, self.sync_all, sync_path, segment_bytes=log_bytes // _SEGMENTS, most=_SEGMENTS)

    def _restore(self, name: str, fd: int, offset: int, length: int) -> None:
        try:
            SpoolEntry.parse(name)
        except ValueError:
            return
        part = self.partial / os.urandom(6).hex()
        with part.open("wb") as file:
            while length and (piece := os.pread(fd, min(length, 1 << 20), offset)):
                file.write(piece)
                offset += len(piece)
                length -= len(piece)
        part.replace(self.incoming / name)

    def begin(self, origin: Origin) -> SpoolFile:
        """Start to receive an instance; raises ``OutOfResourcesError`` when the disk is short."""
        if self._min_free:
            self._check_space()
        return SpoolFile(self, origin)

    def scratch(self) -> BinaryIO:
        """Return a file on the spool's disk for what is not an instance yet.

        It has no name: nothing of it is left when it is closed, or when the process dies.
        Raises ``OutOfResourcesError`` when the disk is short.
        """
        if self._min_free:
            self._check_space()
        try:
            return cast("BinaryIO", tempfile.TemporaryFile(dir=self.partial, buffering=0))
        except OSError as error:
            raise _out_of(error) from error

    def _check_space(self) -> None:
        state = os.statvfs(self.path)
        free = state.f_bavail * state.f_frsize
        if free < self._min_free:
            message = f"spool {self.path}: {free} bytes free, below the limit of {self._min_free}"
            raise OutOfResourcesError(message)

    def sync_folder(self) -> None:
        """Return when every rename made before this call is durable; calls at the same time share one fsync."""
        self._folder_rounds.wait()

    def sync_all(self) -> None:
        """Make everything in the spool durable, entries that a gateway died over included.

        An entry has its name a moment before its bytes are durable. One that
        was not announced may be of that moment, and what takes it up (the
        object store may link it) relies on durable bytes.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs"):  # not Linux
            os.sync()
        elif libc.syncfs(self._folder_fd) != 0:
            number = ctypes.get_errno()
            raise _out_of(OSError(number, os.strerror(number)))

    def file(self, entry: SpoolEntry | str) -> Path:
        """Return the path of an entry's bytes."""
        return self.incoming / (entry if isinstance(entry, str) else entry.name)

    def entries(self) -> Iterator[SpoolEntry]:
        """Yield the entries there are, in no order; foreign files are passed over."""
        with os.scandir(self.incoming) as found:
            for item in found:
                try:
                    yield SpoolEntry.parse(item.name)
                except ValueError:
                    continue

    def close(self) -> None:
        """Make durable what the log stands for, and close the folder."""
        self.log.close()
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1


def sync_file(path: Path) -> None:
    """Make a file's bytes durable: those of a small entry may be so in the log alone."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def sync_path(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_durable_folder(folder: Path) -> None:
    """Make a folder with its parents, each one's name durable: an entry is no safer than its folder."""
    if folder.is_dir():
        return
    make_durable_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_path(folder.parent)


def _out_of(error: OSError) -> OutOfResourcesError:
    what = "no space or no file handle left" if error.errno in _FULL else "write failed"
    return OutOfResourcesError(f"spool: {what}: {error}")
