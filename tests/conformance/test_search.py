"""The search transaction (QIDO-RS), as a checklist of PS3.18 8.3.4.1 and 10.6.1: what is found by which key."""

from __future__ import annotations

from tests.conformance.samples import CREATOR, NOWHERE, label_of, uid_of
from tests.conformance.support import Checklist, Server, results, values

search = Checklist("10.6 Search (QIDO-RS): matching")

UNIQUE = {"studies": "0020000D", "series": "0020000E", "instances": "00080018"}
# All of the samples, and nothing that other parts of the list store.
ALL = ("PatientID", "CONF-*")


def found(server: Server, path: str, *parameters: tuple[str, str]) -> list[str]:
    """Return what of the samples a search finds, in order of their labels; each once."""
    tag = UNIQUE[path.partition("?")[0].rpartition("/")[2]]
    labels = [label_of(values(each, tag)[0]) for each in results(server.get(path, parameters))]
    mine = sorted(label for label in labels if label)
    assert len(set(mine)) == len(mine), mine
    return mine


def matching(section: str, name: str, path: str, query: str, expected: str) -> None:
    """Enter a search, its parameters as ``a=b&c=d`` before any escaping, and the labels that it finds."""
    parameters = [(key, value) for key, _, value in (each.partition("=") for each in query.split("&") if each)]

    def run(server: Server) -> None:
        assert found(server, path, *parameters) == expected.split()

    search.add(section, name, run)


A, B, C = uid_of("A"), uid_of("B"), uid_of("C")
KEYS = "10.6.1.2.3"  # Table 10.6.1-5

matching(KEYS, "studies_by_study_date", "/studies", "StudyDate=20260301", "A")
matching(KEYS, "studies_by_study_time", "/studies", "StudyTime=101530&PatientID=CONF-1", "A")
matching(KEYS, "studies_by_accession_number", "/studies", "AccessionNumber=ACC-2", "B")
matching(KEYS, "studies_by_modalities_in_study", "/studies", "ModalitiesInStudy=MR&PatientID=CONF-*", "A C")
matching(KEYS, "studies_by_referring_physician_name", "/studies", "ReferringPhysicianName=Smith^Jane", "B C")
matching(KEYS, "studies_by_patient_name", "/studies", "PatientName=Schmidt^John", "B C")
matching(KEYS, "studies_by_patient_id", "/studies", "PatientID=CONF-1", "A")
matching(KEYS, "studies_by_study_instance_uid", "/studies", f"StudyInstanceUID={B}", "B")
matching(KEYS, "studies_by_study_id", "/studies", "StudyID=ID-3", "C")
matching("10.6.1.2.1", "studies_by_birth_date_and_issuer", "/studies",
         "PatientBirthDate=19700102&IssuerOfPatientID=HOSPITAL", "A")  # fmt: skip
matching("10.6.1.2.1", "studies_by_study_description", "/studies", "StudyDescription=Knee", "B")
matching(KEYS, "series_by_modality", "/series", "Modality=MR&PatientID=CONF-*", "A2 C2")
matching(KEYS, "series_by_series_instance_uid", "/series", f"SeriesInstanceUID={uid_of('A2')}", "A2")
matching(KEYS, "series_by_series_number", "/series", "SeriesNumber=3&PatientID=CONF-*", "C3")
matching(KEYS, "series_by_step_start_date", "/series", "PerformedProcedureStepStartDate=20260302", "B1")
matching(KEYS, "series_by_step_start_time", "/series",
         "PerformedProcedureStepStartTime=120000&PatientID=CONF-*", "A2 C2")  # fmt: skip
matching(KEYS, "series_by_scheduled_step_id", "/series",
         "RequestAttributesSequence.ScheduledProcedureStepID=SPS-A2", "A2")  # fmt: skip
matching(KEYS, "series_by_requested_procedure_id", "/series",
         "RequestAttributesSequence.RequestedProcedureID=RP-A", "A1 A2")  # fmt: skip
matching(KEYS, "series_of_a_study_by_modality", f"/studies/{A}/series", "Modality=CT", "A1")
matching(KEYS, "instances_by_sop_class_uid", "/instances",
         "SOPClassUID=1.2.840.10008.5.1.4.1.1.3.1&PatientID=CONF-*", "B1.1")  # fmt: skip
