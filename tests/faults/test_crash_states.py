"""States that a disk may be in after a power cut, made from recorded writes and flushes: a slice of ``make crash``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crash_judge import judge, judge_state
from tests.support.crash_programs import PROGRAMS
from tests.support.crash_states import CrashStates
from tests.support.crash_workloads import WORKLOADS, play
from tests.support.mounts import work_folder
from tests.support.recorded_disk import SIZES, recorded_disk

_STATES = 30
_STATES_OF_PROGRAMS = 80
# A flush takes as long as one of a disk that turns: who answers too early is seen.
_SLOW_SECONDS = 0.01


@pytest.fixture
def folder() -> Iterator[Path]:
    with work_folder() as made:
        yield made


def _wrong(folder: Path, kind: str, seed: int, count: int) -> dict[str, list[str]]:
    states = CrashStates(folder / "disk", folder)
    boots = random.Random(seed)
    wrong = {}
    with judge(folder / "state.img", kind, SIZES[kind]) as judging:
        for cut, choice in states.sample(seed, count):
            name, problems = judge_state(states, judging, cut, choice, boots.choice(["another", "same"]))
            if problems:
                wrong[name] = problems
    return wrong


@pytest.mark.parametrize(
    ("workload", "kind"),
    [("dimse", "ext4"), ("stow", "xfs"), ("worker", "xfs"), ("stored", "ext4"), ("items", "ext4"), ("whole", "ext4")],
)
def test_every_state_holds_what_was_acknowledged(folder: Path, workload: str, kind: str) -> None:
    seed = random.randrange(1 << 30)
    with recorded_disk(folder / "disk", kind) as disk:
        disk.faults(slow=_SLOW_SECONDS)
        play(WORKLOADS[workload], disk, seed, starts=2)
    wrong = _wrong(folder, kind, seed, _STATES)
    assert wrong == {}, f"{len(wrong)} of {_STATES} states, seed {seed}"


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_state_of_a_part_alone(folder: Path, program: str, kind: str) -> None:
    seed = random.randrange(1 << 30)
    with recorded_disk(folder / "disk", kind) as disk:
        disk.faults(slow=_SLOW_SECONDS / 10)
        PROGRAMS[program](disk, seed)
    wrong = _wrong(folder, kind, seed, _STATES_OF_PROGRAMS)
    assert wrong == {}, f"{len(wrong)} of {_STATES_OF_PROGRAMS} states, seed {seed}"
