"""What every index finds: levels, kinds of matching, order, pages, facets."""

from __future__ import annotations

import pytest

from tests.contracts import index_data as d
from vna.domain.errors import InvalidQueryError
from vna.domain.identity import identity, patient_identity
from vna.domain.query import (
    AnyOf,
    Criterion,
    DateTimeRange,
    Facet,
    Hit,
    Level,
    Query,
    Range,
    Resembles,
    Selector,
    Wildcard,
    Words,
)
from vna.ports.index import Index

ALL_STUDIES = ["1.3", "1.2", "1.6", "1.1", "1.4", "1.5"]
UID_OF = {
    Level.PATIENT: d.PATIENT_ID,
    Level.STUDY: d.STUDY_UID,
    Level.SERIES: d.SERIES_UID,
    Level.INSTANCE: d.SOP_UID,
}


def value(hit: Hit, tag: str) -> object:
    return hit.attributes[tag]["Value"][0]


def uids(hits: list[Hit], level: Level = Level.STUDY) -> list[object]:
    return [value(hit, UID_OF[level]) for hit in hits]


def find(index: Index, *criteria: Criterion, level: Level = Level.STUDY) -> list[object]:
    hits = index.query(Query(level, criteria))
    assert index.count(Query(level, criteria)) == len(hits)
    assert [hit.id for hit in index.scroll(Query(level, criteria), page=2)] == [hit.id for hit in hits]
    return uids(hits, level)


# ---- levels


def test_study_level_finds_each_study_once(loaded: Index) -> None:
    assert find(loaded) == ALL_STUDIES


def test_study_hit_has_attributes_of_patient_and_study_and_derived_ones(loaded: Index) -> None:
    (hit,) = loaded.query(Query(Level.STUDY, (AnyOf(d.STUDY_UID, ("1.1",)),)))
    assert hit.level is Level.STUDY
    assert hit.id == identity("study", "1.1")
    assert hit.location is None
    assert value(hit, d.PATIENT_ID) == "P1"
    assert value(hit, d.STUDY_DESCRIPTION) == "head trauma"
    assert hit.attributes[d.MODALITIES_IN_STUDY] == {"vr": "CS", "Value": ["CT", "SR"]}
    assert hit.attributes[d.SOP_CLASSES_IN_STUDY] == {"vr": "UI", "Value": [d.CT, d.SR]}
    assert hit.attributes[d.STUDY_SERIES] == {"vr": "IS", "Value": [2]}
    assert hit.attributes[d.STUDY_INSTANCES] == {"vr": "IS", "Value": [13]}
    assert d.MODALITY not in hit.attributes
    assert d.SERIES_UID not in hit.attributes
    assert d.SOP_UID not in hit.attributes


def test_series_level(loaded: Index) -> None:
    query = Query(Level.SERIES, (AnyOf(d.STUDY_UID, ("1.1",)),))
    hits = loaded.query(query)
    assert uids(hits, Level.SERIES) == ["1.1.1", "1.1.2"]
    assert [hit.id for hit in hits] == [identity("series", "1.1", "1.1.1"), identity("series", "1.1", "1.1.2")]
    assert [hit.attributes[d.SERIES_INSTANCES] for hit in hits] == [
        {"vr": "IS", "Value": [12]},
        {"vr": "IS", "Value": [1]},
    ]
    assert value(hits[0], d.PATIENT_ID) == "P1"
    assert value(hits[0], d.STUDY_DATE) == "20240115"
    assert value(hits[0], d.BODY_PART) == "HEAD"
    assert d.SOP_UID not in hits[0].attributes
    assert d.IMAGE_TYPE not in hits[0].attributes