matching(KEYS, "instances_by_sop_instance_uid", "/instances", f"SOPInstanceUID={uid_of('A1.2')}", "A1.2")
matching(KEYS, "instances_by_instance_number", "/instances", "InstanceNumber=3&PatientID=CONF-*", "A1.3")
matching("10.6.1.2.1", "series_by_keys_of_the_study", "/series", "AccessionNumber=ACC-1&Modality=MR", "A2")
matching("10.6.1.2.1", "series_by_modalities_in_study", "/series",
         "ModalitiesInStudy=SR&PatientID=CONF-*", "C1 C2 C3")  # fmt: skip
matching("10.6.1.2.1", "instances_by_keys_of_study_and_series", "/instances",
         "AccessionNumber=ACC-1&Modality=CT", "A1.1 A1.2 A1.3")  # fmt: skip
matching("10.6.1.2.1", "instances_of_a_study_by_key_of_the_series", f"/studies/{A}/instances", "Modality=MR", "A2.1")
matching("10.6.1.2.1", "instances_of_a_series_by_number", f"/studies/{A}/series/{uid_of('A1')}/instances",
         "InstanceNumber=2", "A1.2")  # fmt: skip
matching("10.6.1.1", "all_of_a_study_and_of_a_series", f"/studies/{C}/series", "", "C1 C2 C3")

matching("8.3.4.1", "a_key_by_tag", "/studies", "00100020=CONF-1", "A")
matching("8.3.1", "a_key_by_tag_in_small_letters", "/studies", "0020000d=" + A, "A")
matching("8.3.4.1", "a_path_of_keywords", "/studies", "OtherPatientIDsSequence.PatientID=OTHER-CONF-1", "A")
matching("8.3.4.1", "a_path_of_tags", "/series", "00400275.00400009=SPS-B1", "B1")
matching("8.3.4.1", "a_path_of_tag_and_keyword", "/series", "00400275.RequestedProcedureID=RP-B", "B1")
matching("8.3.4.1", "a_list_of_uids", "/studies", f"StudyInstanceUID={A},{C}", "A C")
matching("8.3.4.1", "a_private_attribute_with_its_creator", "/instances",
         f"00290010={CREATOR}&00291008=private A1.2", "A1.2")  # fmt: skip
matching("8.3.4.1", "several_keys_are_all_to_match", "/studies", "PatientID=CONF-2&StudyDate=20260303", "C")
matching("8.3.1", "a_key_without_a_value_matches_all", "/studies", "PatientID=CONF-*&AccessionNumber", "A B C")

RULES = "8.3.4.1.1"  # and PS3.4 C.2.2.2
matching(RULES, "wild_card_star", "/studies", "AccessionNumber=ACC-*&PatientID=CONF-*", "A B C")
matching(RULES, "wild_card_question_mark", "/studies", "AccessionNumber=?CC-2", "B")
matching(RULES, "text_is_matched_as_a_whole", "/studies", "StudyDescription=Knee*", "B C")
matching(RULES, "dates_from_and_to_inclusive", "/studies", "StudyDate=20260301-20260302&PatientID=CONF-*", "A B")
matching(RULES, "dates_until", "/studies", "StudyDate=-20260301&PatientID=CONF-*", "A")
matching(RULES, "dates_from", "/studies", "StudyDate=20260302-&PatientID=CONF-*", "B C")
matching(RULES, "times_from_and_to", "/studies", "StudyTime=0900-1015&PatientID=CONF-*", "A B")
matching(RULES, "a_time_of_less_precision_covers_all_within", "/studies", "StudyTime=1015&PatientID=CONF-1", "A")
matching(RULES, "date_and_time_are_combined", "/studies",
         "StudyDate=20260301-20260303&StudyTime=1000-1000&PatientID=CONF-*", "A B")  # fmt: skip
matching(RULES, "date_and_time_of_the_step_are_combined", "/series",
         "PerformedProcedureStepStartDate=20260301-20260303&PerformedProcedureStepStartTime=1130-1130"
         "&PatientID=CONF-*", "A2 B1 C1")  # fmt: skip
matching(RULES, "moments_from_and_to", "/instances",
         "AcquisitionDateTime=20260301120000-20260302&PatientID=CONF-*", "A2.1 B1.1")  # fmt: skip
