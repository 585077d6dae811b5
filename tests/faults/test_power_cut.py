"""The power of a disk is cut while an archive works on it: whatever was acknowledged is there when it comes back.

Each cut is looked at twice: as the host sees it that went down with its disk, and as one sees it that did not (a disk
array, an enclosure, a volume that was detached), whose boot identity is what it was.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crash_judge import judge
from tests.support.crash_states import copy_sparse
from tests.support.crash_workloads import SETTLE, WORKLOADS, join, play, running, send
from tests.support.disk_image import DiskImage, disk_image
from tests.support.mounts import work_folder
from tests.support.recorded_disk import SIZES


@pytest.fixture
def folder() -> Iterator[Path]:
    with work_folder() as made:
        yield made


def _judged(folder: Path, kind: str, cut: Path, marks: list[str]) -> dict[str, list[str]]:
    found = {}
    with judge(folder / "state.img", kind, SIZES[kind]) as judging:
        for boot in ("another", "same"):
            copy_sparse(cut, judging.image)
            found[boot] = judging.judge(marks, boot)
    return found


def _cut_after_a_restart(disk: DiskImage, workload: str, to: Path, seed: int) -> list[str]:
    """Run an archive, stop it, start it again, and cut the power while it is sent to."""
    moments = random.Random(seed)
    what = WORKLOADS[workload]
    play(what, disk, seed, starts=1)
    with running(what, disk) as parts:
        join(send(what, disk, parts, f"{seed}.early", 0.5))
        time.sleep(SETTLE)
        join(send(what, disk, parts, f"{seed}.late"))
        send(what, disk, parts, f"{seed}.under-way", 4)
        time.sleep(moments.uniform(0.02, 0.3))
        return disk.cut(to, parts.processes())


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("workload", ["dimse", "stow", "whole"])
def test_what_was_acknowledged_outlives_a_power_cut(folder: Path, workload: str, kind: str) -> None:
    seed = random.randrange(1 << 30)
    cut = folder / "cut.img"
    with disk_image(folder / "disk", kind) as disk:
        marks = _cut_after_a_restart(disk, workload, cut, seed)
    assert sum(mark.startswith("acknowledged") for mark in marks) > 20, f"seed {seed}"
    assert _judged(folder, kind, cut, marks) == {"another": [], "same": []}, f"seed {seed}"