def test_instance_level_has_all_attributes_and_the_location(loaded: Index) -> None:
    (given,) = [one for one in d.collection() if one.uids.sop == "1.1.1.3"]
    (hit,) = loaded.query(Query(Level.INSTANCE, (AnyOf(d.SOP_UID, ("1.1.1.3",)),)))
    assert hit.id == given.uids.instance_id
    assert hit.attributes == given.attributes
    assert hit.location is not None
    assert hit.location.uids == given.uids
    assert hit.location.key == given.key
    assert hit.location.digest == given.digest
    assert hit.location.size == given.size
    assert hit.location.sop_class == given.sop_class
    assert hit.location.transfer_syntax == given.transfer_syntax


def test_patient_level_finds_each_patient_identity_once(loaded: Index) -> None:
    hits = loaded.query(Query(Level.PATIENT))
    assert sorted(hit.id for hit in hits) == sorted(
        patient_identity(*key) for key in [("P1", ""), ("P1", "B"), ("P%4", ""), ("P_4", ""), ("", "")]
    )


def test_patient_hit_has_attributes_of_the_patient_alone_and_its_counts(loaded: Index) -> None:
    (hit,) = [
        hit
        for hit in loaded.query(Query(Level.PATIENT, (AnyOf(d.PATIENT_ID, ("P1",)),)))
        if hit.id == patient_identity("P1", "")
    ]
    assert hit.level is Level.PATIENT
    assert value(hit, d.PATIENT_NAME) == {"Alphabetic": "DOE^JANE"}
    assert d.STUDY_UID not in hit.attributes
    assert d.STUDY_DATE not in hit.attributes
    assert hit.attributes[d.PATIENT_STUDIES] == {"vr": "IS", "Value": [2]}
    assert hit.attributes[d.PATIENT_SERIES] == {"vr": "IS", "Value": [3]}
    assert hit.attributes[d.PATIENT_INSTANCES] == {"vr": "IS", "Value": [16]}


def test_patient_level_matches_by_attributes_of_the_patient(loaded: Index) -> None:
    assert find(loaded, Wildcard(d.PATIENT_NAME, "roe*"), level=Level.PATIENT) == ["P1"]
    assert find(loaded, AnyOf(d.BIRTH_DATE, ("19700229",)), level=Level.PATIENT) == ["P1"]
    assert find(loaded, AnyOf(d.PATIENT_ID, ("nobody",)), level=Level.PATIENT) == []


def test_a_patient_matches_by_any_of_its_studies_and_is_found_once(index: Index) -> None:
    index.upsert([d.instance("1.1", received=1), d.instance("1.2", received=2, terms={d.PATIENT_NAME: "roe^jane"})])
    index.refresh()
    for name in ("doe^jane", "roe^jane"):
        (hit,) = index.query(Query(Level.PATIENT, (AnyOf(d.PATIENT_NAME, (name,)),)))
        assert hit.id == patient_identity("P1", "")
        assert hit.attributes[d.PATIENT_STUDIES]["Value"] == [2]
        assert index.count(Query(Level.PATIENT, (AnyOf(d.PATIENT_NAME, (name,)),))) == 1


# ---- single value and list matching


def test_single_value(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.ACCESSION, ("A-1",))) == ["1.1"]


def test_single_value_is_case_sensitive(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.ACCESSION, ("a-1",))) == []


def test_single_value_takes_wildcard_characters_literally(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.ACCESSION, ("*",))) == []
    assert find(loaded, AnyOf(d.ACCESSION, ("100%",))) == ["1.4"]
    assert find(loaded, AnyOf(d.ACCESSION, ("a\\b?",))) == ["1.5"]


def test_list_of_uids(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.STUDY_UID, ("1.1", "1.4", "9.9"))) == ["1.1", "1.4"]


def test_a_long_list_of_uids(loaded: Index) -> None:
    many = tuple(f"9.{number}" for number in range(5000))
    assert find(loaded, AnyOf(d.STUDY_UID, (*many, "1.1"))) == ["1.1"]


def test_each_value_of_a_path_matches(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.PATIENT_NAME, ("田中^花子",))) == ["1.1"]
    assert find(loaded, AnyOf(d.PATIENT_NAME, ("doe^jane",))) == ["1.2", "1.1"]


