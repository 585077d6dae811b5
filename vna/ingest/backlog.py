"""What waits to be stored, who works on it, and giving back what was put in quarantine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vna.domain.errors import ArchiveError
from vna.domain.origin import now_us
from vna.ingest.quarantine import Quarantine
from vna.ingest.receive import INGEST_TASK, ingest_queue
from vna.ingest.spool import Spool
from vna.ports.queue import Queue

# Beat sends one every 15 seconds; two may be late.
HEARTBEAT_OLD = 45.0
LIFECYCLE_QUEUE = "lifecycle"


@dataclass(frozen=True, slots=True)
class Spooled:
    """What is in the spool: entries, their bytes, and the seconds since the oldest arrived."""

    entries: int
    bytes: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life that went through beat, broker and worker: seconds ago, and on which host."""

    seconds: float
    host: str

    @property
    def alive(self) -> bool:
        """Whether it is recent."""
        return self.seconds < HEARTBEAT_OLD


def spooled(spool: Spool) -> Spooled:
    """Return what is in the spool."""
    found = spool.count(with_bytes=True)
    waited = abs(now_us() - found.oldest_us) / 1e6 if found.oldest_us else 0.0
    return Spooled(found.entries, found.bytes, waited)


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


def heartbeat(run_path: Path) -> Heartbeat | None:
    """Return the last heartbeat, ``None`` if there never was one on this data folder."""
    path = run_path / "heartbeat.json"
    with suppress(FileNotFoundError):
        beat = json.loads(path.read_text())
        old = (datetime.now(UTC) - datetime.fromisoformat(beat["when"])).total_seconds()
        return Heartbeat(old, str(beat["host"]))
    return None


def hint(queue: Queue, spool_id: str, names: Iterable[str]) -> bool:
    """Tell the queue of entries that came back from quarantine; say whether it took it.

    If not, the sweeper finds them.
    """
    try:
        # One message each: an entry that failed before is taken alone.
        for name in names:
            queue.enqueue(INGEST_TASK, [[name]], ingest_queue(spool_id))
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
    return hint(queue, spool_id, [quarantine.retry(each).name for each in ids])
