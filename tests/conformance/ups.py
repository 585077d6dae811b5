"""What the parts of the worklist's checklist share.

Orthanc has no Unified Procedure Steps: there is no second server to ask. Payloads are made and read by pydicom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.support.http_gateway import HttpGateway
from tests.support.workitems import WorklistClient

UPS_PUSH = "1.2.840.10008.5.1.4.34.6.1"
INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."
NOT_NOW = "The submitted request is inconsistent with the current state of the Workitem."

Check = Callable[[WorklistClient], None]


class Checklist:
    """Checks with the sections of PS3.18 (numbers) and PS3.4 and PS3.3 (letters) that ask for them."""

    def __init__(self) -> None:
        self._checks: list[tuple[str, Check]] = []

    def __call__(self, section: str) -> Callable[[Check], Check]:
        """Enter a check into the list."""

        def enter(function: Check) -> Check:
            self._checks.append((section, function))
            return function

        return enter

    def parameters(self) -> list[ParameterSet]:
        """Return the checks as parameters of a test, each with its section."""
        return [pytest.param(each, id=f"{section}: {each.__name__}") for section, each in self._checks]


@pytest.fixture(scope="module")
def worklist(gateway: HttpGateway) -> Iterator[WorklistClient]:
    client = WorklistClient(gateway.base)
    yield client
    client.close()