def test_all_criteria_must_hold(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.PATIENT_ID, ("P1",)), AnyOf(d.STUDY_DATE, ("20240301",))) == ["1.3", "1.2"]
    assert find(loaded, AnyOf(d.PATIENT_ID, ("P1",)), AnyOf(d.ISSUER, ("B",))) == ["1.3"]
    assert find(loaded, AnyOf(d.PATIENT_ID, ("P1",)), AnyOf(d.STUDY_DATE, ("19990101",))) == []


def test_no_values_match_nothing(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.PATIENT_ID, ())) == []


def test_an_empty_value_matches_what_has_no_term(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.STUDY_DATE, ("",))) == ["1.5"]
    assert find(loaded, AnyOf(d.PATIENT_ID, ("",))) == ["1.6"]
    assert find(loaded, AnyOf(d.ACCESSION, ("",))) == ["1.3", "1.2", "1.6"]


def test_an_empty_value_beside_others(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.ACCESSION, ("", "A-1"))) == ["1.3", "1.2", "1.6", "1.1"]


def test_an_empty_value_at_series_and_instance_level(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.BODY_PART, ("",)), AnyOf(d.STUDY_UID, ("1.1",)), level=Level.SERIES) == ["1.1.2"]
    found = find(loaded, AnyOf(d.PRIVATE, ("",)), AnyOf(d.SERIES_UID, ("1.1.1",)), level=Level.INSTANCE)
    assert len(found) == 11


def test_modalities_and_sop_classes_in_study(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.MODALITIES_IN_STUDY, ("SR",))) == ["1.1"]
    assert find(loaded, AnyOf(d.MODALITIES_IN_STUDY, ("SR", "MR"))) == ["1.2", "1.1"]
    assert find(loaded, Wildcard(d.MODALITIES_IN_STUDY, "M*")) == ["1.2"]
    assert find(loaded, AnyOf(d.SOP_CLASSES_IN_STUDY, (d.MR,))) == ["1.2"]


def test_two_modalities_of_one_study_both_match(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.MODALITIES_IN_STUDY, ("CT",)), AnyOf(d.MODALITIES_IN_STUDY, ("SR",))) == ["1.1"]


def test_sequence_paths(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.SCHEDULED_STEP_ID, ("STEP2",)), level=Level.SERIES) == ["1.1.1"]
    assert len(find(loaded, Wildcard(d.SCHEDULED_STEP_ID, "STEP?"), level=Level.INSTANCE)) == 12


def test_private_paths_match_instances(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.PRIVATE, ("mosaic",)), level=Level.INSTANCE) == ["1.1.1.3"]
    assert find(loaded, Wildcard(d.PRIVATE, "mos*"), level=Level.INSTANCE) == ["1.1.1.3"]
    assert find(loaded, AnyOf("0029xx08@OTHER", ("mosaic",)), level=Level.INSTANCE) == []


def test_a_path_of_a_lower_level_matches_nothing(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.MODALITY, ("CT",))) == []
    assert find(loaded, AnyOf(d.INSTANCE_NUMBER, ("1",)), level=Level.SERIES) == []
    assert find(loaded, AnyOf(d.STUDY_UID, ("1.1",)), level=Level.PATIENT) == []


@pytest.mark.parametrize("level", Level)
def test_an_unknown_path_matches_nothing_but_by_an_empty_value(loaded: Index, level: Level) -> None:
    for criterion in (
        AnyOf("00189999", ("1",)),
        Wildcard("00189999", "*"),
        Range("00189999", "0", None),
        DateTimeRange("00189999", "00189998", None, "99991231000000.000000"),
        AnyOf('it\'s a "path" $.[*]', ("1",)),
    ):
        assert find(loaded, criterion, level=level) == []
    assert find(loaded, AnyOf("00189999", ("",)), Wildcard(d.PATIENT_NAME, "roe*"), level=level) != []


