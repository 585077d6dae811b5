"""The journal: which entries a worker had in hand when it died, and how often each one failed.

It costs nothing on the way of success but one small write an entry. Each worker
process holds a *note*, a file under a lock (flock(2)) that the kernel lifts
when the process dies, however it dies. The note names the batch in work and, by
a number of a few digits that is overwritten in place, the entry that is being
parsed. A note that nobody locks and that is not idle is a death; whoever finds
it (:meth:`Journal.recover`) books it:

- while parsing, on the entry it was on: one attempt;
- while storing, which concerns the whole batch, on nobody, but every entry of
  the batch becomes a *suspect*; for a batch of one, on that one, unless storing
  it takes so long that the worker may as well have been stopped in the middle.

Suspects, which are all entries with a record in ``attempts``, are committed
alone, so a second death has one cause. Nothing here is made durable by fsync: a
power cut is no fault of an entry, and forgetting attempts only means another try.
All of it is a hint. A disk that takes no note keeps no worker from its work, which
may be what makes room on it; attempts are then known to this process alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from vna.domain.origin import iso_utc, now_us
from vna.files import remove_unlocked, write_all
from vna.ingest.spool import Spool, SpoolEntry

# State (Idle, Parsing, Storing), number of the entry under work, bytes of names that follow.
_HEADER = "{} {:06d} {:010d}\n"
_HEADER_LENGTH = len(_HEADER.format("I", 0, 0))
# Bytes whose storing takes so long that a worker is stopped in the middle of it rather than killed by it.
_LONG = 64 << 20
# Attempts that are remembered while the disk takes none.
_REMEMBERED = 10_000
# Age at which what a process left behind is nobody's any more.
_LEFT_SECONDS = 3600.0
_SUFFIX = ".json"
_HELD = ".held"
_IDLE = _HEADER.format("I", 0, 0).encode()


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is known of an entry that failed, or that was in a batch whose worker died.

    Attributes
    ----------
    name
        The entry.
    count
        How many attempts failed by its own fault.
    error
        What the last one failed of, for a person; empty for a mere suspect.
    when
        Time of it, ISO 8601 in UTC.
    held
        Whether it waits for a person, or another version of the archive, before it is tried again.
    """

    name: str
    count: int = 0
    error: str = ""
    when: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that died at work: the entries that it had in hand and are still in the spool."""

    names: tuple[str, ...]
    blamed: str | None


class Journal:
    """The journal of one spool, as one worker process writes it. Use one object a thread.

    Parameters
    ----------
    spool
        The spool; the journal keeps its folders ``inflight`` and ``attempts`` there.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.inflight = spool.path / "inflight"
        self.attempts = spool.path / "attempts"
        for folder in (self.inflight, self.attempts):
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
        self._unwritten: dict[str, Attempts] = {}
        self._fd = -1
        self._note = self.inflight
        self._length = 0
        self._busy = False

    # The note of this process.

    def begin(self, names: Sequence[str]) -> None:
        """Note the batch that is taken up, before anything is done with it."""
        body = "\n".join(names).encode()
        try:
            if self._fd < 0:
                self._open()
            # The old header says idle until the names are there: a note is never half a batch.
            write_all(self._fd, body, _HEADER_LENGTH)
        except OSError:
            return
        self._length = len(body)
        self._busy = True
        self._head("P", 0)

    def parsing(self, position: int) -> None:
        """Note that the entry at this place of the batch is read next."""
        self._head("P", position)

    def storing(self) -> None:
        """Note that reading is over, and the batch is stored."""
        self._head("S", 0)

    def end(self) -> None:
        """Note that nothing is in work."""
        if self._busy:
            with suppress(OSError):
                os.pwrite(self._fd, _IDLE, 0)
        self._busy = False

    def _head(self, state: str, position: int) -> None:
        if self._busy:
            with suppress(OSError):
                os.pwrite(self._fd, _HEADER.format(state, position, self._length).encode(), 0)

    def _open(self) -> None:
        name = f"{os.getpid()}-{os.urandom(4).hex()}"
        # Locked before it has its name: nobody may take it for a dead one's.
        hidden = self.inflight / f".{name}"
        fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            write_all(fd, _IDLE, 0)
            os.rename(hidden, self.inflight / name)
        except BaseException:
            os.close(fd)
            with suppress(OSError):
                hidden.unlink()
            raise
        self._fd, self._note = fd, self.inflight / name

    def close(self) -> None:
        """Give the note back; in the middle of a batch it is left behind, as by a death."""
        if self._fd >= 0:
            if not self._busy:
                with suppress(OSError):
                    self._note.unlink()
            os.close(self._fd)
            self._fd = -1

    # The notes of all.

    def recover(self) -> list[Death]:
        """Book the deaths there were since the last call of anybody, and clear their notes away."""
        deaths = []
        for path in self._notes():
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_nlink == 0:  # another one was here first
                    continue
                death = self._book(_read(fd))
                path.unlink()
            except OSError:  # somebody is at it, or the disk lets nobody
                continue
            finally:
                os.close(fd)
            if death is not None:
                deaths.append(death)
        return deaths

    def in_hand(self) -> set[str]:
        """Return the entries that living workers are at."""
        names: set[str] = set()
        for path in self._notes():
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                with suppress(OSError):
                    names.update(_read(fd)[2])
            finally:
                os.close(fd)
        return names

    def _notes(self) -> Iterator[Path]:
        with suppress(FileNotFoundError), os.scandir(self.inflight) as found:
            yield from (Path(item.path) for item in found if not item.name.startswith("."))

    def _book(self, note: tuple[str, int, list[str]]) -> Death | None:
        state, position, names = note
        left = tuple(name for name in names if self._waits(name))
        if not left:
            return None
        blamed = None
        if state == "P" and position < len(names) and names[position] in left:
            blamed = names[position]
            self.add(blamed, "the worker died while reading it")
        elif state == "S" and len(left) == 1 and _length(left[0]) < _LONG:
            blamed = left[0]
            self.add(blamed, "the worker died while storing it")
        elif state == "S":
            for name in left:
                self.suspect(name)
        return Death(left, blamed)

    def _waits(self, name: str) -> bool:
        try:
            return self._spool.waits(SpoolEntry.parse(name))
        except ValueError:
            return False

    # The attempts.

    def suspects(self) -> set[str]:
        """Return the entries that must be committed alone; those that are held are among them."""
        names = {name.removesuffix(_SUFFIX).removesuffix(_HELD) for name in self._records()}
        return names | self._unwritten.keys()

    def held(self) -> set[str]:
        """Return the entries that are not tried again before :meth:`release`."""
        names = {name.removesuffix(_HELD + _SUFFIX) for name in self._records() if name.endswith(_HELD + _SUFFIX)}
        return names | {name for name, known in self._unwritten.items() if known.held}

    def _records(self) -> list[str]:
        with suppress(FileNotFoundError), os.scandir(self.attempts) as found:
            return [item.name for item in found if item.name.endswith(_SUFFIX) and not item.name.startswith(".")]
        return []

    def hold(self, name: str, error: str) -> None:
        """Have an entry wait for a person: it is not tried again before :meth:`release`."""
        self._write(Attempts(name, 0, error[:2000], iso_utc(now_us()), held=True))
        with suppress(OSError):
            self._record(name).unlink()

    def release(self) -> list[str]:
        """Have what is held tried again, with no attempt counted; return its names."""
        names = sorted(self.held())
        for name in names:
            self._write(Attempts(name))
            with suppress(OSError):
                self._record(name, held=True).unlink()
        return names

    def get(self, name: str) -> Attempts | None:
        """Return the record of an entry, ``None`` if it has none."""
        if name in self._unwritten:
            return self._unwritten[name]
        for held in (False, True):
            try:
                return Attempts(**json.loads(self._record(name, held=held).read_bytes()))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError):  # cut by a power failure
                return Attempts(name)
        return None

    def add(self, name: str, error: str) -> Attempts:
        """Count a failed attempt of an entry, and return its record."""
        before = self.get(name) or Attempts(name)
        return self._write(Attempts(name, before.count + 1, error[:2000], iso_utc(now_us())))

    def suspect(self, name: str) -> None:
        """Have an entry committed alone, without counting an attempt."""
        if self.get(name) is None:
            self._write(Attempts(name))

    def forget(self, name: str) -> None:
        """Drop the record of an entry that has left the spool."""
        self._unwritten.pop(name, None)
        for held in (False, True):
            with suppress(OSError):
                self._record(name, held=held).unlink()

    def prune(self) -> int:
        """Drop records of entries that are not in the spool any more; return how many."""
        gone = [name for name in self.suspects() if not self._waits(name)]
        for name in gone:
            self.forget(name)
        return len(gone)

    def _record(self, name: str, *, held: bool = False) -> Path:
        return self.attempts / f"{name}{_HELD if held else ''}{_SUFFIX}"

    def _write(self, attempts: Attempts) -> Attempts:
        target = self._record(attempts.name, held=attempts.held)
        draft = self.attempts / f".{os.getpid()}-{os.urandom(4).hex()}"
        try:
            draft.write_text(json.dumps(asdict(attempts)), encoding="utf-8")
            os.replace(draft, target)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            if len(self._unwritten) < _REMEMBERED:
                self._unwritten[attempts.name] = attempts
        else:
            self._unwritten.pop(attempts.name, None)
        return attempts

    def clean(self) -> None:
        """Remove what processes that died left half written."""
        before = time.time() - _LEFT_SECONDS
        for folder in (self.inflight, self.attempts):
            with suppress(FileNotFoundError), os.scandir(folder) as found:
                for item in found:
                    with suppress(OSError):
                        if item.name.startswith(".") and item.stat(follow_symlinks=False).st_mtime < before:
                            remove_unlocked(Path(item.path))


def _length(name: str) -> int:
    try:
        return SpoolEntry.parse(name).length
    except ValueError:
        return 0


def _read(fd: int) -> tuple[str, int, list[str]]:
    head = os.pread(fd, _HEADER_LENGTH, 0).decode("ascii", "replace")
    try:
        state, position, length = head.split()
        if state == "I":
            return "I", 0, []
        body = os.pread(fd, int(length), _HEADER_LENGTH).decode()
        return state, int(position), body.split("\n")
    except ValueError:  # not yet written, or cut by a power failure
        return "I", 0, []
