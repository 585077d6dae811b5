"""The scrub: verification of everything, round after round, in steps that are bounded by bytes a second.

Where it goes on is kept in the object store, so it is the same scrub whichever worker takes the next step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

import orjson

from vna.domain.errors import NotFoundError
from vna.domain.identity import FACT_PREFIX, OBJECT_PREFIX
from vna.domain.origin import now_us
from vna.lifecycle.verify import Verified, Verifier
from vna.ports.index import Index
from vna.ports.objects import ObjectStore

_KEY = f"{FACT_PREFIX}storage/verified.json"
# How long a step reads, and what it may read: what the rate allows for so long.
STEP_SECONDS = 2.0
_STEP_ALLOWS = 30
# A round begins so long after the one before began.
_ROUND_US = 24 * 3600 * 1_000_000
OBJECTS, ROWS, DONE = "objects", "rows", "done"


@dataclass(slots=True)
class Round:
    """A round over everything.

    Attributes
    ----------
    began_us, ended_us
        When, microseconds since 1970 UTC; 0 while it has not ended.
    phase, after, at
        Where it goes on: ``objects`` behind a key, or ``rows`` behind the identity of a study, with its place.
    objects, bytes, unread
        As in :class:`vna.lifecycle.verify.Verified`.
    stepped_us
        When the last step began.
    owed
        Bytes that were read beyond what the time has allowed so far.
    """

    began_us: int
    ended_us: int = 0
    phase: str = OBJECTS
    after: str = ""
    at: int = 0
    objects: int = 0
    bytes: int = 0
    unread: int = 0
    stepped_us: int = 0
    owed: int = 0


def last_round(objects: ObjectStore) -> Round | None:
    """Return the last round that has ended, ``None`` if none has."""
    return _read(objects)[0]


def advance(
    objects: ObjectStore,
    index: Index,
    bytes_a_second: int,
    seconds: float = STEP_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Verified, Round | None]:
    """Go on with the round that is under way, or begin one if it is time.

    Several processes may do so at once: they read the same piece twice.

    Returns
    -------
    Verified
        What this step read and found.
    Round or None
        The round, if it has ended now.

    Raises
    ------
    UnavailableError
        The object store or the index does not answer; the step is taken again.
    """
    done, running = _read(objects)
    now = now_us()
    if running is None:
        if done is not None and now - done.began_us < _ROUND_US:
            return Verified(), None
        running = Round(now, stepped_us=now)
    passed = max(now - running.stepped_us, 0) / 1e6
    running.owed = max(running.owed - int(passed * bytes_a_second), 0)
    running.stepped_us = now
    allowed = bytes_a_second * _STEP_ALLOWS - running.owed
    report = Verified()
    if allowed > 0:
        verifier = Verifier(objects, index)
        report = verifier.report
        _step(running, verifier, allowed, seconds, clock)
        running.objects += report.objects
        running.bytes += report.bytes
        running.unread += report.unread
        running.owed += report.bytes
    if running.phase != DONE:
        _write(objects, done, running)
        return report, None
    running.ended_us = now_us()
    _write(objects, running, None)
    return report, running


def _step(running: Round, verifier: Verifier, allowed: int, seconds: float, clock: Callable[[], float]) -> None:
    if running.phase == OBJECTS:
        begin = clock()
        for key in verifier.instances(OBJECT_PREFIX, running.after):
            running.after = key
            if clock() - begin >= seconds or verifier.report.bytes >= allowed:
                return
        running.phase, running.after = ROWS, ""
    if running.phase == ROWS:
        begin, enough = clock(), 0.0
        for running.after, running.at in verifier.rows(running.after, running.at):  # noqa: B020 - read once, before
            # To find the place again takes its time; it shall be the lesser part.
            enough = enough or max(seconds, 3 * (clock() - begin))
            if clock() - begin >= enough:
                return
        verifier.end_gone()
        running.phase, running.after, running.at = DONE, "", 0


def _read(objects: ObjectStore) -> tuple[Round | None, Round | None]:
    with suppress(NotFoundError, ValueError, TypeError, KeyError):
        found = orjson.loads(objects.get(_KEY))
        return tuple(Round(**each) if each else None for each in (found["done"], found["running"]))  # type: ignore[return-value]
    return None, None


def _write(objects: ObjectStore, done: Round | None, running: Round | None) -> None:
    objects.replace(_KEY, orjson.dumps({"done": done and asdict(done), "running": running and asdict(running)}))
