"""Calls of a store or an index, again and again while it is away, in work that takes hours."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from vna.domain.errors import ArchiveError, UnavailableError

T = TypeVar("T")
log = structlog.get_logger(__name__)

_LONGEST_PAUSE = 30.0
_MOST_OUTAGES = 100


class StubbornError(UnavailableError):
    """One call kept failing while the service was well otherwise: it is about what was asked."""


class Patience:
    """How long to wait for a service.

    Parameters
    ----------
    check
        Raises an error of the service while it is away.
    seconds
        How long it may be away at a time.
    attempts
        How often a call is made while the service is well.
    pause
        Seconds before the second attempt; each pause is twice as long as the one before.
    """

    def __init__(
        self, check: Callable[[], None], *, seconds: float = 600.0, attempts: int = 4, pause: float = 1.0
    ) -> None:
        self._check = check
        self._seconds = seconds
        self._attempts = attempts
        self._pause = pause

    def call(self, do: Callable[[], T]) -> T:
        """Make a call until it succeeds.

        Raises
        ------
        StubbornError
            It failed several times while the service was well.
        ArchiveError
            The service was away too long; or it failed in a way that will not pass.
        """
        pause, failures, outages = self._pause, 0, 0
        while True:
            try:
                return do()
            except ArchiveError as error:
                if not error.retry:
                    raise
                if self._await_service(error):
                    failures += 1
                    if failures >= self._attempts:
                        raise StubbornError(str(error)) from error
                else:
                    outages += 1
                    if outages >= _MOST_OUTAGES:
                        raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def ask(self) -> None:
        """Wait until the service is well; raises its error if it is away too long."""
        deadline, pause = time.monotonic() + self._seconds, self._pause
        while True:
            try:
                self._check()
            except ArchiveError as error:
                if not error.retry or time.monotonic() > deadline:
                    raise
                log.warning("waiting for a service", error=str(error))
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return

    def _await_service(self, error: ArchiveError) -> bool:
        """Wait until the service is well; say whether it was well at once, so that the failure was not its own."""
        log.warning("a call failed; it is made again", error=str(error))
        try:
            self._check()
        except ArchiveError:
            self.ask()
            return False
        return True
