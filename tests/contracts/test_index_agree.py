"""Every adapter answers random queries alike, hit for hit and count for count."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts import index_data as d
from tests.contracts.index_adapters import ADAPTERS, drop, new_spec, open_index
from vna.domain.query import AnyOf, Criterion, DateTimeRange, Level, Query, Range, SomeInstance, Wildcard, Words
from vna.domain.records import IndexedInstance
from vna.ports.index import Index

NAMES = ("doe^jane", "doe^john", "roe^richard", "müller^jörg", "田中^花子", "o'hara*x", "", "doe jane")
DATES = (None, "20231231", "20240101", "20240229", "20240301")
TIMES = (None, "000000.000000", "081530.250000", "120000.000000", "235959.999999")
TEXTS = ("a", "a b", "A", "ab\\c", "100%", "x_y", "[z]", "", "größe", "\x7f", "~")
DEPARTMENT = "00081040"
COMBINED = {d.MODALITY: ("CT", "MR", "SR", ""), d.ISSUER: ("X", ""), DEPARTMENT: ("A", "B", "")}
WORDS = ("head", "neck", "thorax", "größe", "a")
PATHS = (
    d.PATIENT_NAME, d.PATIENT_ID, d.ISSUER, d.STUDY_DATE, d.STUDY_TIME, d.ACCESSION, d.STUDY_DESCRIPTION,
    d.MODALITIES_IN_STUDY, d.SOP_CLASSES_IN_STUDY, d.MODALITY, d.SERIES_NUMBER, d.SCHEDULED_STEP_ID,
    d.INSTANCE_NUMBER, d.IMAGE_TYPE, d.PRIVATE, "00189999",
)  # fmt: skip


def instances(rng: random.Random) -> list[IndexedInstance]:
    """Make instances as modalities do: a patient has one name, and a series one modality and description."""
    return [_instance(rng, number) for number in range(300)]


def _instance(rng: random.Random, number: int) -> IndexedInstance:
    study, series = f"1.{rng.randrange(40)}", str(rng.randrange(3))
    of_series = random.Random(f"{study} {series}")
    patient, issuer = rng.choice(("P1", "P2", "p2", None, "P%")), rng.choice((None, "X"))
    return d.instance(
        study,
        series,
        str(rng.randrange(6)),
        content=str(number),
        received=rng.randrange(50),
        sop_class=of_series.choice((d.CT, d.MR, d.SR)),
        words=tuple(of_series.sample(WORDS, 2)),
        terms={
            d.PATIENT_NAME: random.Random(f"{patient} {issuer}").choice(NAMES) or None,
            d.PATIENT_ID: patient,
            d.ISSUER: issuer,
            d.STUDY_DATE: rng.choice(DATES),
            d.STUDY_TIME: rng.choice(TIMES),
            d.ACCESSION: rng.choice(TEXTS) or None,
            d.STUDY_DESCRIPTION: rng.choice(TEXTS) or None,
            DEPARTMENT: rng.choice(("A", "B", None)),
            d.MODALITY: of_series.choice(("CT", "MR", "SR", "")) or None,
            d.SERIES_NUMBER: rng.choice((None, "1", "2", "10", "-3", "x")),
            d.INSTANCE_NUMBER: rng.choice((None, "1", "2", "10")),
            d.SCHEDULED_STEP_ID: rng.choice((None, ("s1", "s2"), ("s2",))),
            d.IMAGE_TYPE: tuple(rng.sample(("ORIGINAL", "PRIMARY", "AXIAL"), 2)),
            d.PRIVATE: rng.choice((None, "mosaic", "mos")),
        },
    )


def criterion(rng: random.Random) -> Criterion:
    path = rng.choice(PATHS)
    values = NAMES if path == d.PATIENT_NAME else (*TEXTS, "CT", "MR", "P1", "1", "s2", "mosaic", "20240101", d.CT)
    kind = rng.randrange(6)
    if kind == 5:
        chosen = rng.sample(sorted(COMBINED), rng.randrange(1, 4))
        return SomeInstance(tuple((path, tuple(rng.sample(COMBINED[path], rng.randrange(1, 3)))) for path in chosen))
    if kind == 0:
        return AnyOf(path, tuple(rng.sample(values, rng.randrange(1, 4))))
    if kind == 1:
        text = rng.choice(values)
        cut = rng.randrange(len(text) + 1)
        return Wildcard(
            path, rng.choice(("*", "?", "**", "?*", "*?")).join((text[:cut], text[cut + rng.randrange(2) :]))
        )
    if kind == 2:
        path, ends = rng.choice(((d.STUDY_DATE, DATES), (d.STUDY_TIME, TIMES), (d.ACCESSION, (None, "A", "a", "m"))))
        return Range(path, rng.choice(ends), rng.choice(ends))
    if kind == 3:
        low, high = (
            (rng.choice(DATES[1:]) or "") + (rng.choice(TIMES[1:]) or "") if rng.random() < 0.7 else None
            for _ in range(2)
        )
        return DateTimeRange(d.STUDY_DATE, d.STUDY_TIME, low, high)
    return Words(tuple(word[: rng.randrange(1, 5)] for word in rng.sample(WORDS, rng.randrange(1, 3))))


@pytest.fixture(scope="module")
def adapters(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Index]]:
    folder: Path = tmp_path_factory.mktemp("agree")
    specs = [new_spec(adapter, folder, request) for adapter in ADAPTERS]
    opened = [open_index(spec) for spec in specs]
    for number, index in enumerate(opened):
        given = instances(random.Random(3))
        random.Random(number).shuffle(given)
        for start in range(0, len(given), 60):
            index.upsert(given[start : start + 60])
        index.remove([one.uids.instance_id for one in instances(random.Random(3))[:40]])
        index.refresh()
    yield opened
    for spec, index in zip(specs, opened, strict=True):
        index.close()
        drop(spec)


def answers(index: Index, query: Query, rng: random.Random) -> list[object]:
    limit, offset = rng.randrange(1, 30), rng.randrange(10)
    page = Query(query.level, query.criteria, limit, offset)
    return [
        [(hit.id, hit.attributes, hit.location) for hit in index.query(query)],
        index.count(query),
        [hit.id for hit in index.query(page)],
        [hit.id for hit in index.scroll(page, page=7)],
        index.facets(query, rng.sample(PATHS, 3), top=5),
        index.facets(query, rng.sample(PATHS, 3), top=5, studies=True),
    ]


@pytest.mark.parametrize("level", Level)
def test_adapters_agree(adapters: list[Index], level: Level) -> None:
    first, *others = adapters
    assert len({str(index.counts()) for index in adapters}) == 1
    found = 0
    for seed in range(40):
        rng = random.Random(seed)
        query = Query(level, tuple(criterion(rng) for _ in range(rng.randrange(3))))
        expected = answers(first, query, random.Random(seed))
        found += bool(expected[1])
        for other in others:
            assert answers(other, query, random.Random(seed)) == expected, query
    assert found > 10


@pytest.mark.parametrize("path", [d.MODALITY, d.STUDY_UID, d.SERIES_UID, "00189999"])
def test_adapters_agree_on_what_is_stored(adapters: list[Index], path: str) -> None:
    first, *others = adapters
    counts = first.counts()
    expected = first.totals(path, 1000)
    assert sum(total.instances for total in expected) == counts.instances
    assert sum(total.bytes for total in expected) == counts.bytes
    assert sum(total.series for total in expected) == counts.series
    assert [total.bytes for total in expected] == sorted((total.bytes for total in expected), reverse=True)
    for other in others:
        assert other.totals(path, 1000) == expected
        assert other.totals(path, 2) == expected[:2]
