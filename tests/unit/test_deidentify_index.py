"""The index as a researcher sees it: what it tells, and what it lets nobody find out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contracts import index_data as d
from vna.deidentify.dataset import Deidentifier
from vna.deidentify.index import DeidentifiedIndex
from vna.deidentify.options import Options
from vna.deidentify.patients import PatientLookup
from vna.deidentify.profile import Profile
from vna.deidentify.pseudonyms import Pseudonyms
from vna.domain.errors import InvalidQueryError
from vna.domain.identity import identity
from vna.domain.query import (
    AnyOf,
    Criterion,
    DateTimeRange,
    Level,
    Query,
    Range,
    Resembles,
    Selector,
    SomeInstance,
    Wildcard,
    Words,
)
from vna.index.sqlite import SqliteIndex
from vna.security.limits import Limits
from vna.security.restricted_index import RestrictedIndex
from vna.store.folder import FolderStore

MANUFACTURER, SOFTWARE, CODE = "00080070", "00181020", "00081032.00080100"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteIndex]:
    index = SqliteIndex(tmp_path_factory.mktemp("index") / "index.sqlite")
    hidden = {d.BODY_PART: "HEAD OF ZAPHOD BEEBLEBROX", MANUFACTURER: "ACME"}
    index.upsert([*d.collection(), d.instance("1.7", terms=hidden)])
    index.refresh()
    yield index
    index.close()


@pytest.fixture(scope="module")
def pseudonyms(tmp_path_factory: pytest.TempPathFactory) -> Pseudonyms:
    return Pseudonyms(FolderStore(tmp_path_factory.mktemp("objects")))


def seen(index: SqliteIndex, pseudonyms: Pseudonyms, **options: bool) -> DeidentifiedIndex:
    return DeidentifiedIndex(index, Deidentifier(Profile(Options(**options)), pseudonyms))


def test_hits_tell_pseudonyms_that_are_of_patients(loaded: SqliteIndex, pseudonyms: Pseudonyms) -> None:
    view = seen(loaded, pseudonyms)
    hits = {hit.attributes[d.STUDY_UID]["Value"][0]: hit.attributes for hit in view.query(Query(Level.STUDY))}
    names = {uid: attributes[d.PATIENT_NAME]["Value"][0]["Alphabetic"] for uid, attributes in hits.items()}
    assert names["1.1"] == names["1.2"] == names["1.7"]  # the same patient
    assert len(set(names.values())) == 5
    for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
        text = json.dumps([hit.attributes for hit in view.scroll(Query(level))], ensure_ascii=False)
        text = re.sub("P-[A-Z2-7]{16}", "", text).lower()
        for secret in ("doe", "roe", "hara", "田中", "a-1", "20240115", "19700229", "trauma", "zaphod"):
            assert secret not in text, (level, secret)
    assert "Value" not in hits["1.1"][d.STUDY_DATE]


def test_order_tells_nothing_of_dates_unless_they_are_retained(loaded: SqliteIndex, pseudonyms: Pseudonyms) -> None:
    uids = [f"1.{number}" for number in range(1, 8)]
    hits = seen(loaded, pseudonyms).query(Query(Level.STUDY))
    assert [hit.id for hit in hits] == sorted(identity("study", uid) for uid in uids)
    dated = seen(loaded, pseudonyms, dates=True)
    dates = [hit.attributes.get(d.STUDY_DATE, {}).get("Value", [""])[0] for hit in dated.query(Query(Level.STUDY))]
    assert dates == sorted(dates, reverse=True)
    assert len(dated.query(Query(Level.STUDY, (Range(d.STUDY_DATE, "20240301", None),)))) == 3


@pytest.mark.parametrize(
    "criterion",
    [
        *(AnyOf(path, ("x",)) for path in (d.PATIENT_NAME, d.PATIENT_ID, d.ACCESSION, d.STUDY_DATE, d.PRIVATE)),
        *(AnyOf(path, ("",)) for path in (d.PATIENT_NAME, d.BIRTH_DATE, d.SCHEDULED_STEP_ID)),
        *(AnyOf(path, ("x",)) for path in ("00100040", "00080080", SOFTWARE, "00400275.00400007", "0010xx01@A")),
        *(Wildcard(path, "Z*") for path in (d.BODY_PART, SOFTWARE, CODE, d.STUDY_UID, d.MODALITY)),
        Range(d.STUDY_DATE, "20240101", None),
        Range(d.BODY_PART, "HEAD OF Z", "HEAD OF ZZ"),
        DateTimeRange(d.STUDY_DATE, d.STUDY_TIME, "20240101000000.000000", None),
        Resembles(d.PATIENT_NAME, "doe"),
        Words(("doe",)),
        SomeInstance(((d.ACCESSION, ("A-1",)),)),
    ],
    ids=str,
)
def test_what_is_not_seen_is_not_matched(loaded: SqliteIndex, pseudonyms: Pseudonyms, criterion: Criterion) -> None:
    view = seen(loaded, pseudonyms)
    for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
        query = Query(level, (AnyOf(d.STUDY_UID, ("1.1",)), criterion))
        for ask in (view.query, view.count, view.scroll, lambda asked: view.facets(asked, [d.MODALITY])):
            with pytest.raises(InvalidQueryError, match="de-identified"):
                ask(query)
    with pytest.raises(InvalidQueryError):
        view.locate(Selector(studies=("1.1",)), (criterion,))


def test_what_is_seen_is_matched(loaded: SqliteIndex, pseudonyms: Pseudonyms) -> None:
    view = seen(loaded, pseudonyms)
    for level, criterion in (
        (Level.STUDY, AnyOf(d.MODALITIES_IN_STUDY, ("MR",))),
        (Level.SERIES, AnyOf(d.MODALITY, ("CT",))),
        (Level.SERIES, Wildcard(MANUFACTURER, "AC*")),
        (Level.INSTANCE, Range(d.INSTANCE_NUMBER, "1", "1")),
    ):
        query = Query(level, (criterion,))
        ids = {hit.id for hit in view.query(query)}
        assert ids == {hit.id for hit in loaded.query(query)} != set()
        assert view.count(query) == len(ids)


def test_a_pseudonym_finds_the_studies_of_its_patient_and_nothing_else_does(
    loaded: SqliteIndex, pseudonyms: Pseudonyms
) -> None:
    limited = RestrictedIndex(loaded, Limits.parse(["Modality=MR"]))
    lookup = PatientLookup(pseudonyms)
    deidentifier = Deidentifier(Profile(Options()), pseudonyms)
    view = DeidentifiedIndex(loaded, deidentifier, lookup)
    narrow = DeidentifiedIndex(limited, deidentifier, lookup)
    for hit in view.query(Query(Level.STUDY)):
        pseudonym = hit.attributes[d.PATIENT_ID]["Value"][0]
        query = Query(Level.STUDY, (AnyOf(d.PATIENT_ID, (pseudonym,)),))
        uids = sorted(found.attributes[d.STUDY_UID]["Value"][0] for found in view.query(query))
        mine = hit.attributes[d.STUDY_UID]["Value"][0]
        # 1.3 has the same Patient ID of another issuer, and 1.6 none.
        assert uids == (["1.1", "1.2", "1.7"] if mine in {"1.1", "1.2", "1.7"} else [mine])
        assert view.count(query) == len(uids)
        assert narrow.count(query) == uids.count("1.2")
    assert view.query(Query(Level.STUDY, (AnyOf(d.PATIENT_ID, ("P-AAAAAAAAAAAAAAAA",)),))) == []
    for values in (("P1",), ("P_4",), ("P-AAAAAAAAAAAAAAA*",), ("",), ("P-AAAAAAAAAAAAAAAA", "P1")):
        with pytest.raises(InvalidQueryError):
            view.query(Query(Level.STUDY, (AnyOf(d.PATIENT_ID, values),)))


def test_facets_have_no_values_that_are_not_seen(loaded: SqliteIndex, pseudonyms: Pseudonyms) -> None:
    paths = [d.MODALITY, d.BODY_PART, MANUFACTURER, d.PATIENT_NAME, "00080080", d.STUDY_DATE, d.STUDY_UID]
    found = seen(loaded, pseudonyms).facets(Query(Level.SERIES), paths)
    assert [facet.value for facet in found[d.MODALITY]] == ["CT", "MR", "SR"]
    assert [facet.value for facet in found[MANUFACTURER]] == ["ACME"]
    assert "ZAPHOD" not in str(found)
    assert [len(found[path]) for path in (d.PATIENT_NAME, "00080080", d.STUDY_DATE)] == [0, 0, 0]
    assert len(found[d.STUDY_UID]) == 7


def test_facets_have_no_name_that_is_a_code_elsewhere(tmp_path: Path, pseudonyms: Pseudonyms) -> None:
    index = SqliteIndex(tmp_path / "index.sqlite")
    named = []
    for study, name, part in (
        ("1.1", "zebra^quentin", "ZEBRA"),
        ("1.2", "hand^anna", "HAND"),
        ("1.3", "doe^jane", "HAND"),
    ):
        made = d.instance(study, terms={d.PATIENT_NAME: name, d.BODY_PART: part})
        named.append(replace(made, attributes={**made.attributes, d.BODY_PART: {"vr": "CS", "Value": [part]}}))
    try:
        index.upsert(named)
        index.refresh()
        view = seen(index, pseudonyms)
        found = view.facets(Query(Level.SERIES), [d.BODY_PART], studies=True)
        assert [(facet.value, facet.count) for facet in found[d.BODY_PART]] == [("HAND", 2)]
        # Nor does a search for it tell more.
        for value, expected in (("HAND", 2), ("ZEBRA", 0), ("FOOT", 0)):
            query = Query(Level.SERIES, (AnyOf(d.BODY_PART, (value,)),))
            assert (len(view.query(query)), view.count(query)) == (expected, expected)
            assert len(view.facets(query, [d.STUDY_UID])[d.STUDY_UID]) == expected
        with pytest.raises(InvalidQueryError):
            view.count(Query(Level.SERIES, (AnyOf(d.BODY_PART, tuple(map(str, range(1000)))),)))
    finally:
        index.close()


@pytest.mark.parametrize(("scheme", "expected"), [("DCM", 1), ("99HOUSE", 0)])
def test_codes_of_the_house_are_not_matched(tmp_path: Path, pseudonyms: Pseudonyms, scheme: str, expected: int) -> None:
    index = SqliteIndex(tmp_path / "index.sqlite")
    code = {"00080100": {"vr": "SH", "Value": ["C1"]}, "00080102": {"vr": "SH", "Value": [scheme]}}
    made = d.instance("1.1", terms={CODE: "C1"})
    sequence = {"00081032": {"vr": "SQ", "Value": [code]}}
    try:
        index.upsert([replace(made, attributes={**made.attributes, **sequence})])
        index.refresh()
        assert seen(index, pseudonyms).count(Query(Level.STUDY, (AnyOf(CODE, ("C1",)),))) == expected
    finally:
        index.close()


def test_locations_are_told_from_those_of_the_originals(loaded: SqliteIndex, pseudonyms: Pseudonyms) -> None:
    view = seen(loaded, pseudonyms)
    selector = Selector(studies=("1.1",))
    before, after = list(loaded.locate(selector)), list(view.locate(selector))
    assert [each.uids for each in before] == [each.uids for each in after]
    assert not {each.digest for each in before} & {each.digest for each in after}
    other = seen(loaded, pseudonyms, patient=True)
    assert not {each.digest for each in other.locate(selector)} & {each.digest for each in after}
    with pytest.raises(InvalidQueryError):
        view.locate(Selector(patient_id="P1"))
    with pytest.raises(InvalidQueryError, match="patients are not listed"):
        view.query(Query(Level.PATIENT))


def test_limits_hold_below_it(loaded: SqliteIndex, pseudonyms: Pseudonyms) -> None:
    limited = RestrictedIndex(loaded, Limits.parse(["Modality=MR"]))
    view = DeidentifiedIndex(limited, Deidentifier(Profile(Options()), pseudonyms))
    assert [hit.attributes[d.STUDY_UID]["Value"] for hit in view.query(Query(Level.STUDY))] == [["1.2"]]


def test_the_options_that_are_told_have_no_surprise(tmp_path: Path) -> None:
    told = Options(dates=True, descriptors=True, devices=True, patient=True, private=True).told()
    codes = [item["00080100"]["Value"][0] for item in told["00120064"]["Value"]]
    # Descriptors that nobody has cleaned are no Clean Descriptors Option (113105).
    assert codes == ["113100", "113110", "113106", "113108", "113109", "113111"]
    assert all(len(text) <= 64 for text in told["00120063"]["Value"])
