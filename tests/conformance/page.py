"""The checklist as a page: ``python -m tests.conformance.page > docs/dicomweb-checklist.md`` after a change.

What it says of a server is what the tests measure: each behaviour is seen, or its absence is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.deviations import DEVIATIONS
from tests.conformance.support import Check, Checklist

_HEAD = """# DICOMweb, behaviour by behaviour

What PS3.18 asks of an origin server, and whether this archive does it; beside it Orthanc 1.10 with its DICOMweb
plugin, for comparison. Generated from `tests/conformance`, where each line is a test that runs against both servers: a
line that says *no* has been measured, too, with the status that the server answered instead.

Sections are those of PS3.18 unless another document is named. Where editions differ: nothing found is 204 (10.6.3.1 of
2024c). CORS is no part of PS3.18, and pages of other sites are not let in ([access](how-to/access.md)).
"""


def checklists() -> list[Checklist]:
    """Return the parts of the list, in the order of the standard."""
    found: list[Checklist] = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.conformance.{path.stem}")
        found += [each for each in vars(module).values() if isinstance(each, Checklist)]
    return sorted(found, key=lambda part: [int(number) for number in part.title.partition(" ")[0].split(".")])


def markdown(parts: list[Checklist]) -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_summary(parts), *(line for part in parts for line in _part(part))]) + "\n"


def _summary(parts: list[Checklist]) -> Iterator[str]:
    checks = [check for part in parts for check in part.checks]
    yield f"| of {len(checks)} behaviours | this archive | Orthanc |"
    yield "|---|---|---|"
    for part in parts:
        counts = " | ".join(str(_count(part.checks, server)) for server in DEVIATIONS)
        yield f"| {part.title} ({len(part.checks)}) | {counts} |"
    yield f"| **all** | {' | '.join(f'**{_count(checks, server)}**' for server in DEVIATIONS)} |"


def _count(checks: list[Check], server: str) -> int:
    return sum(check.name not in DEVIATIONS[server] for check in checks)


def _part(part: Checklist) -> Iterator[str]:
    yield f"\n## {part.title}\n"
    yield "| section | behaviour | this archive | Orthanc |"
    yield "|---|---|---|---|"
    for check in part.checks:
        cells = " | ".join(_cell(check, server) for server in DEVIATIONS)
        yield f"| {check.section} | {check.behaviour} | {cells} |"


def _cell(check: Check, server: str) -> str:
    deviation = DEVIATIONS[server].get(check.name)
    if deviation is None:
        return "yes"
    status = f" ({deviation.status})" if deviation.status else ""
    return f"*no*{status}: {deviation.instead}"


if __name__ == "__main__":
    sys.stdout.write(markdown(checklists()))