def test_instances_match_by_any_term(loaded: Index) -> None:
    assert find(loaded, AnyOf(d.MODALITY, ("SR",)), level=Level.INSTANCE) == ["1.1.2.1"]
    assert find(
        loaded, AnyOf(d.IMAGE_TYPE, ("LOCALIZER",)), Range(d.INSTANCE_NUMBER, "2", "2"), level=Level.INSTANCE
    ) == ["1.1.1.2"]
    assert find(loaded, AnyOf(d.PATIENT_ID, ("P%4",)), level=Level.INSTANCE) == ["1.4.1.1"]
    assert len(find(loaded, AnyOf(d.SOP_CLASS_UID, (d.MR,)), level=Level.INSTANCE)) == 3


# ---- wild cards


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("doe*", ["1.2", "1.1", "1.5"]),
        ("doe^*", ["1.2", "1.1"]),
        ("*jane", ["1.2", "1.1"]),
        ("*e^*", ["1.3", "1.2", "1.1"]),
        ("doe^jan?", ["1.2", "1.1"]),
        ("doe^jane?", []),
        ("?oe^*", ["1.3", "1.2", "1.1"]),
        ("田?^*", ["1.1"]),
        ("doe[x]*", ["1.5"]),
        ("doe[a-z]*", []),
        ("*]*", ["1.5"]),
        ("o'hara*", ["1.4"]),
        ("*scar**let", ["1.4"]),
        ("DOE*", []),
        ("doe", []),
        ("doe%", []),
        ("doe_jane", []),
        ("*", ["1.3", "1.2", "1.1", "1.4", "1.5"]),
        ("**", ["1.3", "1.2", "1.1", "1.4", "1.5"]),
    ],
)
def test_wildcards_on_names(loaded: Index, pattern: str, expected: list[str]) -> None:
    assert find(loaded, Wildcard(d.PATIENT_NAME, pattern)) == expected


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        (d.PATIENT_ID, "P%*", ["1.4"]),
        (d.PATIENT_ID, "P_*", ["1.5"]),
        (d.PATIENT_ID, "P?4", ["1.4", "1.5"]),
        (d.ACCESSION, "a\\b*", ["1.5"]),
        (d.ACCESSION, "a\\?", []),
        (d.ACCESSION, "*%", ["1.4"]),
    ],
)
def test_wildcards_take_all_else_literally(loaded: Index, path: str, pattern: str, expected: list[str]) -> None:
    assert find(loaded, Wildcard(path, pattern)) == expected


def test_wildcards_at_instance_level(loaded: Index) -> None:
    assert find(loaded, Wildcard(d.PATIENT_NAME, "doe[x]*"), level=Level.INSTANCE) == ["1.5.1.1"]
    assert find(loaded, Wildcard(d.SOP_UID, "1.1.1.1?"), level=Level.INSTANCE) == ["1.1.1.10", "1.1.1.11", "1.1.1.12"]
    assert find(loaded, Wildcard(d.STUDY_UID, "1.4*"), level=Level.INSTANCE) == ["1.4.1.1"]


# ---- ranges


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("20240115", "20240301", ["1.3", "1.2", "1.6", "1.1"]),
        ("20240116", "20240301", ["1.3", "1.2", "1.6"]),
        ("20240115", "20240115", ["1.1"]),
        (None, "20240115", ["1.1", "1.4"]),
        ("20240115", None, ["1.3", "1.2", "1.6", "1.1"]),
        (None, None, ["1.3", "1.2", "1.6", "1.1", "1.4"]),
        ("20250101", None, []),
        ("20240301", "20240115", []),
    ],
)
def test_ranges_are_inclusive_and_may_be_open(
    loaded: Index, low: str | None, high: str | None, expected: list[str]
) -> None:
    assert find(loaded, Range(d.STUDY_DATE, low, high)) == expected


