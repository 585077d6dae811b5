"""Delivering results: looks up what is not decided yet, and reports what is, to whoever asked.

The documents are the state. A pass takes what is due and nobody has in hand;
what it cannot finish is due again later, whoever then does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from vna.commitment.commitments import Commitments
from vna.commitment.decision import Result
from vna.commitment.report import event_report
from vna.commitment.request import Request
from vna.commitment.state import DECIDING, DELIVERED, REPORTING, State
from vna.commitment.waiting import Note
from vna.domain.errors import ArchiveError, ConflictError
from vna.domain.origin import now_us
from vna.domain.records import Attributes

log = structlog.get_logger(__name__)

_THREADS = 8
_PASS_SECONDS = 20.0
_RENEW_US = 40_000_000
# Warnings of an N-EVENT-REPORT response: the report was taken (PS3.7 C.3).
_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})


class Channel(Protocol):
    """An association on which reports can be sent."""

    def report(self, event_type: int, information: Attributes) -> int:
        """Send an N-EVENT-REPORT and return the status of its response; raises ``UnavailableError``."""


Open = Callable[[str], AbstractContextManager[Channel]]
"""Opens an association with an application entity by its title.

Raises ``NotFoundError`` for a title without an address, ``UnavailableError`` when it does not answer or refuses."""

OnEnd = Callable[[State, Request, Result], None]
"""Told of each transaction that was delivered, or given up."""


@dataclass(slots=True)
class Pass:
    """What one pass did: transactions that it saw open, decided, delivered, gave up, and could not report."""

    open: int = 0
    decided: int = 0
    delivered: int = 0
    given_up: int = 0
    not_told: int = 0


def taken(status: int) -> bool:
    """Return whether a status of an N-EVENT-REPORT response says that the report was taken."""
    return status == 0 or status in _WARNINGS


class Deliverer:
    """Works on transactions that are due. Any number may run at once, on any host.

    Parameters
    ----------
    commitments
        The transactions.
    connect
        Opens an association.
    ae_title
        From where instances can be had.
    on_end
        Told of what was ended.
    """

    def __init__(self, commitments: Commitments, connect: Open, ae_title: str, on_end: OnEnd = lambda *_: None) -> None:
        self._commitments = commitments
        self._records = commitments.records
        self._connect = connect
        self._ae_title = ae_title
        self._on_end = on_end

    def run(self) -> Pass:
        """Work on what is due; raises ``UnavailableError`` when the object store does not answer."""
        done = Pass()
        until = now_us() + int(1e6 * _PASS_SECONDS)
        due: dict[str, list[State]] = {}
        states = list(self._records.open())
        notes = self._commitments.seen() if any(state.waiting for state in states) else []
        for state in states:
            if state.final:
                self._records.clear_up(state)
                continue
            done.open += 1
            if self._is_due(state, notes):
                due.setdefault(state.ae_title, []).append(state)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="report") as threads:
            for each in list(threads.map(lambda states: self._one_peer(states, until), due.values())):
                done.decided += each.decided
                done.delivered += each.delivered
                done.given_up += each.given_up
                done.not_told += each.not_told
        return done

    def _is_due(self, state: State, notes: Sequence[Note]) -> bool:
        now = now_us()
        if state.is_due(now):
            return True
        # What was missing may be stored since.
        return state.waiting and not state.held(now) and not self._commitments.holds(state, notes)

    def _one_peer(self, states: Sequence[State], until_us: int) -> Pass:
        """Decide the transactions of one application entity, and report those on one association."""
        done = Pass()
        ready: list[State] = []
        for state in states:
            if now_us() > until_us:
                break
            try:
                decided = self._decide(state) if state.phase == DECIDING else state
            except ConflictError:
                continue  # somebody else has it in hand
            except Exception:  # one transaction's fault is not another's
                log.exception("a commitment failed", id=state.id, ae_title=state.ae_title)
                continue
            if decided is not None:
                done.decided += decided is not state
                ready.append(decided)
        try:
            self._report(ready, until_us, done)
        except Exception:  # as above; what is not done is due again when its lease is over
            log.exception("reports failed", ae_title=states[0].ae_title)
        return done

    def _decide(self, state: State) -> State | None:
        """Find out what becomes of a transaction; return it in nobody's hand, ``None`` while that is not known."""
        held = _Held(self._commitments, state)
        request = self._records.request(held.state)
        waiting, error = False, ""
        try:
            result = self._commitments.examine(request, held.renew)
        except ConflictError:
            raise
        except ArchiveError as unavailable:
            result, error = None, str(unavailable)
            log.warning("a commitment waits", ae_title=state.ae_title, transaction=state.transaction, error=error)
        else:
            waiting = result is None
        now = now_us()
        if result is None:
            self._records.change(held.state, held.state.put_off(now, error, waiting=waiting))
            self._records.prune(held.state)
            return None
        # In nobody's hand until its turn to be reported comes.
        return self._records.change(held.state, held.state.decided(now, result).leased(now, 0), result)

    def _report(self, states: Sequence[State], until_us: int, done: Pass) -> None:
        """Report on one association, opened when the first is due."""
        states = list(states)
        if not states:
            return
        ae_title = states[0].ae_title
        try:
            with self._connect(ae_title) as channel:
                while states and now_us() <= until_us:
                    with suppress(ConflictError):
                        self._tell(channel, states[0], done)
                    states.pop(0)
        except ArchiveError as error:
            # What was under way is with the others: whether it arrived is not known.
            log.warning("storage commitment is not reported", ae_title=ae_title, reports=len(states), error=str(error))
            for state in states:
                with suppress(ConflictError):
                    self._not_told(self._leased(state), str(error), done)

    def _leased(self, state: State) -> State:
        """Take a transaction, or go on with the one that this pass has taken."""
        return self._records.change(state, state.leased(now_us()))

    def _tell(self, channel: Channel, state: State, done: Pass) -> None:
        state = self._leased(state)
        try:
            request, result = self._records.request(state), self._records.result(state)
            status = channel.report(*event_report(request, result, self._ae_title))
        except ArchiveError as error:
            self._not_told(state, str(error), done)
            raise
        if not taken(status):
            self._not_told(state, f"{state.ae_title} answers the report with {status:04X}", done)
            return
        done.delivered += 1
        self.end(state, DELIVERED)

    def _not_told(self, state: State, error: str, done: Pass) -> None:
        later = state.not_told(now_us(), error, self._commitments.patience.report)
        done.not_told += 1
        if later.phase == REPORTING:
            self._records.change(state, later)
            self._records.prune(state)
            return
        done.given_up += 1
        log.error("a storage commitment is given up", ae_title=state.ae_title, transaction=state.transaction)
        self.end(state, later.phase, error)

    def end(self, state: State, phase: str, error: str = "") -> None:
        """End a transaction that the caller has in hand."""
        request, result = self._records.request(state), self._records.result(state)
        final = self._records.change(state, state.end(phase, error))
        self._on_end(final, request, result)
        self._records.clear_up(final)


class _Held:
    """A transaction in the hand of the caller, renewed while it works."""

    def __init__(self, commitments: Commitments, state: State) -> None:
        self._records = commitments.records
        self.state = self._records.change(state, state.leased(now_us()))

    def renew(self) -> None:
        """Keep it; raises ``ConflictError`` if somebody else has taken it."""
        now = now_us()
        if self.state.lease_us - now < _RENEW_US:
            self.state = self._records.change(self.state, self.state.leased(now))
