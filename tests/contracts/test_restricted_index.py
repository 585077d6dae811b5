"""What a limited principal finds, on every adapter: nothing but what the limits let see, at every level."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contracts import index_data as d
from tests.contracts.index_adapters import ADAPTERS, drop, new_spec, open_index
from vna.domain.errors import InvalidInputError
from vna.domain.query import AnyOf, Criterion, DateTimeRange, Hit, Level, Query, Selector, SomeInstance, Wildcard, Words
from vna.domain.records import IndexedInstance
from vna.index.sqlite import SqliteIndex
from vna.ports.index import Index
from vna.security.limits import Limits
from vna.security.restricted_index import RestrictedIndex

DEPARTMENT, INSTITUTION = "00081040", "00080080"
UID_OF = {Level.STUDY: d.STUDY_UID, Level.SERIES: d.SERIES_UID, Level.INSTANCE: d.SOP_UID}
LIMITS = (
    ("InstitutionalDepartmentName=Cardiology",),
    ("InstitutionalDepartmentName=Cardiology", "InstitutionalDepartmentName="),
    ("InstitutionalDepartmentName=Cardiology", "Modality=CT"),
    ("InstitutionalDepartmentName=Radiology", "IssuerOfPatientID=A", "InstitutionName=North"),
    ("IssuerOfPatientID=A",),
    ("IssuerOfPatientID=",),
    ("StudyInstanceUID=1.3", "StudyInstanceUID=1.4"),
    ("AccessionNumber=N1", "Modality=MR", "Modality=CT"),
    ("Modality=US",),
)


def instances() -> list[IndexedInstance]:
    """Make studies of several departments and patients; some instances contradict their own series or study."""
    rng = random.Random(4)
    found = []
    for study in range(12):
        issuer, accession = rng.choice(("A", "B", None)), f"N{study % 4}"
        for series in range(1, rng.randrange(2, 5)):
            department = rng.choice(("Cardiology", "Radiology", None))
            institution, modality = rng.choice(("North", "South")), rng.choice(("CT", "MR", "SR"))
            for sop in range(1, rng.randrange(2, 6)):
                odd = rng.random() < 0.1
                found.append(
                    d.instance(
                        f"1.{study}",
                        str(series),
                        str(sop),
                        received=rng.randrange(10_000),
                        sop_class={"CT": d.CT, "MR": d.MR, "SR": d.SR}[modality],
                        words=("doe", f"word{study % 3}", (department or "none").lower()),
                        terms={
                            d.PATIENT_ID: f"P{study % 5}",
                            d.ISSUER: "B" if odd else issuer,
                            d.ACCESSION: accession,
                            d.MODALITY: modality,
                            INSTITUTION: institution,
                            DEPARTMENT: "Pathology" if odd and sop > 1 else department,
                        },
                    )
                )
    return found


def test_there_are_contradictions() -> None:
    by_series: dict[str, set[object]] = {}
    for one in instances():
        by_series.setdefault(one.uids.series, set()).add((one.terms.get(DEPARTMENT), one.terms.get(d.ISSUER)))
    assert any(len(found) > 1 for found in by_series.values())


@pytest.fixture(params=ADAPTERS, scope="module")
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder: Path = tmp_path_factory.mktemp("restricted")
    spec = new_spec(request.param, folder, request)
    index = open_index(spec)
    given = instances()
    for start in range(0, len(given), 7):
        index.upsert(given[start : start + 7])
    index.refresh()
    yield index
    index.close()
    drop(spec)


def meets(one: IndexedInstance, limits: Limits) -> bool:
    return all(set(one.terms.get(path) or ("",)) & set(values) for path, values in limits.rules)


def first(hit: Hit, tag: str) -> str:
    return str((hit.attributes.get(tag, {}).get("Value") or [""])[0])


@pytest.mark.parametrize("texts", LIMITS, ids=" ".join)
def test_nothing_outside_of_the_limits_is_there(full: Index, texts: tuple[str, ...]) -> None:
    limits = Limits.parse(texts)
    index = RestrictedIndex(full, limits)
    there = [one for one in instances() if meets(one, limits)]
    uids = {one.uids.sop for one in there}
    # Instances are there by their own attributes, exactly.
    assert {first(hit, d.SOP_UID) for hit in index.query(Query(Level.INSTANCE))} == uids
    studies = tuple({one.uids.study for one in instances()})
    assert {found.uids.sop for found in index.locate(Selector(studies=studies))} == uids
    assert index.count(Query(Level.INSTANCE)) == len(uids)
    # What stands above an instance is there if some instance of it is.
    for level, of in ((Level.SERIES, "series"), (Level.STUDY, "study")):
        hits = index.query(Query(level))
        found = {first(hit, UID_OF[level]) for hit in hits}
        assert found <= {getattr(one.uids, of) for one in there}, level
        assert index.count(Query(level)) == len(hits)
        assert [hit.id for hit in index.scroll(Query(level), page=2)] == [hit.id for hit in hits]
        assert bool(found) == bool(there)
    patients = {first(hit, d.PATIENT_ID) for hit in index.query(Query(Level.PATIENT))}
    assert patients <= {one.terms[d.PATIENT_ID][0] for one in there}


@pytest.mark.parametrize("texts", LIMITS, ids=" ".join)
def test_a_study_is_told_by_the_series_that_are_there(full: Index, texts: tuple[str, ...]) -> None:
    index = RestrictedIndex(full, Limits.parse(texts))
    for study in index.query(Query(Level.STUDY)):
        series = index.query(Query(Level.SERIES, (AnyOf(d.STUDY_UID, (first(study, d.STUDY_UID),)),)))
        assert first(study, d.STUDY_SERIES) == str(len(series))
        assert first(study, d.STUDY_INSTANCES) == str(sum(int(first(each, d.SERIES_INSTANCES)) for each in series))
        modalities = study.attributes[d.MODALITIES_IN_STUDY].get("Value", [])
        assert modalities == sorted({first(each, d.MODALITY) for each in series})
    for patient in index.query(Query(Level.PATIENT)):
        own = (AnyOf(d.PATIENT_ID, (first(patient, d.PATIENT_ID),)), AnyOf(d.ISSUER, (first(patient, d.ISSUER),)))
        assert first(patient, d.PATIENT_STUDIES) == str(index.count(Query(Level.STUDY, own)))
    counted = index.facets(Query(Level.STUDY), (d.MODALITIES_IN_STUDY, d.STUDY_UID), top=50)
    for facet in counted[d.MODALITIES_IN_STUDY]:
        assert facet.count == index.count(Query(Level.STUDY, (AnyOf(d.MODALITIES_IN_STUDY, (facet.value,)),)))
    assert len(counted[d.STUDY_UID]) == index.count(Query(Level.STUDY))


ASKED: tuple[Criterion, ...] = (
    AnyOf(d.MODALITIES_IN_STUDY, ("MR",)),
    AnyOf(d.MODALITIES_IN_STUDY, ("SR", "US")),
    Wildcard(d.MODALITIES_IN_STUDY, "?R"),
    AnyOf(d.SOP_CLASSES_IN_STUDY, (d.SR,)),
    SomeInstance(((DEPARTMENT, ("Radiology",)),)),
    Words(("doe", "radiol")),
    AnyOf(d.PATIENT_ID, ("P1", "P2")),
)


@pytest.mark.parametrize("asked", ASKED, ids=repr)
def test_no_question_tells_of_what_is_not_there(full: Index, asked: Criterion) -> None:
    """A study of a cardiology's CT and a radiology's MR is not found by its MR, nor by the radiology's words."""
    limits = Limits.parse(["InstitutionalDepartmentName=Cardiology"])
    there = [one for one in instances() if meets(one, limits)]
    found = {first(hit, d.STUDY_UID) for hit in RestrictedIndex(full, limits).query(Query(Level.STUDY, (asked,)))}

    def tells(one: IndexedInstance) -> bool:
        if isinstance(asked, Words | DateTimeRange):
            return "radiology" in one.words
        if isinstance(asked, SomeInstance):
            return False
        if asked.path == d.PATIENT_ID:
            return one.terms[d.PATIENT_ID][0] in {"P1", "P2"}
        if asked.path == d.SOP_CLASSES_IN_STUDY:
            return one.sop_class == d.SR
        return one.terms[d.MODALITY][0] in (
            {"MR"} if asked == ASKED[0] else {"SR"} if asked == ASKED[1] else {"MR", "SR"}
        )

    expected = {one.uids.study for one in there if tells(one)}
    assert found == expected
    everything = {first(hit, d.STUDY_UID) for hit in full.query(Query(Level.STUDY, (asked,)))}
    assert everything > expected