def test_ranges_of_times(loaded: Index) -> None:
    assert find(loaded, Range(d.STUDY_TIME, "080000.000000", "101500.000000")) == ["1.2", "1.1"]
    assert find(loaded, Range(d.STUDY_TIME, "235959.500001", None)) == []


def test_ranges_at_series_and_instance_level(loaded: Index) -> None:
    assert find(loaded, Range(d.STUDY_DATE, None, "20240115"), level=Level.SERIES) != []
    assert len(find(loaded, Range(d.STUDY_DATE, "20240115", "20240115"), level=Level.INSTANCE)) == 13


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("20240115101500.000000", "20240301080000.000000", ["1.2", "1.6", "1.1"]),
        ("20240115101500.000001", "20240301075959.999999", ["1.6"]),
        ("20240301000000.000000", "20240301000000.000000", ["1.6"]),
        ("20240301000000.000001", None, ["1.3", "1.2"]),
        (None, "20240115101500.000000", ["1.1", "1.4"]),
        (None, None, ["1.3", "1.2", "1.6", "1.1", "1.4"]),
        ("20240301235959.500000", "20240301235959.500000", ["1.3"]),
    ],
)
def test_combined_date_and_time(loaded: Index, low: str | None, high: str | None, expected: list[str]) -> None:
    assert find(loaded, DateTimeRange(d.STUDY_DATE, d.STUDY_TIME, low, high)) == expected


def test_combined_date_and_time_at_instance_level(loaded: Index) -> None:
    criterion = DateTimeRange(d.STUDY_DATE, d.STUDY_TIME, "20240301000000.000000", "20240301080000.000000")
    assert set(find(loaded, criterion, level=Level.INSTANCE)) == {"1.2.1.1", "1.2.1.2", "1.2.1.3", "1.6.1.1"}


# ---- fuzzy names


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("jane",), ["1.2", "1.1"]),
        (("jan", "doe"), ["1.2", "1.1"]),
        (("jnae",), ["1.2", "1.1"]),
        (("jaane",), ["1.2", "1.1"]),
        (("do",), ["1.2", "1.1", "1.5"]),
        (("jane", "花子"), ["1.1"]),
        (("richart", "roe"), ["1.3"]),
        (("rikhard",), ["1.3"]),
        (("ritschard",), []),
        (("ane",), []),
        (("rane",), []),
        (("ohara",), ["1.4"]),
        (("o'hara",), ["1.4"]),
        (("scar*lett",), ["1.4"]),
        (("doe[x]",), ["1.5"]),
        ((".ane",), []),
        (('"#@&<~|(){}\\',), []),
        (("a" * 500,), []),
        (("abcdefghijklmnopqrstuvwxyzabcdef",), []),
        (("maimaimaimaimaimaimaimaimaimaima",), []),
    ],
)
@pytest.mark.parametrize("level", [Level.STUDY, Level.INSTANCE])
def test_names_that_are_alike(loaded: Index, words: tuple[str, ...], found: list[str], level: Level) -> None:
    criteria = tuple(Resembles(d.PATIENT_NAME, word) for word in words)
    hits = loaded.query(Query(level, criteria))
    assert list(dict.fromkeys(value(hit, d.STUDY_UID) for hit in hits)) == (
        found if level is Level.STUDY else [uid for uid in dict.fromkeys(_by_instance(loaded)) if uid in found]
    )
    assert loaded.count(Query(level, criteria)) == len(hits)


def _by_instance(index: Index) -> list[object]:
    return [value(hit, d.STUDY_UID) for hit in index.query(Query(Level.INSTANCE))]


# ---- free text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("head",), ["1.1"]),
        (("hea", "traum"), ["1.1"]),
        (("doe", "knee"), ["1.2"]),
        (("doe",), ["1.2", "1.1"]),
        (("ead",), []),
        (("head", "knee"), []),
        (("axial", "report"), ["1.1"]),
        (("größ",), ["1.2"]),
        (("grosse",), []),
        (('"', "*", "OR"), []),
        (("head OR knee",), []),
        (("hea*",), []),
    ],
)
def test_words_start_words_of_the_study(loaded: Index, words: tuple[str, ...], expected: list[str]) -> None:
    assert find(loaded, Words(words)) == expected


