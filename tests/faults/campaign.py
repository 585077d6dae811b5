"""Crash states by the thousand, and faults by the hundred: ``python -m tests.faults.campaign --states N --faults N``.

Every state and every fault has a seed, so that each can be made again. Ends with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from queue import SimpleQueue

from tests.support.crash_judge import Judge, judge_state
from tests.support.crash_programs import PROGRAMS
from tests.support.crash_states import CrashStates
from tests.support.crash_workloads import WORKLOADS, play
from tests.support.disk_faults import FAULTS, suffer
from tests.support.mounts import work_folder
from tests.support.recorded_disk import SIZES, recorded_disk

_PROMISES = {"acknowledged", "changed", "sealed", "put"}
_STATES_OF_ONE = 250
_JUDGES = 2
_SUFFER_AT_ONCE = 3
_SHOWN = 20
_SITUATIONS = [(workload, kind) for kind in SIZES for workload in (*WORKLOADS, *PROGRAMS)]
_SUFFERERS = [
    ("worker", "ext4"),
    ("worker", "xfs"),
    ("whole", "ext4"),
    ("stored", "ext4"),
    ("dimse", "xfs"),
    ("stow", "ext4"),
]


@dataclass
class Score:
    """What was looked at, and what was wrong."""

    seed: int
    begun: float = field(default_factory=time.monotonic)
    states: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    promises: int = 0
    wrong: list[str] = field(default_factory=list)
    state_seconds: float = 0

    def add(self, name: str, problems: list[str]) -> None:
        for problem in problems[:2]:
            if len(self.wrong) < _SHOWN:
                print(f"  WRONG {name}: {problem.strip().splitlines()[0][:150]} … {problem.strip()[-150:]}", flush=True)
        if problems:
            self.wrong.append(name)

    def summary(self) -> str:
        """Return the figures for ``docs/faults.md``."""
        minutes = (time.monotonic() - self.begun) / 60
        rows = [f"| states, {name} | {count} |" for name, count in sorted(self.states.items())]
        rows += [f"| faults, {name} | {count} |" for name, count in sorted(self.faults.items())]
        rate = self.states.total() / self.state_seconds if self.state_seconds else 0
        return "\n".join(
            [
                "| | |",
                "|---|---|",
                *rows,
                f"| crash states | {self.states.total()}, {rate:.1f} a second |",
                f"| faults | {self.faults.total()} |",
                f"| acknowledgements looked for | {self.promises} |",
                f"| **not as promised** | **{len(self.wrong)}** |",
                f"| how long | {minutes:.0f} min, seed {self.seed}, Linux {platform.release()} |",
            ]
        )


def _states_of(folder: Path, situation: tuple[str, str], seed: int, count: int, score: Score) -> None:
    """Record one run of a workload, and judge states of its disk."""
    workload, kind = situation
    with recorded_disk(folder / "disk", kind) as disk:
        disk.faults(slow=random.Random(seed).choice([0, 0, 0.002, 0.01]))
        if workload in PROGRAMS:
            PROGRAMS[workload](disk, seed)
        else:
            play(WORKLOADS[workload], disk, seed)
    begun = time.monotonic()
    states = CrashStates(folder / "disk", folder)
    boots = random.Random(seed)
    judges: SimpleQueue[Judge] = SimpleQueue()
    made = [Judge(folder / f"state{number}.img", kind, SIZES[kind]) for number in range(_JUDGES)]
    for each in made:
        judges.put(each)

    def judged(cut: int, choice: int, boot: str) -> None:
        each = judges.get()
        try:
            name, problems = judge_state(states, each, cut, choice, boot)
            score.add(f"{workload} {kind} seed {seed} state {name} ({boot} boot)", problems)
        finally:
            judges.put(each)

    with ThreadPoolExecutor(_JUDGES) as pool:
        waiting = []
        for cut, choice in states.sample(seed, count):
            score.promises += sum(mark.split(" ")[0] in _PROMISES for mark in states.log.marks(cut))
            waiting.append(pool.submit(judged, cut, choice, boots.choice(["another", "same"])))
        for one in waiting:
            one.result()
    for each in made:
        each.close()
    score.states[f"{workload}, {kind}"] += len(waiting)
    score.state_seconds += time.monotonic() - begun


def _suffered(fault: str, workload: str, kind: str, seed: int) -> list[str]:
    with work_folder() as folder:
        return suffer(folder, fault, workload, kind, seed)


def _suffer_all(count: int, source: random.Random, score: Score) -> None:
    """Let archives suffer faults, some at a time, each in a process of its own."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_SUFFER_AT_ONCE, spawned, max_tasks_per_child=1) as pool:
        waiting = {}
        for number in range(count):
            fault = list(FAULTS)[number % len(FAULTS)]
            workload, kind = source.choice(_SUFFERERS)
            given = (fault, workload, kind, source.randrange(1 << 30))
            waiting[pool.submit(_suffered, *given)] = given
        for done in as_completed(waiting):
            fault, workload, kind, seed = waiting[done]
            score.add(f"{fault} {workload} {kind} seed {seed}", done.result())
            score.faults[fault] += 1
            print(f"{score.faults.total()} faults, {len(score.wrong)} wrong: {fault} {workload} {kind}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=10_000)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--summary", type=Path, help="file to write the summary to")
    given = parser.parse_args()
    score = Score(given.seed)
    source = random.Random(given.seed)
    print(f"seed {given.seed}", flush=True)
    for workload, kind in cycle(_SITUATIONS):
        count = min(_STATES_OF_ONE, given.states - score.states.total())
        if count <= 0:
            break
        with work_folder() as folder:
            _states_of(folder, (workload, kind), source.randrange(1 << 30), count, score)
        done, seconds = score.states.total(), score.state_seconds
        print(f"{done} states, {len(score.wrong)} wrong, {done / seconds:.1f} a second: {workload} {kind}", flush=True)
    _suffer_all(given.faults, source, score)
    print(score.summary())
    if given.summary:
        given.summary.write_text(score.summary() + "\n")
    return 1 if score.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
