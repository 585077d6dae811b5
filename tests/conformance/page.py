"""The checklist as a page: ``python -m tests.conformance.page > docs/dicomweb-checklist.md`` after a change.

What it says of a server is what the tests measure: each behaviour is seen, or its absence is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.conformance import ups
from tests.conformance.deviations import DEVIATIONS
from tests.conformance.support import Check, Checklist, in_words

_HEAD = """# DICOMweb, behaviour by behaviour

What PS3.18 asks of an origin server, and whether this archive does it; beside it Orthanc 1.10 with its DICOMweb
plugin, for comparison. Generated from `tests/conformance`, where each line is a test that runs against both servers: a
line that says *no* has been measured, too, with the status that the server answered instead.

Sections are those of PS3.18 unless another document is named. Where editions differ: nothing found is 204 (10.6.3.1 of
2024c). CORS is no part of PS3.18; pages of other sites are let in where they are named ([viewers](how-to/viewers.md)).
"""
_SERVERS = tuple(DEVIATIONS)
_YES = "yes"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the page: its title, and rows of section, behaviour, and a cell for each server."""

    title: str
    rows: tuple[tuple[str, ...], ...]

    def has(self, column: int) -> int:
        """Return how many of its behaviours a server has."""
        return sum(row[column] == _YES for row in self.rows)


def checklists() -> list[Checklist]:
    """Return the parts of the list, in the order of the standard."""
    found = [each for module in _modules() for each in vars(module).values() if isinstance(each, Checklist)]
    return sorted(found, key=lambda part: [int(number) for number in part.title.partition(" ")[0].split(".")])


def markdown() -> str:
    """Return the page."""
    parts = [Part(each.title, tuple(_row(check) for check in each.checks)) for each in checklists()]
    parts += [Part(_worklist_title(module), tuple(_worklist_rows(each))) for module, each in _worklist()]
    return "\n".join([_HEAD, *_summary(parts), *(line for part in parts for line in _lines(part))]) + "\n"


def _modules() -> Iterator[ModuleType]:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        yield importlib.import_module(f"tests.conformance.{path.stem}")


def _row(check: Check) -> tuple[str, ...]:
    return (check.section, check.behaviour, *(_cell(server, check.name) for server in _SERVERS))


def _cell(server: str, name: str) -> str:
    deviation = DEVIATIONS[server].get(name)
    if deviation is None:
        return _YES
    status = f" ({deviation.status})" if deviation.status else ""
    return f"*no*{status}: {deviation.instead}"


def _worklist() -> Iterator[tuple[ModuleType, ups.Checklist]]:
    for module in _modules():
        yield from ((module, each) for each in vars(module).values() if isinstance(each, ups.Checklist))


def _worklist_title(module: ModuleType) -> str:
    what = (module.__doc__ or "").partition(": ")[2].partition(", as a checklist")[0]
    return f"11 Worklist (UPS-RS): {what}"


def _worklist_rows(part: ups.Checklist) -> Iterator[tuple[str, ...]]:
    # Orthanc is asked for all of it at once: whether there is a worklist.
    theirs = _cell("Orthanc", "there_is_a_worklist")
    for each in part.parameters():
        section, _, name = str(each.id).partition(": ")
        yield section, in_words(name), _YES, theirs


def _summary(parts: list[Part]) -> Iterator[str]:
    behaviours = sum(len(part.rows) for part in parts)
    yield f"| of {behaviours} behaviours | this archive | Orthanc |"
    yield "|---|---|---|"
    for part in parts:
        yield f"| {part.title} ({len(part.rows)}) | {part.has(2)} | {part.has(3)} |"
    ours, theirs = (sum(part.has(column) for part in parts) for column in (2, 3))
    yield f"| **all** | **{ours}** | **{theirs}** |"


def _lines(part: Part) -> Iterator[str]:
    yield f"\n## {part.title}\n"
    yield "| section | behaviour | this archive | Orthanc |"
    yield "|---|---|---|---|"
    for row in part.rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
