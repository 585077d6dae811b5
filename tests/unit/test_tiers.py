"""The tiers are counted in steps, from the object store's own listing."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from vna.domain.origin import now_us
from vna.lifecycle import tiers
from vna.lifecycle.tiers import advance, last_count
from vna.ports.objects import Put
from vna.store.folder import FolderStore


@pytest.fixture
def objects(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path)
    puts = [
        Put(f"instances/{n:02}/a{end}", b"x" * size) for n in range(20) for end, size in ((".dcm", 10), (".json", 1))
    ]
    store.put_batch([*puts, Put("facts/other.json", b"y" * 100)])
    for number in range(5):
        store.set_storage_class(f"instances/{number:02}/a.dcm", "COLD")
    return store


def test_a_count_is_by_class_and_of_instances_alone(objects: FolderStore) -> None:
    assert last_count(objects) is None
    found = advance(objects, 60)
    assert found is not None
    assert found == last_count(objects)
    assert {tier.name: (tier.instances, tier.bytes) for tier in found.tiers.values()} == {
        "STANDARD": (15, 15 * 10 + 20),
        "COLD": (5, 50),
    }


def test_steps_come_to_the_same_and_the_last_count_stands_meanwhile(
    objects: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = advance(objects, 60)
    assert advance(objects, 60) is None  # it is not time yet
    monkeypatch.setattr(tiers, "now_us", lambda: now_us() + 3_600_000_000)
    objects.put("instances/99/b.dcm", b"z" * 7)
    steps = 1
    ticks = count()
    while (found := advance(objects, 7, lambda: float(next(ticks)))) is None:
        assert last_count(objects) == first
        steps += 1
    assert steps > 3
    assert found.instances == 21
    assert found.tiers["STANDARD"].bytes == 15 * 10 + 20 + 7
    assert last_count(objects) == found
