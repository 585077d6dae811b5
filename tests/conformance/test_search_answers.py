"""The search transaction (QIDO-RS), as a checklist of PS3.18 8.3.4.3, 8.3.4.4 and 10.6.3: what is answered."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree as ET

from tests.conformance.samples import BY_LABEL, CREATOR, NOWHERE, uid_of
from tests.conformance.support import JSON, NATIVE, XML, Checklist, Server, parts_of, related, results, values

answers = Checklist("10.6 Search (QIDO-RS): answers")

A = uid_of("A")
MINE = ("PatientID", "CONF-*")
REMAINING = re.compile(r"There are (\d+) additional results that can be requested")


def one(server: Server, path: str, *parameters: tuple[str, str]) -> dict[str, Any]:
    found = results(server.get(path, parameters))
    assert len(found) == 1
    return found[0]


def remaining(server: Server) -> int:
    """Return how many results the last answer says that there are more (8.3.4.4.1)."""
    warning = server.last.headers.get("warning", "")
    found = REMAINING.search(warning)
    assert not warning or (warning.startswith("299 ") and found), warning
    return int(found[1]) if found else 0


# Tables 10.6.3-3 to -5, of which each sample has what is conditional.
STUDY = "00080020 00080030 00080050 00080061 00080090 00100010 00100020 00100030 00100040 0020000D 00200010"
STUDY += " 00201206 00201208"
SERIES = "00080060 0008103E 00081190 0020000E 00200011 00201209 00400244 00400245 00400275"
INSTANCE = "00080016 00080018 00081190 00200013 00280010 00280011 00280100"


@answers.that("10.6.3.3.1")
def a_study_has_the_attributes_of_table_10_6_3_3(server: Server) -> None:
    found = one(server, "/studies", ("StudyInstanceUID", A))
    assert [tag for tag in STUDY.split() if tag not in found] == []
    assert values(found, "00080061") in (["CT", "MR"], ["MR", "CT"])
    assert (values(found, "00201206"), values(found, "00201208")) == ([2], [4])
    assert values(found, "00100010")[0]["Ideographic"] == "山田^太郎"


@answers.that("10.6.3.3.1")
def a_required_attribute_without_a_value_is_there_empty(server: Server) -> None:
    found = one(server, "/studies", ("StudyInstanceUID", uid_of("B")))
    assert found["00100030"] == {"vr": "DA"}


@answers.that("10.6.3.3.1")
def the_offset_from_utc_of_a_study_is_there_if_known(server: Server) -> None:
    assert values(one(server, "/studies", ("StudyInstanceUID", A)), "00080201") == ["+0100"]


@answers.that("10.6.3.3.1")
def the_availability_of_a_study_is_there(server: Server) -> None:
    assert values(one(server, "/studies", ("StudyInstanceUID", A)), "00080056") == ["ONLINE"]


@answers.that("10.6.3.3.2")
def a_series_has_the_attributes_of_table_10_6_3_4(server: Server) -> None:
    found = one(server, f"/studies/{A}/series", ("Modality", "CT"))
    assert [tag for tag in SERIES.split() if tag not in found] == []
    assert values(found, "00201209") == [3]
    item = values(found, "00400275")[0]
    assert (values(item, "00400009"), values(item, "00401001")) == (["SPS-A1"], ["RP-A"])


@answers.that("10.6.3.3.3")
def an_instance_has_the_attributes_of_table_10_6_3_5(server: Server) -> None:
    found = one(server, f"/studies/{A}/instances", ("SOPInstanceUID", uid_of("A1.2")))
    assert [tag for tag in INSTANCE.split() if tag not in found] == []
    assert (values(found, "00280010"), values(found, "00280011")) == ([48], [64])


@answers.that("10.6.3.3.3")
def an_instance_of_several_frames_tells_their_number(server: Server) -> None:
    found = one(server, "/instances", ("SOPInstanceUID", uid_of("B1.1")))
    assert values(found, "00280008") == [3]


@answers.that("10.6.3.3.3")
def the_availability_of_an_instance_is_there(server: Server) -> None:
    assert values(one(server, "/instances", ("SOPInstanceUID", uid_of("A1.2"))), "00080056") == ["ONLINE"]


@answers.that("10.6.3.3.2")
def all_series_come_with_the_attributes_of_their_studies(server: Server) -> None:
    found = one(server, "/series", ("SeriesInstanceUID", uid_of("A2")))
    assert [tag for tag in (STUDY + " " + SERIES).split() if tag not in found] == []


@answers.that("10.6.3.3.3")
def all_instances_come_with_the_attributes_of_their_series_and_studies(server: Server) -> None:
    found = one(server, "/instances", ("SOPInstanceUID", uid_of("A1.2")))
    assert [tag for tag in (STUDY + " " + SERIES + " " + INSTANCE).split() if tag not in found] == []


@answers.that("10.6.3.3.3")
def instances_of_a_study_come_with_the_attributes_of_their_series(server: Server) -> None:
    found = one(server, f"/studies/{A}/instances", ("SOPInstanceUID", uid_of("A1.2")))
    assert [tag for tag in (SERIES + " " + INSTANCE).split() if tag not in found] == []


@answers.that("10.6.3.3")
def retrieve_urls_lead_to_what_was_found(server: Server) -> None:
    sample = BY_LABEL["A1.2"]
    for path, expected in (
        ("/studies", sample.study),
        (f"/studies/{A}/series", sample.series),
        (f"/studies/{A}/instances", sample.url),
    ):
        keys = [("SeriesInstanceUID", uid_of("A1"))] if "series" in path else []
        keys = [("SOPInstanceUID", uid_of("A1.2"))] if "instances" in path else keys or [("StudyInstanceUID", A)]
        assert values(one(server, path, *keys), "00081190") == [f"{server.base}{expected}"]


@answers.that("10.6.3.3.1")
def what_was_matched_on_is_in_the_answer(server: Server) -> None:
    assert values(one(server, "/studies", ("StudyDescription", "Head"), MINE), "00081030") == ["Head"]


@answers.that("8.3.4.3")
def an_attribute_that_is_to_be_included(server: Server) -> None:
    found = one(server, "/studies", ("StudyInstanceUID", A), ("includefield", "StudyDescription"))
    assert values(found, "00081030") == ["Head"]


@answers.that("8.3.4.3")
def a_list_of_attributes_and_several_lists(server: Server) -> None:
    wanted = [("includefield", "00081030,IssuerOfPatientID"), ("includefield", "00101002")]
    found = one(server, "/studies", ("StudyInstanceUID", A), *wanted)
    assert (values(found, "00081030"), values(found, "00100021")) == (["Head"], ["HOSPITAL"])
    assert values(values(found, "00101002")[0], "00100020") == ["OTHER-CONF-1"]


@answers.that("8.3.4.3")
def a_member_of_a_sequence_that_is_to_be_included(server: Server) -> None:
    wanted = ("includefield", "OtherPatientIDsSequence.PatientID")
    found = one(server, "/studies", ("StudyInstanceUID", A), wanted)
    assert values(values(found, "00101002")[0], "00100020") == ["OTHER-CONF-1"]


@answers.that("8.3.4.3")
def all_attributes_of_the_level(server: Server) -> None:
    found = one(server, f"/studies/{A}/instances", ("SOPInstanceUID", uid_of("A1.2")), ("includefield", "all"))
    assert values(found, "00281050") == [2048]
    assert values(found, "00281051") == [4096]


@answers.that("8.3.4.3")
def a_private_attribute_comes_with_its_creator(server: Server) -> None:
    wanted = [("00290010", CREATOR), ("includefield", "00291008")]
    found = one(server, f"/studies/{A}/instances", ("SOPInstanceUID", uid_of("A1.2")), *wanted)
    assert (values(found, "00290010"), values(found, "00291008")) == ([CREATOR], ["private A1.2"])


@answers.that("10.6.3.3.1")
def what_is_of_a_lower_level_is_not_included(server: Server) -> None:
    found = one(server, "/studies", ("StudyInstanceUID", A), ("includefield", "SeriesDescription,InstanceNumber"))
    assert not {"0008103E", "00200013"} & set(found)


@answers.that("8.3.4.4")
def limit_and_offset_page_through_all_in_one_order(server: Server) -> None:
    whole = [values(each, "00080018")[0] for each in results(server.get("/instances", [MINE]))]
    paged = []
    for offset in range(0, 8, 3):
        page = results(server.get("/instances", [MINE, ("limit", "3"), ("offset", str(offset))]))
        paged += [values(each, "00080018")[0] for each in page]
    assert paged == whole
    assert len(set(paged)) == 8


@answers.that("8.3.4.4.1")
def the_same_search_has_the_same_order(server: Server) -> None:
    first, second = (server.get("/instances", [MINE]) for _ in range(2))
    assert first.content == second.content


@answers.that("8.3.4.4.1")
def more_than_asked_for_is_warning_299_with_the_number(server: Server) -> None:
    assert len(results(server.get("/instances", [MINE, ("limit", "3"), ("offset", "1")]))) == 3
    assert remaining(server) == 4


@answers.that("8.3.4.4.1")
def no_warning_where_all_was_answered(server: Server) -> None:
    assert len(results(server.get("/instances", [MINE, ("limit", "8")]))) == 8
    assert remaining(server) == 0


@answers.that("8.3.4.4.1")
def an_offset_behind_the_last_is_204(server: Server) -> None:
    assert server.get("/instances", [MINE, ("offset", "8")]).status_code == 204


@answers.that("8.3.4.4")
def a_limit_or_offset_that_is_no_number_is_400(server: Server) -> None:
    assert server.get("/studies", {"limit": "many"}).status_code == 400
    assert server.get("/studies", {"offset": "-1"}).status_code == 400


@answers.that("10.6.3.1")
def nothing_found_is_204(server: Server) -> None:
    answer = server.get("/studies", {"PatientID": "CONF-9"})
    assert (answer.status_code, answer.content) == (204, b"")


@answers.that("10.6.4")
def json_is_the_default(server: Server) -> None:
    answer = server.get("/studies", [MINE], accept="*/*")
    assert answer.headers["content-type"].partition(";")[0] == JSON
    assert len(answer.json()) == 3


@answers.that("10.6.4")
def xml_is_a_part_for_each_result(server: Server) -> None:
    parts = parts_of(server.get("/studies", [MINE], accept=related(XML)))
    assert {part.kind for part in parts} == {XML}
    roots = [ET.fromstring(part.content) for part in parts]
    found = {root.findtext(".//dicom:DicomAttribute[@tag='0020000D']/dicom:Value", "", NATIVE) for root in roots}
    assert found == {uid_of(study) for study in "ABC"}


@answers.that("10.6.4")
def another_media_type_is_406(server: Server) -> None:
    assert server.get("/studies", [MINE], accept="image/jpeg").status_code == 406


@answers.that("8.8.5")
def the_answer_is_in_utf_8(server: Server) -> None:
    answer = server.get("/studies", {"StudyInstanceUID": A})
    (found,) = json.loads(answer.content.decode("utf-8"))
    assert values(found, "00100010")[0]["Alphabetic"] == "Müller^Anna"
    assert values(found, "00080005") == ["ISO_IR 192"]


@answers.that("8.3.3.2")
def the_character_set_utf_8_can_be_asked_for(server: Server) -> None:
    assert len(results(server.get("/studies", [MINE, ("charset", "utf-8")]))) == 3


@answers.that("8.3.3.2")
def a_character_set_that_is_none_is_400(server: Server) -> None:
    assert server.get("/studies", [MINE, ("charset", "no-such-set")]).status_code == 400


@answers.that("10.6.1.1")
def a_search_below_a_study_that_is_not_there_finds_nothing(server: Server) -> None:
    assert server.get(f"/studies/{NOWHERE}/instances").status_code == 204


test_this_archive, test_orthanc = answers.tests()