def test_words_start_words_of_the_series(loaded: Index) -> None:
    assert find(loaded, Words(("axi",)), level=Level.SERIES) == ["1.1.1"]
    assert find(loaded, Words(("head",)), level=Level.SERIES) == ["1.1.1", "1.1.2"]
    assert find(loaded, Words(("axial", "report")), level=Level.SERIES) == []


def test_words_with_other_criteria(loaded: Index) -> None:
    assert find(loaded, Words(("doe",)), AnyOf(d.STUDY_DATE, ("20240301",))) == ["1.2"]


def test_words_at_instance_level_are_those_of_its_series(loaded: Index) -> None:
    assert find(loaded, Words(("report",)), level=Level.INSTANCE) == ["1.1.2.1"]


def test_words_at_patient_level(loaded: Index) -> None:
    assert [hit.id for hit in loaded.query(Query(Level.PATIENT, (Words(("thorax",)),)))] == [
        patient_identity("P1", "B")
    ]


# ---- order and pages


def test_order_of_patients(loaded: Index) -> None:
    hits = loaded.query(Query(Level.PATIENT, (Wildcard(d.PATIENT_NAME, "*"),)))
    assert [value(hit, d.PATIENT_NAME) for hit in hits] == [
        {"Alphabetic": name} for name in ("DOE[X]^JIM", "DOE^JANE", "O'HARA^SCAR*LET", "ROE^RICHARD")
    ]


def test_order_of_studies_with_equal_date_and_time_is_by_identity(index: Index) -> None:
    index.upsert([d.instance(f"1.{number}") for number in range(20)])
    index.refresh()
    hits = index.query(Query(Level.STUDY))
    assert [hit.id for hit in hits] == sorted(identity("study", f"1.{number}") for number in range(20))


def test_order_of_studies_can_tell_nothing_of_their_dates(loaded: Index) -> None:
    query = Query(Level.STUDY, by_identity=True)
    whole = [hit.id for hit in loaded.query(query)]
    assert whole == sorted(identity("study", uid) for uid in ALL_STUDIES)
    assert [hit.id for hit in loaded.scroll(query, 2)] == whole
    assert [hit.id for hit in loaded.query(Query(Level.STUDY, limit=2, offset=3, by_identity=True))] == whole[3:5]


def test_order_of_series_is_by_study_then_number_with_missing_last(index: Index) -> None:
    numbers = {"5": "10", "6": "9", "7": None, "8": "2", "9": "not a number"}
    for study in ("1.1", "1.2", "1.3"):
        index.upsert([d.instance(study, series, terms={d.SERIES_NUMBER: number}) for series, number in numbers.items()])
    index.refresh()
    expected = []
    for study in sorted(("1.1", "1.2", "1.3"), key=lambda uid: identity("study", uid)):
        last = sorted(("7", "9"), key=lambda series: identity("series", study, f"{study}.{series}"))
        expected += [f"{study}.{series}" for series in ("8", "6", "5", *last)]
    assert uids(index.query(Query(Level.SERIES)), Level.SERIES) == expected


def test_order_of_instances_is_by_study_series_and_number(loaded: Index) -> None:
    hits = loaded.query(Query(Level.INSTANCE))
    ids = [
        (hit.location.uids.study_id, hit.location.uids.series_id, value(hit, d.INSTANCE_NUMBER))
        for hit in hits
        if hit.location is not None
    ]
    assert len(ids) == 20
    assert ids == sorted(ids)


