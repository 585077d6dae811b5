"""The spool as its users see it: instances are received into it, read from it, and done with."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import structlog

from vna.domain.errors import OutOfResourcesError
from vna.domain.file_range import FileRange
from vna.domain.origin import Origin, iso_utc, now_us
from vna.files import make_durable_folder
from vna.ingest.spool.contents import Contents
from vna.ingest.spool.entry import Fate, Kind, Spooled, SpoolEntry
from vna.ingest.spool.files import EntryFiles
from vna.ingest.spool.first_format import upgrade
from vna.ingest.spool.marker import check_marker
from vna.ingest.spool.place import check_place
from vna.ingest.spool.pool import SegmentPool
from vna.ingest.spool.receiving import SpoolFile, out_of

log = structlog.get_logger(__name__)

_SEGMENT_MOST = 64 << 20
_SEGMENTS = 4
# Up to this size, a segment; beyond, a name of its own costs little beside the bytes.
_SMALL_MOST = 4 << 20


class Spool:
    """A spool folder. Safe for use by many threads and by processes of one host.

    Parameters
    ----------
    path
        The folder; made if missing.
    min_free_bytes
        Free disk below which :meth:`begin` refuses, and no segment is made.
    log_bytes
        Disk that this process keeps ready in empty segments, when it receives.
    allow_volatile
        Whether it may lie where a power cut takes everything.
    create
        Whether a folder that is no spool may become one.

    Raises
    ------
    ConfigurationError
        It must not be where it is, or it is of another version of the archive.
    OutOfResourcesError
        The disk does not do what it should.
    """

    def __init__(
        self,
        path: Path,
        min_free_bytes: int = 0,
        log_bytes: int = 256 << 20,
        *,
        allow_volatile: bool = False,
        create: bool = True,
    ) -> None:
        self.path = path
        self.partial = path / "partial"
        self.segments = path / "segments"
        self.place = check_place(path, allow_volatile=allow_volatile)
        self._min_free = min_free_bytes
        segment = min(_SEGMENT_MOST, log_bytes // _SEGMENTS)
        self.largest_small = min(_SMALL_MOST, segment // 8)
        self.files = EntryFiles(path / "files", path / "incoming")
        self.upgrade_error = ""
        self._contents = Contents(self.segments, self.files)
        try:
            self._open(create=create)
        except OSError as error:
            raise out_of(error) from error
        self.pool = SegmentPool(
            self.segments,
            segment_bytes=segment,
            ready=_SEGMENTS if segment else 0,
            largest=self.largest_small,
            has_room=self.has_room,
            on_trouble=self.note_trouble,
        )

    def _open(self, *, create: bool) -> None:
        first = (self.path / "incoming").is_dir()
        if create:
            make_durable_folder(self.path)
        elif not first:
            check_marker(self.path, create=False)
        with (self.path / "recovery.lock").open("a") as lock:
            # Nobody takes up entries while another restores them.
            fcntl.flock(lock, fcntl.LOCK_EX)
            check_marker(self.path, create=create or first)
            for folder in (self.partial, self.segments, self.files.path):
                make_durable_folder(folder)
            if first:
                try:
                    upgrade(self.path, self.partial, self.path / "incoming", self.path / "set-aside")
                except OSError as error:
                    # What its log holds is compared at a later start; till then its files are believed by nobody.
                    log.exception("the spool of an earlier version cannot be taken over yet")
                    self.upgrade_error = str(error)
                    self.files.leave_first()

    # Receiving.

    def prepare(self, after_seconds: float = 0.0) -> None:
        """Have segments made in the background, before the first instance needs one."""
        self.pool.prepare(after_seconds)

    def begin(self, origin: Origin, kind: Kind = Kind.INSTANCE, fate: Fate = Fate.COMMIT) -> SpoolFile:
        """Start to receive an instance; raises ``OutOfResourcesError`` when the disk is short."""
        self.check_space()
        return SpoolFile(self, origin, kind, fate)

    def scratch(self) -> BinaryIO:
        """Return a file on the spool's disk for what is not an instance yet.

        It has no name: nothing of it is left when it is closed, or when the process dies.
        Raises ``OutOfResourcesError`` when the disk is short.
        """
        self.check_space()
        try:
            return cast("BinaryIO", tempfile.TemporaryFile(dir=self.partial, buffering=0))
        except OSError as error:
            raise out_of(error) from error

    def check_space(self) -> None:
        """Raise ``OutOfResourcesError`` when free disk is below the limit."""
        if self._min_free and not self.has_room(0):
            message = f"spool {self.path}: {self.free_bytes()} bytes free, below the limit of {self._min_free}"
            raise OutOfResourcesError(message)

    def free_bytes(self) -> int:
        """Return the free disk."""
        state = os.statvfs(self.path)
        return state.f_bavail * state.f_frsize

    def has_room(self, more: int) -> bool:
        """Whether the limit of free disk stands after so many more bytes."""
        return self.free_bytes() >= self._min_free + more

    # What is in it.

    def entries(self) -> Iterator[SpoolEntry]:
        """Yield what waits: of the segment that was begun first first, then files. Reads as it goes."""
        yield from self._contents.in_segments()
        yield from self._contents.in_files()

    def entries_in_segments(self) -> Iterator[SpoolEntry]:
        """Yield what waits in segments, of the one that was begun first first. Reads as it goes."""
        return self._contents.in_segments()

    def entries_in_files(self) -> Iterator[SpoolEntry]:
        """Yield what waits in files of its own, in no order."""
        return self._contents.in_files()

    def count(self, *, with_bytes: bool = False) -> Spooled:
        """Return how much waits, without reading each entry unless its bytes are asked for."""
        return self._contents.count(with_bytes=with_bytes)

    def waits(self, entry: SpoolEntry) -> bool:
        """Whether an entry is here and not done with; so it is, too, if that cannot be read."""
        return self._contents.waits(entry)

    def source(self, entry: SpoolEntry) -> FileRange:
        """Return where an entry's bytes are; raises ``FileNotFoundError`` if it is done with, ``OSError``."""
        return self._contents.source(entry)

    def finish(self, entries: Iterable[SpoolEntry]) -> None:
        """Be done with entries: what they stand for is durable elsewhere. Durable on return, for those in segments.

        An entry in a file of its own that a power cut brings back is stored once more, as a duplicate.

        Raises
        ------
        UnavailableError
            The disk does not take it.
        """
        self._contents.finish(entries)

    def trim(self, keep: int = 2 * _SEGMENTS) -> int:
        """Remove emptied segments that nobody owns, beyond those that are kept to be used again; return how many."""
        return self._contents.trim(keep)

    # Trouble with the disk.

    def note_trouble(self, error: OSError) -> None:
        """Write down that the disk failed, for a person to look at it; never fails itself."""
        with contextlib.suppress(OSError):
            note = {"when": iso_utc(now_us()), "error": str(error), "count": int(self.trouble().get("count", 0)) + 1}
            (self.path / "trouble.json").write_text(json.dumps(note))

    def trouble(self) -> dict[str, int | str]:
        """Return what :meth:`note_trouble` wrote down: count, and when and what the last was; empty if nothing."""
        try:
            found = json.loads((self.path / "trouble.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def set_aside(self) -> int:
        """Return how many files were set aside, since nobody knew what they are."""
        try:
            return len(os.listdir(self.path / "set-aside"))
        except FileNotFoundError:
            return 0

    def forget_trouble(self) -> None:
        """Forget the trouble: somebody has looked."""
        (self.path / "trouble.json").unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the segments to others, and close them."""
        self.pool.close()
        self._contents.close()
