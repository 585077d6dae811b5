"""The page of the checklist says what the tests measure."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.conformance.deviations import DEVIATIONS
from tests.conformance.page import checklists, markdown

PAGE = Path(__file__).parents[2] / "docs/dicomweb-checklist.md"


def test_the_page_is_what_is_measured() -> None:
    assert PAGE.read_text() == markdown(), "python -m tests.conformance.page > docs/dicomweb-checklist.md"


def test_every_behaviour_has_a_name_of_its_own_and_every_deviation_is_from_one() -> None:
    names = Counter(check.name for part in checklists() for check in part.checks)
    assert [name for name, count in names.items() if count > 1] == []
    for deviations in DEVIATIONS.values():
        assert set(deviations) <= set(names)
