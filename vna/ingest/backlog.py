"""What waits to be stored, who works on it, and giving back what was put in quarantine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vna.domain.errors import ArchiveError
from vna.domain.origin import iso_utc, now_us
from vna.ingest.hints import DEEPEST, LARGE_BYTES, enqueue_entries, ingest_queue
from vna.ingest.journal import Journal
from vna.ingest.quarantine import Quarantine
from vna.ingest.spool import Spool, SpoolEntry
from vna.ingest.spool import Spooled as Counted
from vna.ports.queue import Queue

# Who gives signs of life: the worker of sweeps and seals, those of ingest, those of large entries.
KEEPER, INGEST, LARGE = "keeper", "ingest", "large"
# Beat asks the keeper every 15 seconds, and the keeper the others; two may be late. A batch of ingest takes its
# time while a service is slow.
_OLD_SECONDS = {KEEPER: 45.0, INGEST: 120.0, LARGE: 120.0}
_BETWEEN_SIGNS = 5.0
LIFECYCLE_QUEUE = "lifecycle"


@dataclass(frozen=True, slots=True)
class Spooled:
    """What is in the spool.

    Attributes
    ----------
    entries, bytes, oldest_seconds
        Entries, their bytes, and the seconds since the oldest arrived.
    free_bytes
        Free disk.
    faults
        What a person should look at, a sentence each.
    """

    entries: int
    bytes: int
    oldest_seconds: float
    free_bytes: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of a kind of worker: whose, seconds ago, and on which host."""

    part: str
    seconds: float
    host: str

    @property
    def alive(self) -> bool:
        """Whether it is recent."""
        return self.seconds < _OLD_SECONDS[self.part]


class SignOfLife:
    """Leaves signs of life of a kind of worker where :func:`heartbeat` finds them.

    Parameters
    ----------
    run_path
        The folder of what runs.
    part
        Whose: ``KEEPER``, ``INGEST`` or ``LARGE``.
    host
        On which host.
    """

    def __init__(self, run_path: Path, part: str, host: str) -> None:
        self._path = _sign_path(run_path, part)
        self._host = host
        self._last = -_BETWEEN_SIGNS

    def give(self) -> None:
        """Leave a sign, unless there was one some seconds ago. No work fails since it cannot be written."""
        now = time.monotonic()
        if now - self._last < _BETWEEN_SIGNS:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_name(f".{self._path.name}-{os.getpid()}")
            draft.write_text(json.dumps({"when": iso_utc(now_us()), "host": self._host, "pid": os.getpid()}))
            os.replace(draft, self._path)
            self._last = now


def _sign_path(run_path: Path, part: str) -> Path:
    return run_path / f"heartbeat-{part}.json"


def spooled(spool: Spool) -> Spooled:
    """Return what is in the spool."""
    found = spool.count(with_bytes=True)
    waited = abs(now_us() - found.oldest_us) / 1e6 if found.oldest_us else 0.0
    return Spooled(found.entries, found.bytes, waited, spool.free_bytes(), tuple(_faults(spool, found)))


def _faults(spool: Spool, found: Counted) -> Iterator[str]:
    if spool.place.volatile:
        yield f"a power cut or a restart takes all of it: {spool.place.volatile} (VNA_SPOOL__ALLOW_VOLATILE)"
    if not spool.has_room(0):
        yield "free disk is below the limit: instances are refused (VNA_SPOOL__MIN_FREE_BYTES)"
    if spool.upgrade_error:
        yield f"what an earlier version left in it cannot be taken over yet: {spool.upgrade_error}"
    if trouble := spool.trouble():
        yield (
            f"the disk failed {trouble['count']} times, last {str(trouble['when'])[:19]}: {trouble['error']}; "
            "`vna spool --seen` once it is mended"
        )
    if found.unknown:
        yield f"{found.unknown} files or entries are of no kind that this version knows; they are kept"
    if found.damaged:
        yield f"{found.damaged} places in segments cannot be read; they are kept"
    if aside := spool.set_aside():
        yield f"{aside} files were set aside in {spool.path / 'set-aside'}"
    if held := len(Journal(spool).held()):
        yield f"{held} entries are held back, since all of late from their sender were refused: `vna quarantine held`"
    if ahead := future(spool):
        yield f"{ahead} entries were received later than now: the clock was wrong then, or is now"


def future(spool: Spool) -> int:
    """Return how many entries of the future the last sweep saw."""
    with suppress(OSError, ValueError, AttributeError):
        return int(json.loads((spool.path / "sweep.json").read_text()).get("future", 0))
    return 0


def queued(queue: Queue, spool_id: str) -> dict[str, int]:
    """Return how many messages wait, by queue.

    Raises
    ------
    UnavailableError
        The broker does not answer.
    """
    queue.check()
    names = (ingest_queue(spool_id), ingest_queue(spool_id, large=True), LIFECYCLE_QUEUE)
    return {name: queue.depth(name) for name in names}


def heartbeat(run_path: Path, part: str) -> Heartbeat | None:
    """Return the last sign of life of a kind of worker, ``None`` if there never was one on this data folder."""
    with suppress(FileNotFoundError):
        beat = json.loads(_sign_path(run_path, part).read_text())
        old = (datetime.now(UTC) - datetime.fromisoformat(beat["when"])).total_seconds()
        return Heartbeat(part, old, str(beat["host"]))
    return None


def large_in_hand(spool: Spool) -> int:
    """Return how many large entries workers are at: each may take hours, without a sign of life meanwhile."""
    count = 0
    for name in Journal(spool).in_hand():
        with suppress(ValueError):
            count += SpoolEntry.parse(name).length >= LARGE_BYTES
    return count


def hint(queue: Queue, spool_id: str, entries: Sequence[SpoolEntry]) -> bool:
    """Tell the queue of entries that came back from quarantine; say whether it took it.

    If not, the sweeper finds them, as it does all beyond the first few hundred.
    """
    try:
        # One message each: an entry that failed before is taken alone.
        for entry in entries[:DEEPEST]:
            enqueue_entries(queue, spool_id, [entry])
    except ArchiveError:
        return False
    return True


def retry(quarantine: Quarantine, queue: Queue, spool_id: str, ids: Iterable[str]) -> bool:
    """Give entries back to be stored; say whether the queue was told.

    Raises
    ------
    NotFoundError, InvalidInputError
        As :meth:`vna.ingest.quarantine.Quarantine.show`.
    """
    return hint(queue, spool_id, [quarantine.retry(each) for each in ids])
