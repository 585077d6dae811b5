"""States that a disk may be in after a power cut, made from recorded writes and flushes: a slice of ``make crash``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crash_judge import judge
from tests.support.crash_states import CrashStates
from tests.support.crash_workloads import WORKLOADS, play
from tests.support.mounts import work_folder
from tests.support.recorded_disk import SIZES, recorded_disk

_STATES = 30


@pytest.fixture
def folder() -> Iterator[Path]:
    with work_folder() as made:
        yield made


@pytest.mark.parametrize(
    ("workload", "kind"),
    [("dimse", "ext4"), ("dimse", "xfs"), ("stow", "ext4"), ("worker", "xfs"), ("items", "ext4"), ("whole", "ext4")],
)
def test_every_state_holds_what_was_acknowledged(folder: Path, workload: str, kind: str) -> None:
    seed = random.randrange(1 << 30)
    with recorded_disk(folder / "disk", kind) as disk:
        play(WORKLOADS[workload], disk, seed, starts=2)
    states = CrashStates(folder / "disk", folder)
    boots = random.Random(seed)
    wrong = {}
    with judge(folder / "state.img", kind, SIZES[kind]) as judging:
        for cut, choice in states.sample(seed, _STATES):
            state = states.make(cut, choice, judging.image)
            if problems := judging.judge(states.log.marks(cut), boots.choice(["another", "same"])):
                wrong[state.name] = problems
    assert wrong == {}, f"{len(wrong)} of {_STATES} states, seed {seed}"