def test_order_of_instances_without_number_is_last_and_by_identity(index: Index) -> None:
    given = [d.instance(sop=str(n), terms={d.INSTANCE_NUMBER: None if n > 2 else str(n)}) for n in range(1, 9)]
    index.upsert(list(reversed(given)))
    index.refresh()
    ids = [one.uids.instance_id for one in given]
    assert [hit.id for hit in index.query(Query(Level.INSTANCE))] == [*ids[:2], *sorted(ids[2:])]


@pytest.mark.parametrize("level", Level)
def test_pages_together_are_the_whole(loaded: Index, level: Level) -> None:
    whole = [hit.id for hit in loaded.query(Query(level))]
    paged: list[str] = []
    while page := loaded.query(Query(level, limit=2, offset=len(paged))):
        assert len(page) <= 2
        paged += [hit.id for hit in page]
    assert paged == whole
    assert len(set(whole)) == len(whole)


def test_limit_and_offset(loaded: Index) -> None:
    assert uids(loaded.query(Query(Level.STUDY, limit=2))) == ALL_STUDIES[:2]
    assert uids(loaded.query(Query(Level.STUDY, limit=2, offset=3))) == ALL_STUDIES[3:5]
    assert uids(loaded.query(Query(Level.STUDY, offset=4))) == ALL_STUDIES[4:]
    assert loaded.query(Query(Level.STUDY, limit=5, offset=100)) == []
    assert loaded.query(Query(Level.STUDY, limit=0)) == []


def test_count_sets_limit_and_offset_aside(loaded: Index) -> None:
    assert loaded.count(Query(Level.STUDY, limit=2, offset=1)) == 6
    assert loaded.count(Query(Level.PATIENT, limit=0)) == 5
    assert loaded.count(Query(Level.SERIES, limit=1)) == 7
    assert loaded.count(Query(Level.INSTANCE, (Range(d.STUDY_DATE, "20240301", None),), limit=1)) == 5


def test_negative_limit_and_offset_are_refused(loaded: Index) -> None:
    for query in (Query(Level.STUDY, limit=-1), Query(Level.STUDY, offset=-1)):
        with pytest.raises(InvalidQueryError):
            loaded.query(query)


def test_an_empty_index_answers(index: Index) -> None:
    for level in Level:
        assert index.query(Query(level)) == []
        assert index.count(Query(level)) == 0
        assert list(index.scroll(Query(level))) == []
    assert index.facets(Query(Level.STUDY), [d.MODALITIES_IN_STUDY]) == {d.MODALITIES_IN_STUDY: []}
    assert list(index.locate(Selector(studies=("1.1",)))) == []
    assert index.versions(["0" * 32]) == {}
    assert index.remove(["0" * 32]) == 0
    index.check()


# ---- facets


def test_facets_count_entities_largest_first_then_by_value(loaded: Index) -> None:
    assert loaded.facets(Query(Level.STUDY), [d.MODALITIES_IN_STUDY, d.PATIENT_ID]) == {
        d.MODALITIES_IN_STUDY: [Facet("CT", 5), Facet("MR", 1), Facet("SR", 1)],
        d.PATIENT_ID: [Facet("P1", 3), Facet("P%4", 1), Facet("P_4", 1)],
    }


def test_facets_keep_the_most_frequent(loaded: Index) -> None:
    assert loaded.facets(Query(Level.STUDY), [d.PATIENT_ID], top=2) == {d.PATIENT_ID: [Facet("P1", 3), Facet("P%4", 1)]}


def test_facets_are_of_the_matches_and_not_of_the_page(loaded: Index) -> None:
    query = Query(Level.STUDY, (AnyOf(d.PATIENT_ID, ("P1",)),), limit=1, offset=1)
    assert loaded.facets(query, [d.STUDY_DATE]) == {d.STUDY_DATE: [Facet("20240301", 2), Facet("20240115", 1)]}