matching(RULES, "a_moment_of_less_precision_covers_all_within", "/instances",
         "AcquisitionDateTime=2026030211&PatientID=CONF-*", "B1.1")  # fmt: skip
matching(RULES, "numbers_by_their_value", "/instances", "Rows=48&InstanceNumber=03&PatientID=CONF-*", "A1.3")
matching(RULES, "a_name_by_component", "/studies", "PatientName=*^Anna&PatientID=CONF-*", "A")
matching(RULES, "a_name_without_regard_to_case", "/studies", "PatientName=SCHMIDT^john", "B C")
matching(RULES, "a_name_by_its_ideographic_group", "/studies", "PatientName=*=山田^太郎*", "A")
matching(RULES, "a_name_by_its_phonetic_group", "/studies", "PatientName=*=*=やまだ^*", "A")
matching(RULES, "nothing_is_found_by_what_nobody_has", "/studies", "PatientID=CONF-9", "")
matching(RULES, "nothing_is_found_in_what_is_not_there", f"/studies/{NOWHERE}/series", "", "")
matching("8.3.4", "an_empty_value_finds_what_has_none", "/studies", 'PatientBirthDate=""&PatientID=CONF-*', "B C")
matching("8.3.4", "several_values_find_each", "/series", "Modality=SR\\US&PatientID=CONF-*", "B1 C3")


@search.that("8.3.4.1")
def escaped_characters_are_what_they_stand_for(server: Server) -> None:
    assert found(server, "/studies?PatientName=Schmidt%5E%4a%2A&PatientID=CONF-2") == ["B", "C"]


@search.that("8.3.4.2")
def fuzzy_matching_is_done_or_warned_of(server: Server) -> None:
    labels = found(server, "/studies", ("PatientName", "john schmid"), ("fuzzymatching", "true"), ALL)
    assert labels == ["B", "C"] or server.last.headers["warning"].startswith("299 ")


@search.that("8.3.4.2")
def no_fuzzy_matching_unless_asked(server: Server) -> None:
    assert found(server, "/studies", ("PatientName", "john schmid"), ("fuzzymatching", "false"), ALL) == []


@search.that("8.3.4.2")
def fuzzymatching_of_another_value_is_400(server: Server) -> None:
    assert server.get("/studies", {"fuzzymatching": "perhaps"}).status_code == 400


@search.that("8.3.4.1")
def an_unknown_attribute_is_400_by_name_or_warned_of(server: Server) -> None:
    answer = server.get("/studies", {"NoSuchAttribute": "1", "PatientID": "CONF-1"})
    refused = answer.status_code == 400 and "NoSuchAttribute" in answer.text
    assert refused or answer.headers["warning"].startswith("299 ")


@search.that(RULES)
def a_key_of_a_lower_level_is_400_by_name_or_warned_of(server: Server) -> None:
    answer = server.get("/studies", {"SeriesNumber": "3", "PatientID": "CONF-1"})
    refused = answer.status_code == 400 and "SeriesNumber" in answer.text
    assert refused or answer.headers["warning"].startswith("299 ")


@search.that("8.3.4.1")
def a_private_attribute_without_its_creator_is_400(server: Server) -> None:
    assert server.get("/instances", {"00291008": "private A1.2"}).status_code == 400


@search.that("8.3.4.1")
def an_attribute_that_stands_twice_is_400(server: Server) -> None:
    assert server.get("/studies", [("PatientID", "CONF-1"), ("PatientID", "CONF-2")]).status_code == 400


@search.that("8.3")
def a_value_that_is_no_date_is_400(server: Server) -> None:
    assert server.get("/studies", {"StudyDate": "yesterday"}).status_code == 400


@search.that("8.3")
def a_time_that_is_none_is_400(server: Server) -> None:
    assert server.get("/studies", {"StudyTime": "2560"}).status_code == 400


@search.that(RULES)
def dates_and_times_in_another_zone_are_adjusted_or_warned_of(server: Server) -> None:
    zone = ("TimezoneOffsetFromUTC", "+0900")
    labels = found(server, "/studies", ("StudyDate", "20260301"), ("StudyTime", "1815"), zone, ALL)
    assert labels == ["A"] or server.last.headers["warning"].startswith("299 ")


test_this_archive, test_orthanc = search.tests()
