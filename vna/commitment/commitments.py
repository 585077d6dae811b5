"""The use case: takes requests for storage commitment, and finds out what becomes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vna.commitment.decision import Fact, Result, Verdict, judge, refuse_duplicate
from vna.commitment.lookup import Lookup
from vna.commitment.records import Records
from vna.commitment.request import Request
from vna.commitment.state import State
from vna.commitment.waiting import Note, SpoolNotes, may_hold
from vna.domain.origin import now_us

Found = dict[str, list[Fact]]


def _no_step() -> None:
    """Do nothing between two pieces of a search."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited: for what may be in a spool, and for an application entity to take a report; seconds."""

    spool: float
    report: float


class Commitments:
    """The transactions of an archive.

    Parameters
    ----------
    records
        Where they are kept.
    lookup
        Finds instances.
    notes
        What is known of the spools.
    patience
        How long is waited.
    """

    def __init__(self, records: Records, lookup: Lookup, notes: SpoolNotes, patience: Patience) -> None:
        self.records = records
        self.notes = notes
        self.patience = patience
        self._lookup = lookup

    def receive(self, request: Request, lease_seconds: float) -> tuple[Request, State | None]:
        """Write a request down, and return when it is durable; see :meth:`Records.create`."""
        return self.records.create(request, lease_seconds)

    def examine(
        self, request: Request, step: Callable[[], None] = _no_step, own: Callable[[], Note] | None = None
    ) -> Result | None:
        """Find out what becomes of the instances of a request.

        Parameters
        ----------
        request
            What was asked.
        step
            Called now and then: what it raises ends the search.
        own
            What is seen of the spool of this host now, which then need not be written down.

        Returns
        -------
        Result or None
            ``None`` while a spool may hold one of the instances: missing here, or other bytes of one that is here,
            which are not committed before they are stored.

        Raises
        ------
        UnavailableError
            The index or the store does not answer: nothing is known.
        """
        if request.duplicate:
            return refuse_duplicate(request)
        # In this order: what has left the spool before is in the index now.
        if self.holds(request, self.seen(own)):
            return None
        everything = range(len(request.references))
        found = self._look(request, everything, step)
        verdicts = _judge(request, everything, found)
        failures = {place: verdict.reason for place, verdict in verdicts.items() if verdict.reason}
        studies = Counter((fact.study, fact.sop_class) for facts in found.values() for fact in facts)
        return Result(failures, tuple((study, sop_class, count) for (study, sop_class), count in studies.items()))

    def seen(self, own: Callable[[], Note] | None = None) -> list[Note]:
        """Return what was last seen of each spool; ``own`` looks at that of this host now."""
        mine = [own()] if own is not None else []
        return mine + [note for note in self.notes.read() if not mine or note.spool != mine[0].spool]

    def holds(self, request: Request | State, notes: Sequence[Note]) -> bool:
        """Return whether a spool may hold what was received before a request; not longer than patience lasts."""
        if now_us() - request.received_us > 1e6 * self.patience.spool:
            return False
        return may_hold(notes, request.spool, request.received_us, self.patience.spool)

    def _look(self, request: Request, places: Sequence[int], step: Callable[[], None]) -> Found:
        self._lookup.refresh()
        return self._lookup.find([request.references[place].instance for place in places], step)


def _judge(request: Request, places: Sequence[int], found: Found) -> dict[int, Verdict]:
    unsupported = frozenset(request.unsupported)
    references = ((place, request.references[place]) for place in places)
    return {
        place: judge(each, found.get(each.instance, ()), supported=each.sop_class not in unsupported)
        for place, each in references
    }
