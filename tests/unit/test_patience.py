"""Calls of a service that is away for a while, or that fails at one thing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vna.domain.errors import ConflictError, UnavailableError
from vna.lifecycle.patience import Patience, StubbornError


def failing(times: int) -> Callable[[], str]:
    left = iter(range(times))

    def call() -> str:
        if next(left, None) is not None:
            raise UnavailableError("away")
        return "done"

    return call


def well() -> None:
    """Pass."""


def patience(check: Callable[[], object], seconds: float = 5.0) -> Patience:
    def look() -> None:
        check()

    return Patience(look, seconds=seconds, pause=0.001)


def test_a_service_is_waited_for() -> None:
    assert patience(failing(7)).call(failing(3)) == "done"


def test_one_that_stays_away_is_told() -> None:
    with pytest.raises(UnavailableError, match="away") as raised:
        patience(failing(10**6), 0.05).call(failing(10**6))
    assert not isinstance(raised.value, StubbornError)


def test_what_fails_while_the_service_is_well_is_stubborn() -> None:
    with pytest.raises(StubbornError, match="away"):
        patience(well).call(failing(10**6))


def test_what_will_not_pass_is_not_tried_again() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        patience(well).call(call)
    assert calls == [1]