def test_facets_at_other_levels(loaded: Index) -> None:
    assert loaded.facets(Query(Level.SERIES), [d.MODALITY])[d.MODALITY] == [
        Facet("CT", 5),
        Facet("MR", 1),
        Facet("SR", 1),
    ]
    instances = Query(Level.INSTANCE, (AnyOf(d.STUDY_UID, ("1.1",)),))
    assert loaded.facets(instances, [d.IMAGE_TYPE, d.PRIVATE]) == {
        d.IMAGE_TYPE: [Facet("ORIGINAL", 12), Facet("PRIMARY", 12), Facet("AXIAL", 6), Facet("LOCALIZER", 6)],
        d.PRIVATE: [Facet("mosaic", 1)],
    }
    assert loaded.facets(Query(Level.PATIENT), [d.PATIENT_ID])[d.PATIENT_ID] == [
        Facet("P1", 2),
        Facet("P%4", 1),
        Facet("P_4", 1),
    ]


def test_facets_of_series_and_instances_count_studies_if_asked(loaded: Index) -> None:
    for level in (Level.SERIES, Level.INSTANCE):
        found = loaded.facets(Query(level), [d.MODALITY, d.PATIENT_NAME], studies=True)
        assert found[d.MODALITY] == [Facet("CT", 5), Facet("MR", 1), Facet("SR", 1)], level
        # Two series of one study have the name.
        assert found[d.PATIENT_NAME][0] == Facet("doe^jane", 2), level


def test_totals_are_of_what_has_a_value_and_of_what_has_none(loaded: Index) -> None:
    found = [(total.value, total.studies, total.series, total.instances) for total in loaded.totals(d.BODY_PART)]
    assert found == [("HEAD", 1, 1, 12), ("", 5, 5, 5), ("KNEE", 1, 1, 3)]


def test_facets_of_an_unknown_path_are_empty(loaded: Index) -> None:
    assert loaded.facets(Query(Level.STUDY), ["00189999"]) == {"00189999": []}


# ---- locate


def located(index: Index, **parts: object) -> list[str]:
    return [found.uids.sop for found in index.locate(Selector(**parts))]  # type: ignore[arg-type]


def test_an_empty_selector_locates_none(loaded: Index) -> None:
    assert located(loaded) == []


def test_locate_by_study_in_instance_order(loaded: Index) -> None:
    expected = [
        found.location.uids.sop
        for found in loaded.query(Query(Level.INSTANCE, (AnyOf(d.STUDY_UID, ("1.1",)),)))
        if found.location is not None
    ]
    assert len(expected) == 13
    assert located(loaded, studies=("1.1",)) == expected


def test_locate_by_lists(loaded: Index) -> None:
    assert set(located(loaded, studies=("1.3", "1.4", "9"))) == {"1.3.1.1", "1.4.1.1"}
    assert set(located(loaded, series=("1.1.2", "1.4.1"))) == {"1.1.2.1", "1.4.1.1"}
    assert set(located(loaded, instances=("1.1.1.7", "1.1.1.8", "1.6.1.1"))) == {"1.1.1.7", "1.1.1.8", "1.6.1.1"}


def test_locate_by_every_given_part(loaded: Index) -> None:
    assert located(loaded, studies=("1.1",), series=("1.1.2",), instances=("1.1.2.1",)) == ["1.1.2.1"]
    assert located(loaded, studies=("1.2",), series=("1.1.2",)) == []
    assert located(loaded, patient_id="P%4", studies=("1.1",)) == []


def test_locate_by_patient_id_whatever_its_issuer(loaded: Index) -> None:
    assert len(located(loaded, patient_id="P1")) == 17
    assert located(loaded, patient_id="P?4") == []
    assert located(loaded, patient_id="nobody") == []


def test_locations_are_whole(loaded: Index) -> None:
    (given,) = [one for one in d.collection() if one.uids.sop == "1.1.2.1"]
    (found,) = loaded.locate(Selector(instances=("1.1.2.1",)))
    assert (found.uids, found.key, found.digest) == (given.uids, given.key, given.digest)
    assert (found.sop_class, found.transfer_syntax, found.size) == (d.SR, d.EXPLICIT, given.size)
