"""Whether an instance may still be in a spool: acknowledged, but not stored yet.

Each spool is seen only from its own host. So the workers beside it write down
how old its oldest entry is, while there is a transaction to decide, and every
so often when there is none. Until that note is younger than a request, nobody
knows that what is missing is nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import orjson

from vna.domain.origin import now_us
from vna.ingest.journal import Journal
from vna.ingest.spool import Spool
from vna.ports.objects import ObjectStore

_PREFIX = "commitments/spools/"
# Clocks of hosts differ a little.
_MARGIN_US = 2_000_000
_IDLE_SECONDS = 3600.0

OldestWaiting = Callable[[], float | None]
"""When the oldest entry of the spool of this host was received, seconds since 1970 UTC; ``None`` if it is empty."""


def oldest_of(spool: Spool) -> OldestWaiting:
    """Return what tells the age of a spool's oldest entry."""
    journal = Journal(spool)

    def oldest() -> float | None:
        # What was tried and failed may wait for a person for days: it holds up no commitment of others.
        failed = journal.suspects()
        of_segments = next((entry for entry in spool.entries_in_segments() if entry.name not in failed), None)
        found = [entry.received_us for entry in spool.entries_in_files() if entry.name not in failed]
        found += [of_segments.received_us] if of_segments else []
        return min(found) / 1e6 if found else None

    return oldest


@dataclass(frozen=True, slots=True)
class Note:
    """What was seen of a spool: its name, when, and when its oldest entry was received; microseconds, 0 for none.

    ``margin_us`` is by how much the clock of who saw it may differ from that of who asks.
    """

    spool: str
    seen_us: int
    oldest_us: int = 0
    margin_us: int = _MARGIN_US

    def clear(self, received_us: int) -> bool:
        """Whether nothing that was received before a moment is in the spool."""
        moment = received_us + self.margin_us
        return self.seen_us >= moment and (not self.oldest_us or self.oldest_us > moment)


def may_hold(notes: Iterable[Note], spool: str, received_us: int, patience_seconds: float) -> bool:
    """Return whether a spool may hold what was received before a request.

    Parameters
    ----------
    notes
        What was last seen of each spool.
    spool
        The one beside the gateway that took the request: of it there must be a note.
    received_us
        When the request came.
    patience_seconds
        A spool of which nothing was heard for so long before the request is no more.
    """
    known = {note.spool: note for note in notes}
    own = known.pop(spool, None)
    if own is None or not own.clear(received_us):
        return True
    dead = received_us - int(1e6 * patience_seconds)
    return any(not note.clear(received_us) for note in known.values() if note.seen_us > dead)


class SpoolNotes:
    """The notes of all spools.

    Parameters
    ----------
    objects
        Where they are kept.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def read(self) -> list[Note]:
        """Return what was last seen of each spool."""
        keys = [info.key for info in self._objects.list(_PREFIX)]
        found = []
        for key, data in self._objects.get_many(keys):
            with suppress(ValueError, TypeError, KeyError):
                document = orjson.loads(data or b"")
                spool = key.removeprefix(_PREFIX).removesuffix(".json")
                found.append(Note(spool, int(document["seen_us"]), int(document["oldest_us"])))
        return found

    def write(self, spool: str, oldest: OldestWaiting, *, wanted: bool) -> Note | None:
        """Write down what is in the spool of this host.

        Parameters
        ----------
        spool
            Its name.
        oldest
            Tells its oldest entry.
        wanted
            Whether somebody waits for it; otherwise it is written down but rarely.
        """
        now = now_us()
        if not wanted:
            mine = next((note for note in self.read() if note.spool == spool), None)
            if mine is not None and 0 <= now - mine.seen_us < 1e6 * _IDLE_SECONDS:
                return None
        note = see(spool, oldest)
        document = {"seen_us": note.seen_us, "oldest_us": note.oldest_us}
        self._objects.replace(f"{_PREFIX}{spool}.json", orjson.dumps(document))
        return note


def see(spool: str, oldest: OldestWaiting) -> Note:
    """Return a note of now, by the clock of this host."""
    # The moment before the look: what comes during it may not be seen.
    now = now_us()
    seconds = oldest()
    return Note(spool, now, 0 if seconds is None else max(1, int(seconds * 1e6)), margin_us=0)
