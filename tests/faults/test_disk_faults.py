"""Errors of the disk below a whole archive, once and for ever, and a power cut after each: see ``make crash``."""

from __future__ import annotations

import random

import pytest

from tests.support.disk_faults import FAULTS, suffer
from tests.support.mounts import work_folder


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_acknowledged_outlives_it(fault: str) -> None:
    seed = random.randrange(1 << 30)
    workload, kind = random.Random(seed).choice([("worker", "ext4"), ("worker", "xfs"), ("whole", "ext4")])
    with work_folder() as folder:
        assert suffer(folder, fault, workload, kind, seed) == [], f"{workload} on {kind}, seed {seed}"
