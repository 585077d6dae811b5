"""The worklist sorted by names: of many alike, of none, and of several component groups."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.support.instances import make_settings
from vna.bootstrap import Archive
from vna.domain.identity import InstanceUids, object_key
from vna.domain.origin import Origin
from vna.domain.records import IndexedInstance
from vna.normalise.terms import terms, words
from vna.ports.index import Index
from vna.web.view_search import Asked
from vna.web.view_study import NO_NAME
from vna.web.view_worklist import PAGE, worklist

NAMES = (
    [{"Alphabetic": "Same^Name"}] * 70
    + [{"Alphabetic": f"Other^N{number}"} for number in range(59)]
    + [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]
    + [{}] * 20
)


def instance(number: int, name: dict[str, str]) -> IndexedInstance:
    uids = InstanceUids(f"1.2.{number}", f"1.2.{number}.1", f"1.2.{number}.1.1")
    attributes = {
        "00100010": {"vr": "PN", "Value": [name]} if name else {"vr": "PN"},
        "00100020": {"vr": "LO", "Value": [f"P{number}"]},
        "0020000D": {"vr": "UI", "Value": [uids.study]},
        "0020000E": {"vr": "UI", "Value": [uids.series]},
        "00080018": {"vr": "UI", "Value": [uids.sop]},
    }
    digest = f"{number:064x}"
    return IndexedInstance(
        uids, "1.2.3", "1.2.840.10008.1.2", digest, 1, number, Origin("import"), object_key(uids, digest),
        attributes, terms(attributes), words(attributes),
    )  # fmt: skip


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    archive = Archive(make_settings(tmp_path))
    archive.index.upsert([instance(number, name) for number, name in enumerate(NAMES)])
    yield archive.index
    archive.close()


@pytest.mark.parametrize("sort", ["name", "-name"])
def test_each_study_is_listed_once_in_the_order_of_names(index: Index, sort: str) -> None:
    pages = [worklist(index, Asked(sort=sort, page=page), date(2026, 1, 1)) for page in (1, 2, 3, 4)]
    assert {page.pages for page in pages} == {4}
    studies = [study for page in pages for study in page.studies]
    # A study with two component groups has a place by each, and one of them stays empty.
    assert sum(len(page.studies) for page in pages[:2]) >= 2 * PAGE - 1
    assert len({study.uid for study in studies}) == len(studies) == len(NAMES)
    names = [study.patient.name for study in studies]
    ordered = sorted((name for name in names if name != NO_NAME), key=str.lower, reverse=sort == "-name")
    assert [name for name in names if name != NO_NAME] == ordered
    nameless = [NO_NAME] * 20
    assert (names[-20:] if sort == "name" else names[:20]) == nameless
    again = worklist(index, Asked(sort=sort, page=2), date(2026, 1, 1))
    assert again.studies == pages[1].studies
