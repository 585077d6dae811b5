from __future__ import annotations

import time

import pytest

from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, DateTimeRange, Level, Range, Resembles, Wildcard
from vna.gateways.dicomweb.attributes import path_of
from vna.gateways.dicomweb.search_request import SearchRequest, parse_search


def parse(level: Level, *parameters: tuple[str, str], fixed: dict[str, str] | None = None) -> SearchRequest:
    return parse_search(level, parameters, fixed or {}, 5000)


@pytest.mark.parametrize("name", ["PatientID", "00100020"])
def test_an_attribute_by_keyword_or_tag(name: str) -> None:
    assert parse(Level.STUDY, (name, "12 3")).criteria == (AnyOf("00100020", ("12 3",)),)


@pytest.mark.parametrize(
    "name",
    [
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "00400275.00400009",
        "RequestAttributesSequence.00400009",
        "00400275.ScheduledProcedureStepID",
    ],
)
def test_a_path_through_a_sequence(name: str) -> None:
    assert parse(Level.SERIES, (name, "S1")).criteria == (AnyOf("00400275.00400009", ("S1",)),)


@pytest.mark.parametrize("name", ["0009xx02@ACME 1.1", "0009XX02@ACME 1.1", "00091002@ACME 1.1"])
def test_a_private_attribute_by_its_creator(name: str) -> None:
    assert parse(Level.INSTANCE, (name, "v")).criteria == (AnyOf("0009xx02@ACME 1.1", ("v",)),)


@pytest.mark.parametrize(
    ("names", "path"),
    [
        ((("00091002", "v"), ("00090010", "ACME 1.1")), "0009xx02@ACME 1.1"),
        ((("00090011", "B"), ("00090010", " A "), ("00091002", "v")), "0009xx02@A"),
        ((("00290010", "A"), ("00291010.00291020", "v")), "0029xx10@A.0029xx20@A"),
        ((("00290010", "A"), ("RequestAttributesSequence.00291010", "v")), "00400275.0029xx10@A"),
        ((("00400275.00290010", "A"), ("00400275.00291010", "v")), "00400275.0029xx10@A"),
    ],
)
def test_a_private_attribute_with_its_creator_beside_it(names: tuple[tuple[str, str], ...], path: str) -> None:
    assert parse(Level.INSTANCE, *names).criteria == (AnyOf(path, ("v",)),)


def test_a_private_attribute_to_be_included_with_its_creator_beside_it() -> None:
    request = parse(Level.INSTANCE, ("00090010", "A.B"), ("includefield", "00090010,00091002,PatientID"))
    assert request.include == {"0009xx02@A.B", "00100020"}
    assert request.criteria == ()


@pytest.mark.parametrize(
    "names",
    [
        [("00091102", "v"), ("00090010", "A")],
        [("00091002", "v")],
        [("00090010", "")],
        [("00090010", "A"), ("00090010", "B")],
    ],
)
def test_a_private_creator_that_is_none_or_another_s(names: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidQueryError, match="creator"):
        parse(Level.INSTANCE, *names)


def test_the_offset_from_utc_is_no_key_and_warned_of() -> None:
    request = parse(Level.STUDY, ("StudyTime", "1015"), ("TimezoneOffsetFromUTC", "+0100"))
    assert len(request.criteria) == 1
    assert len(request.warnings) == 1
    assert parse(Level.STUDY, ("TimezoneOffsetFromUTC", "")).warnings == ()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("0029xx10@ACME 1.1.PatientID", "0029xx10@ACME 1.1.00100020"),
        ("0029xx10@ACME.00080100", "0029xx10@ACME.00080100"),
        ("0029xx10@ACME.0029xx20@ACME", "0029xx10@ACME.0029xx20@ACME"),
        ("00400275.0029xx10@A.B.0029xx20@C.D", "00400275.0029xx10@A.B.0029xx20@C.D"),
    ],
)
def test_a_path_through_a_private_sequence(name: str, path: str) -> None:
    assert parse(Level.INSTANCE, (name, "v")).criteria == (AnyOf(path, ("v",)),)


@pytest.mark.parametrize(
    "name",
    ["0009xx02@" + ".a" * 50_000, "0009xx02@x" + ".00400275" * 10_000 + ".zz", "00400275." * 100_000 + "00400009"],
)
def test_what_is_too_long_to_be_a_path_is_refused_at_once(name: str) -> None:
    begin = time.monotonic()
    with pytest.raises(InvalidQueryError):
        path_of(name)
    assert time.monotonic() - begin < 1


def test_a_private_attribute_within_a_sequence() -> None:
    request = parse(Level.INSTANCE, ("00400275.0009xx02@A", "v"))
    assert request.criteria == (AnyOf("00400275.0009xx02@A", ("v",)),)


@pytest.mark.parametrize(
    ("name", "value", "criteria"),
    [
        ("StudyDate", "20200101-20201231", [Range("00080020", "20200101", "20201231")]),
        ("StudyDate", "-20201231", [Range("00080020", None, "20201231")]),
        ("PatientName", "do*", [Wildcard("00100010", "do*")]),
        ("PatientName", "", []),
        ("PatientName", "*", []),
        ("StudyInstanceUID", "1.2,1.3", [AnyOf("0020000D", ("1.2", "1.3"))]),
        ("StudyInstanceUID", "1.2\\1.3", [AnyOf("0020000D", ("1.2", "1.3"))]),
    ],
)
def test_forms_of_matching(name: str, value: str, criteria: list[Criterion]) -> None:
    found = parse(Level.STUDY, (name, value)).criteria
    assert [type(each) for each in found] == [type(each) for each in criteria]
    assert [each.path for each in found] == [each.path for each in criteria]  # type: ignore[union-attr]
    if not any(isinstance(each, Wildcard) for each in criteria):
        assert list(found) == criteria