# ---- what is not there changes no answer


def consistent() -> list[IndexedInstance]:
    """Make studies whose instances agree on patient and study, as those of one study do."""
    rng = random.Random(8)
    found = []
    for study in range(25):
        patient = rng.randrange(8)
        of_study: dict[str, str | tuple[str, ...] | None] = {
            d.PATIENT_ID: f"P{patient}",
            d.PATIENT_NAME: f"doe^{'abcdefgh'[patient]}",
            d.ISSUER: "A" if patient % 2 else None,
            d.ACCESSION: f"N{study}",
            d.STUDY_DATE: rng.choice(("20240101", "20240301", None)),
            d.STUDY_DESCRIPTION: rng.choice(("head", "knee", None)),
        }
        for series in range(1, rng.randrange(2, 6)):
            department = rng.choice(("Cardiology", "Radiology", None))
            of_series: dict[str, str | tuple[str, ...] | None] = {
                DEPARTMENT: department,
                INSTITUTION: rng.choice(("North", "South")),
                d.MODALITY: rng.choice(("CT", "MR", "SR", "US")),
                d.BODY_PART: rng.choice(("HEAD", "KNEE", None)),
                d.SERIES_DESCRIPTION: f"{department} {rng.randrange(3)}",
            }
            words = (of_study[d.PATIENT_NAME], str(department).lower(), str(of_series[d.BODY_PART]).lower())
            found += [
                d.instance(
                    f"1.{study}",
                    str(series),
                    str(sop),
                    received=rng.randrange(100_000),
                    sop_class=d.SR if of_series[d.MODALITY] == "SR" else d.CT,
                    words=tuple(str(word) for word in words),
                    terms=of_study | of_series,
                )
                for sop in range(1, rng.randrange(2, 5))
            ]
    return found


