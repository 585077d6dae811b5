"""Where a transaction stands: its phase, who has it in hand, when it is due; and the pauses between tries. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from vna.commitment.decision import Result

DECIDING = "deciding"
REPORTING = "reporting"
DELIVERED = "delivered"
FAILED = "failed"
DROPPED = "dropped"
FINAL = frozenset({DELIVERED, FAILED, DROPPED})

LEASE_SECONDS = 120.0
"""How long whoever works on a transaction has it for itself, and how long one who died keeps others waiting."""

_LONGEST_PAUSE = 3600.0
_FIRST_PAUSE = 15.0
_LONGEST_LOOK = 300.0
_FIRST_LOOK = 5.0
_LONGEST_ERROR = 300


@dataclass(frozen=True, slots=True)
class State:
    """One revision of what is known of a transaction.

    Attributes
    ----------
    id, revision, generation
        Which transaction, which revision of it, and at which revision it began, anew if it was asked for again.
    ae_title, transaction, references, received_us, spool
        Of the request: who asks, how many instances, when, beside which spool.
    phase
        ``deciding`` while it is not known what becomes of it, ``reporting`` while that is to be told; then
        ``delivered``, ``failed`` (given up) or ``dropped`` (by a person).
    when_us
        When this revision was written.
    due_us
        When it is worked on next.
    lease_us
        Until when somebody has it for itself; 0: nobody.
    looks, tries
        How often it was looked up in vain, and how often the report failed.
    waiting
        Whether instances are missing that may be in a spool.
    decided_us
        When the result was known.
    result
        The revision that has the result; 0 for none.
    failed
        Instances that are not committed.
    error
        What went wrong last, for a person.
    """

    id: str
    revision: int
    generation: int
    ae_title: str
    transaction: str
    references: int
    received_us: int
    spool: str
    phase: str
    when_us: int
    due_us: int
    lease_us: int = 0
    looks: int = 0
    tries: int = 0
    waiting: bool = False
    decided_us: int = 0
    result: int = 0
    failed: int = 0
    error: str = ""

    @property
    def final(self) -> bool:
        """Whether nothing more is done."""
        return self.phase in FINAL

    def held(self, now_us: int) -> bool:
        """Whether somebody has it in hand; a lease that no clock of today can have given counts for nothing."""
        return now_us < self.lease_us <= now_us + int(2e6 * LEASE_SECONDS)

    def is_due(self, now_us: int) -> bool:
        """Whether it is to be worked on now."""
        pause = self.due_us - now_us
        return not self.final and not self.held(now_us) and (pause <= 0 or pause > 2e6 * _LONGEST_PAUSE)

    def leased(self, now_us: int, seconds: float = LEASE_SECONDS) -> State:
        """Return it in the hand of the caller."""
        return replace(self, lease_us=now_us + int(1e6 * seconds))

    def put_off(self, now_us: int, error: str = "", *, waiting: bool = False) -> State:
        """Return it undecided: to be looked up again, after a pause that grows."""
        pause = min(_LONGEST_LOOK, _FIRST_LOOK * 2.0 ** min(self.looks, 20))
        due = now_us + int(1e6 * pause)
        return replace(
            self, due_us=due, lease_us=0, looks=self.looks + 1, waiting=waiting, error=error[:_LONGEST_ERROR]
        )

    def given_back(self, now_us: int, error: str = "") -> State:
        """Return it undecided, for others to look it up at once."""
        return replace(self, due_us=now_us, lease_us=0, error=error[:_LONGEST_ERROR])

    def decided(self, now_us: int, result: Result) -> State:
        """Return it with a result, which the next revision has."""
        return replace(
            self,
            phase=REPORTING,
            decided_us=now_us,
            due_us=now_us,
            result=self.revision + 1,
            failed=len(result.failures),
            waiting=False,
            tries=0,
            error="",
        )

    def not_told(self, now_us: int, error: str, patience_seconds: float, *, at_once: bool = False) -> State:
        """Return it with a report that failed: to be tried again after a pause that grows, or given up.

        Parameters
        ----------
        now_us
            The present.
        error
            Why.
        patience_seconds
            How long after the decision it is given up.
        at_once
            Whether another way is worth a try without a pause.
        """
        pause = 0.0 if at_once else min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self.tries, 20))
        due = now_us + int(1e6 * pause)
        phase = FAILED if now_us - self.decided_us > 1e6 * patience_seconds else REPORTING
        tries = self.tries if at_once else self.tries + 1
        return replace(self, phase=phase, due_us=due, lease_us=0, tries=tries, error=error[:_LONGEST_ERROR])

    def end(self, phase: str, error: str = "") -> State:
        """Return it ended."""
        return replace(self, phase=phase, lease_us=0, error=error[:_LONGEST_ERROR])


def to_json(state: State) -> dict[str, Any]:
    """Return a state as values of JSON."""
    return asdict(state)


def from_json(found: dict[str, Any]) -> State:
    """Read a state back; raises ``TypeError`` for what is none."""
    return State(**found)