def test_uids_named_in_several_parameters_are_one_list() -> None:
    request = parse(Level.STUDY, ("StudyInstanceUID", "1.2"), ("0020000D", "1.3"))
    assert request.criteria == (AnyOf("0020000D", ("1.2", "1.3")),)


def test_a_date_range_and_a_time_range_are_combined() -> None:
    request = parse(Level.STUDY, ("StudyDate", "20200101-20200102"), ("StudyTime", "1200-1300"))
    (found,) = request.criteria
    assert isinstance(found, DateTimeRange)
    assert (found.low or "").startswith("2020010112")
    assert (found.high or "").startswith("2020010213")


def test_uids_of_the_path_are_criteria_and_not_repeated_in_the_answer() -> None:
    request = parse(Level.SERIES, fixed={"0020000D": "1.2"})
    assert request.criteria == (AnyOf("0020000D", ("1.2",)),)
    assert request.fixed == {"0020000D": "1.2"}


def test_fields_to_include() -> None:
    request = parse(
        Level.STUDY, ("includefield", "StudyDescription, 00100040"), ("includefield", "PatientAge"), ("StudyID", "7")
    )
    assert request.include == {"00081030", "00100040", "00101010", "00200010"}
    assert not request.include_all
    assert parse(Level.STUDY, ("includefield", "all")).include_all


def test_more_fields_than_anybody_reads_are_refused() -> None:
    fields = [f"{number:08X}" for number in range(0x00400000, 0x00400000 + 400)]
    assert len(parse(Level.INSTANCE, ("includefield", ",".join(fields[:300]))).include) == 300
    for given in ([("includefield", ",".join(fields))], [("includefield", each) for each in fields]):
        with pytest.raises(InvalidQueryError, match="at most 300"):
            parse(Level.INSTANCE, *given)


def test_paging() -> None:
    request = parse(Level.STUDY, ("limit", "10"), ("offset", "20"))
    assert (request.limit, request.offset) == (10, 20)
    assert (request.query().limit, request.query().offset) == (11, 20)
    assert parse(Level.STUDY, ("limit", "999999")).limit == 5000
    assert (parse(Level.STUDY).limit, parse(Level.STUDY).offset) == (5000, 0)


@pytest.mark.parametrize("name", ["fuzzymatching", "emptyvaluematching", "multiplevaluematching"])
def test_other_kinds_of_matching_are_done_without_a_warning(name: str) -> None:
    assert not parse(Level.STUDY, (name, "true"), ("PatientName", "doe")).warnings


def test_a_name_is_matched_fuzzily_word_by_word() -> None:
    request = parse(Level.STUDY, ("fuzzymatching", "true"), ("PatientName", "Jane  MÜLLER*"), ("PatientID", "Jane"))
    assert request.criteria == (
        Resembles("00100010", "jane"),
        Resembles("00100010", "muller"),
        AnyOf("00100020", ("Jane",)),
    )


@pytest.mark.parametrize("value", ["do?", "d*e", '""', "Doe\\Roe"])
def test_a_name_that_asks_for_literal_matching_gets_it_and_is_told(value: str) -> None:
    literal = parse(Level.STUDY, ("PatientName", value))
    request = parse(Level.STUDY, ("fuzzymatching", "true"), ("PatientName", value))
    assert request.criteria == literal.criteria
    assert "PatientName" in "".join(request.warnings)
    assert not literal.warnings


def test_a_name_of_too_many_words_is_refused() -> None:
    with pytest.raises(InvalidQueryError, match="PatientName"):
        parse(Level.STUDY, ("fuzzymatching", "true"), ("PatientName", " ".join(map(chr, range(97, 110)))))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NoSuchAttribute", "1"),
        ("patientid", "1"),
        ("00091002", "1"),
        ("0009xx02", "1"),
        ("RequestAttributesSequence", "1"),
        ("RequestAttributesSequence.", "1"),
        ("RequestAttributesSequence.Nothing", "1"),
        ("SOPInstanceUID", "1.2"),
        ("Modality", "CT"),
        ("limit", "-1"),
        ("limit", "ten"),
        ("limit", "1" * 11),
        ("offset", "1.5"),
        ("fuzzymatching", "yes"),
        ("includefield", "NoSuchAttribute"),
        ("StudyDate", "yesterday"),
        ("", "1"),
        ("a" * 10_000, "1"),
    ],
)
def test_what_cannot_be_matched_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse(Level.STUDY, (name, value))
    shown = value if name == "includefield" else name
    assert shown[:50] in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["PatientID", "limit", "fuzzymatching"])
def test_what_stands_twice_is_refused(name: str) -> None:
    value = {"PatientID": "1", "limit": "1", "fuzzymatching": "true"}[name]
    with pytest.raises(InvalidQueryError, match="twice"):
        parse(Level.STUDY, (name, value), (name, value))