def question(rng: random.Random) -> Criterion:
    values = {
        d.MODALITIES_IN_STUDY: ("CT", "MR", "SR", "US", ""),
        d.SOP_CLASSES_IN_STUDY: (d.CT, d.SR),
        d.MODALITY: ("CT", "MR", "SR", ""),
        d.PATIENT_ID: ("P1", "P2", "P3"),
        d.STUDY_DESCRIPTION: ("head", "knee", ""),
        d.BODY_PART: ("HEAD", "KNEE", ""),
        DEPARTMENT: ("Cardiology", "Radiology", ""),
        d.STUDY_DATE: ("20240101", ""),
    }
    path = rng.choice(sorted(values))
    kind = rng.randrange(4)
    if kind == 0:
        return Words(tuple(rng.sample(("doe", "cardio", "radio", "head", "none", "kn"), rng.randrange(1, 3))))
    if kind == 1 and path != d.SOP_CLASSES_IN_STUDY:
        return Wildcard(path, rng.choice(("*", "?R", "C*", "*e*", "H*", "*[*")))
    if kind == 2:
        some = rng.sample((d.MODALITY, DEPARTMENT), rng.randrange(1, 3))
        return SomeInstance(tuple((each, tuple(rng.sample(values[each], 2))) for each in some))
    return AnyOf(path, tuple(rng.sample(values[path], rng.randrange(1, 1 + len(values[path])))))


def answers(index: Index, query: Query, paths: tuple[str, ...]) -> list[object]:
    return [
        [(hit.id, hit.attributes) for hit in index.query(query)],
        index.count(query),
        [hit.id for hit in index.scroll(replace(query, limit=7, offset=2), page=3)],
        index.facets(query, paths, top=6),
    ]


@pytest.mark.parametrize("texts", LIMITS, ids=" ".join)
def test_what_is_not_there_changes_no_answer(texts: tuple[str, ...], tmp_path: Path) -> None:
    """The archive with everything and one that has nothing else than what is there answer every question alike.

    By one adapter: that all answer alike is tested beside.
    """
    limits = Limits.parse(texts)
    everything = consistent()
    pair = []
    for name, given in (("all", everything), ("there", [one for one in everything if meets(one, limits)])):
        index = SqliteIndex(tmp_path / name)
        index.upsert(given)
        pair.append((index, RestrictedIndex(index, limits)))
    rng = random.Random(len(texts))
    paths = (d.MODALITIES_IN_STUDY, d.MODALITY, d.STUDY_DESCRIPTION, d.STUDY_UID, DEPARTMENT)
    for _ in range(60):
        query = Query(rng.choice(list(Level)), tuple(question(rng) for _ in range(rng.randrange(3))))
        mine, theirs = (answers(restricted, query, paths) for _, restricted in pair)
        assert mine == theirs, query
    for index, _ in pair:
        index.close()


def test_limits_are_read_as_the_index_reads_what_it_receives() -> None:
    limits = Limits.parse(["Modality= ct ", "ReferringPhysicianName=Müller^Jörg", "IssuerOfPatientID= HOSP-A"])
    assert dict(limits.rules)["00080060"] == ("CT",)
    assert dict(limits.rules)["00100021"] == ("HOSP-A",)
    assert Limits.parse(limits.texts) == limits


@pytest.mark.parametrize(
    "text",
    ["Cardiology", "Nothing=1", "ImageType=ORIGINAL", "ModalitiesInStudy=CT", "Modality=C*", "SOPClassUID=1.2",
     "SeriesDescription=x", "IssuerOfPatientIDQualifiersSequence=x"],
)  # fmt: skip
def test_a_limit_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        Limits.parse([text])


def test_limits_are_joined_where_that_lets_see_no_more() -> None:
    north, south = Limits.parse(["InstitutionName=North"]), Limits.parse(["InstitutionName=South"])
    assert north.joined(south).texts == ("InstitutionName=North", "InstitutionName=South")
    with pytest.raises(InvalidInputError, match="cannot be joined"):
        north.joined(Limits.parse(["Modality=CT"]))
    assert Limits.parse(["StudyInstanceUID=1.2"]).to_study("1.3").rules == (("0020000D", ()),)
