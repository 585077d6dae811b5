from __future__ import annotations

from pathlib import Path

from vna.domain.origin import Origin
from vna.ingest.brake import RefusalBrake

CT, MR = Origin("dimse", "CT1", "VNA", "192.0.2.1"), Origin("dimse", "MR1", "VNA", "192.0.2.2")


def brake(tmp_path: Path, most: int = 3, version: str = "1") -> RefusalBrake:
    return RefusalBrake(tmp_path / "refusals.json", most, version)


def test_refusals_in_a_row_are_within_the_limit_and_then_not(tmp_path: Path) -> None:
    one = brake(tmp_path)
    assert [one.refused(CT) for _ in range(5)] == [True, True, True, False, False]
    assert one.refused(MR), "another sender has a count of its own"
    assert one.over() == {"dimse CT1 192.0.2.1": 5}


def test_something_that_is_stored_begins_the_count_anew(tmp_path: Path) -> None:
    one = brake(tmp_path)
    for _ in range(3):
        one.refused(CT)
    one.accepted([MR])
    assert not one.refused(CT)
    one.accepted([CT])
    assert one.refused(CT)


def test_processes_share_the_count(tmp_path: Path) -> None:
    one, two = brake(tmp_path), brake(tmp_path)
    assert [each.refused(CT) for each in (one, two, one, two)] == [True, True, True, False]
    two.accepted([CT])
    assert one.over() == {}
    assert one.refused(CT)


def test_another_version_and_a_person_begin_anew(tmp_path: Path) -> None:
    one = brake(tmp_path)
    while one.refused(CT):
        pass
    assert brake(tmp_path, version="2").refused(CT)
    while one.refused(CT):
        pass
    one.release()
    assert one.over() == {}
    assert one.refused(CT)


def test_no_limit_and_who_loads_a_folder(tmp_path: Path) -> None:
    assert all(brake(tmp_path, 0).refused(CT) for _ in range(10))
    assert all(brake(tmp_path).refused(Origin("import", "", "x.dcm")) for _ in range(10))


def test_to_ask_counts_nothing(tmp_path: Path) -> None:
    one = brake(tmp_path)
    assert all(one.allows(CT) for _ in range(10))
    for _ in range(3):
        one.refused(CT)
    assert not one.allows(CT)


def test_a_disk_that_takes_nothing_lets_one_process_count_for_itself(tmp_path: Path) -> None:
    one = RefusalBrake(tmp_path / "nowhere" / "refusals.json", 2, "1")
    assert [one.refused(CT) for _ in range(3)] == [True, True, False]
    one.accepted([CT])
