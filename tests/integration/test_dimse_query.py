"""C-FIND against a filled archive, asked by pynetdicom and by dcmtk's findscu."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientStudyOnlyQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from tests.support.dimse_services import identifier, keep, part10, serving
from tests.support.real_files import real_files
from vna.bootstrap import Archive
from vna.config import load_settings

PATIENT_ROOT = PatientRootQueryRetrieveInformationModelFind
STUDY_ROOT = StudyRootQueryRetrieveInformationModelFind
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def request_attributes() -> list[Dataset]:
    item = Dataset()
    item.ScheduledProcedureStepID = "SPS7"
    item.RequestedProcedureID = "RP7"
    item.RequestedProcedureDescription = "Thorax"
    return [item]


FILES = [
    part10(1, 1, 1, StudyDate="20260301", StudyTime="101530", AccessionNumber="A1", StudyDescription="Thorax CT"),
    part10(1, 1, 2, StudyDate="20260301", StudyTime="101530", AccessionNumber="A1", StudyDescription="Thorax CT"),
    part10(
        1, 2, 1, StudyDate="20260301", StudyTime="101530", Modality="SR", RequestAttributesSequence=request_attributes()
    ),
    part10(
        2, 1, 1, StudyDate="20260302", StudyTime="0900", PatientName="Müller^Anna", SpecificCharacterSet="ISO_IR 100"
    ),
    part10(
        3,
        1,
        1,
        StudyDate="20260303",
        StudyTime="23",
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        Modality="MR",
    ),
    part10(4, 1, 1, PatientName="Doe^John", Modality="MR"),
    part10(5, 1, 1, StudyDate="20260304", StudyTime="120000", PatientID="P4", PatientName="Doe^John"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("query")
    archive = Archive(load_settings(data=folder / "data"))
    keep(archive, folder, FILES)
    yield archive
    archive.close()


@pytest.fixture(scope="module")
def port(archive: Archive) -> Iterator[int]:
    with serving(archive) as port:
        yield port


def ask(
    port: int, keys: Dataset, model: Any = STUDY_ROOT, extended: bytes = b"", syntaxes: Sequence[Any] = tuple(SYNTAXES)
) -> list[tuple[Dataset, Dataset | None]]:
    """Return every response of a C-FIND: status and identifier."""
    ae = AE("ASKING")
    ae.add_requested_context(model, list(syntaxes))
    negotiation: list[Any] = []
    if extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = model
        item.service_class_application_information = extended
        negotiation.append(item)
    assoc = ae.associate("127.0.0.1", port, ext_neg=negotiation)
    assert assoc.is_established
    try:
        if extended:
            answered = assoc.acceptor.sop_class_extended[model]
            assert len(answered) == len(extended)
        return list(assoc.send_c_find(keys, model))
    finally:
        assoc.release()


def found(
    port: int, keys: Dataset, model: Any = STUDY_ROOT, extended: bytes = b"", status: int = 0xFF00
) -> list[Dataset]:
    responses = ask(port, keys, model, extended)
    assert responses[-1][0].Status == 0x0000
    assert {one[0].Status for one in responses[:-1]} <= {status}
    identifiers = [one[1] for one in responses[:-1]]
    assert all(one is not None for one in identifiers)
    return [one for one in identifiers if one is not None]


def studies(port: int, **keys: Any) -> set[str]:
    keys.setdefault("StudyInstanceUID", "")
    return {one.StudyInstanceUID for one in found(port, identifier("STUDY", **keys))}


def refused(port: int, keys: Dataset, model: Any = STUDY_ROOT) -> Dataset:
    ((status, data),) = ask(port, keys, model)
    assert data is None
    return status


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "12345"),
        ({"PatientName": "*"}, "12345"),
        ({"PatientName": "doe^*"}, "145"),
        ({"PatientName": "DOE^JANE"}, "1"),
        ({"PatientName": "D?e^J*n"}, "45"),
        ({"PatientName": "Doe"}, ""),
        ({"PatientID": "P1"}, "1"),
        ({"PatientID": "P?"}, "12345"),
        ({"PatientID": "p1"}, ""),
        ({"StudyInstanceUID": ["1.2.3.1", "1.2.3.4", "9.9"]}, "14"),
        ({"StudyDate": "20260302"}, "2"),
        ({"StudyDate": "20260301-20260302"}, "12"),
        ({"StudyDate": "-20260301"}, "1"),
        ({"StudyDate": "20260303-"}, "35"),
        ({"StudyDate": '""'}, "4"),
        ({"StudyTime": "10"}, "1"),
        ({"StudyTime": "0900-1015"}, "12"),
        ({"StudyTime": "1200-"}, "35"),
        ({"StudyDate": "20260301-20260304", "StudyTime": "1200-2359"}, "35"),
        ({"AccessionNumber": "A1"}, "1"),
        ({"AccessionNumber": '""'}, "2345"),
        ({"StudyDescription": "*CT"}, "1"),
        ({"ModalitiesInStudy": "SR"}, "1"),
        ({"ModalitiesInStudy": ["SR", "MR"]}, "134"),
        ({"ModalitiesInStudy": "S*"}, "1"),
        ({"PatientID": "P4", "StudyDate": "20260304"}, "5"),
        ({"PatientID": "nobody"}, ""),
    ],
)
def test_study_level(port: int, keys: dict[str, Any], expected: str) -> None:
    assert studies(port, **keys) == {f"1.2.3.{number}" for number in expected}


@pytest.mark.parametrize(
    ("charset", "name", "expected"),
    [
        ("ISO_IR 100", "Müller^A*", "2"),
        ("ISO_IR 192", "Müller^Anna", "2"),
        ("", "muller^anna", "2"),
        ("ISO_IR 192", "山田^太郎", "3"),
        ("ISO_IR 192", "=山田*", "3"),
        ("ISO_IR 192", "Yamada*=山田*", "3"),
        ("ISO_IR 192", "Yamada*=田中*", ""),
        ("ISO 2022 IR 6\\ISO 2022 IR 87", "やまだ*", "3"),
    ],
)
def test_names_in_the_character_set_of_the_query(port: int, charset: str, name: str, expected: str) -> None:
    terms = charset.split("\\") if charset else ""
    assert studies(port, SpecificCharacterSet=terms, PatientName=name) == {f"1.2.3.{number}" for number in expected}


@pytest.mark.parametrize(
    ("patient", "charset", "name"),
    [
        ("P1", None, "Doe^Jane"),
        ("P2", "ISO_IR 100", "Müller^Anna"),
        ("P3", "ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_the_character_set_of_an_answer_holds_it(port: int, patient: str, charset: str | None, name: str) -> None:
    (answer,) = found(port, identifier("STUDY", PatientID=patient, PatientName="", StudyInstanceUID=""))
    assert answer.get("SpecificCharacterSet") == charset
    assert answer.PatientName == name


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax_of_identifiers(port: int, syntax: Any) -> None:
    keys = identifier("STUDY", PatientID="P3", PatientName="", NumberOfStudyRelatedInstances="", StudyInstanceUID="")
    (status, answer), (last, _) = ask(port, keys, syntaxes=[syntax])
    assert (status.Status, last.Status) == (0xFF00, 0x0000)
    assert answer is not None
    assert answer.NumberOfStudyRelatedInstances == 1
    assert answer.PatientName.ideographic == "山田^太郎"


def test_an_answer_has_the_keys_asked_for_and_no_others(port: int) -> None:
    keys = identifier("STUDY", StudyInstanceUID="1.2.3.1", PatientName="", StudyID="", ReferringPhysicianName="")
    (answer,) = found(port, keys)
    assert {element.keyword for element in answer} == {
        *("QueryRetrieveLevel", "RetrieveAETitle"),
        *("StudyInstanceUID", "PatientName", "StudyID", "ReferringPhysicianName"),
    }
    assert answer.QueryRetrieveLevel == "STUDY"
    assert answer.RetrieveAETitle == "VNA"
    assert answer["StudyID"].is_empty
    assert answer["ReferringPhysicianName"].is_empty


def test_counts_and_what_is_gathered(port: int) -> None:
    keys = identifier(
        "STUDY",
        StudyInstanceUID="1.2.3.1",
        ModalitiesInStudy="",
        SOPClassesInStudy="",
        NumberOfStudyRelatedSeries="",
        NumberOfStudyRelatedInstances="",
        InstanceAvailability="",
    )
    (answer,) = found(port, keys)
    assert sorted(answer.ModalitiesInStudy) == ["CT", "SR"]
    assert answer.SOPClassesInStudy == CTImageStorage
    assert (answer.NumberOfStudyRelatedSeries, answer.NumberOfStudyRelatedInstances) == (2, 3)
    assert answer.InstanceAvailability == "ONLINE"


def test_patient_level(port: int) -> None:
    keys = identifier(
        "PATIENT",
        PatientID="P4",
        PatientName="",
        NumberOfPatientRelatedStudies="",
        NumberOfPatientRelatedSeries="",
        NumberOfPatientRelatedInstances="",
    )
    (answer,) = found(port, keys, PATIENT_ROOT)
    assert answer.PatientName == "Doe^John"
    assert answer.NumberOfPatientRelatedStudies == 2
    assert answer.NumberOfPatientRelatedSeries == 2
    assert answer.NumberOfPatientRelatedInstances == 2
    everybody = found(port, identifier("PATIENT", PatientID="*"), PATIENT_ROOT)
    assert sorted(one.PatientID for one in everybody) == ["P1", "P2", "P3", "P4"]


def test_series_level(port: int) -> None:
    keys = identifier(
        "SERIES", StudyInstanceUID="1.2.3.1", SeriesInstanceUID="", Modality="", NumberOfSeriesRelatedInstances=""
    )
    answers = found(port, keys)
    assert [(one.Modality, one.NumberOfSeriesRelatedInstances) for one in answers] == [("CT", 2), ("SR", 1)]
    keys.Modality = "SR"
    assert [one.SeriesInstanceUID for one in found(port, keys)] == ["1.2.3.1.2"]


def test_image_level(port: int) -> None:
    keys = identifier(
        "IMAGE",
        StudyInstanceUID="1.2.3.1",
        SeriesInstanceUID="1.2.3.1.1",
        SOPInstanceUID="",
        InstanceNumber="",
        Rows=None,
    )
    answers = found(port, keys)
    assert [(one.SOPInstanceUID, one.InstanceNumber, one.Rows) for one in answers] == [
        ("1.2.3.1.1.1", 1, 8),
        ("1.2.3.1.1.2", 2, 8),
    ]
    keys.InstanceNumber = "02"
    assert [one.SOPInstanceUID for one in found(port, keys)] == ["1.2.3.1.1.2"]


def test_patient_root_goes_down_level_by_level(port: int) -> None:
    keys = identifier("STUDY", PatientID="P1", StudyInstanceUID="")
    assert [one.StudyInstanceUID for one in found(port, keys, PATIENT_ROOT)] == ["1.2.3.1"]
    keys = identifier("SERIES", PatientID="P1", StudyInstanceUID="1.2.3.1", SeriesInstanceUID="")
    assert len(found(port, keys, PATIENT_ROOT)) == 2
    keys = identifier(
        "IMAGE", PatientID="P1", StudyInstanceUID="1.2.3.1", SeriesInstanceUID="1.2.3.1.2", SOPInstanceUID=""
    )
    assert [one.SOPInstanceUID for one in found(port, keys, PATIENT_ROOT)] == ["1.2.3.1.2.1"]


def test_the_retired_patient_study_only_root(port: int) -> None:
    model = PatientStudyOnlyQueryRetrieveInformationModelFind
    keys = identifier("STUDY", PatientID="P1", StudyInstanceUID="")
    assert [one.StudyInstanceUID for one in found(port, keys, model)] == ["1.2.3.1"]
    assert refused(port, identifier("SERIES", PatientID="P1", StudyInstanceUID="1.2.3.1"), model).Status == 0xA900


def sequence_key(**inner: Any) -> Dataset:
    item = Dataset()
    for keyword, value in inner.items():
        setattr(item, keyword, value)
    return identifier("SERIES", StudyInstanceUID="1.2.3.1", SeriesInstanceUID="", RequestAttributesSequence=[item])


def test_sequence_matching_answers_the_attributes_asked_for(port: int) -> None:
    (answer,) = found(port, sequence_key(ScheduledProcedureStepID="SPS*", RequestedProcedureID=""))
    assert answer.SeriesInstanceUID == "1.2.3.1.2"
    (item,) = answer.RequestAttributesSequence
    assert {element.keyword for element in item} == {"ScheduledProcedureStepID", "RequestedProcedureID"}
    assert (item.ScheduledProcedureStepID, item.RequestedProcedureID) == ("SPS7", "RP7")
    assert found(port, sequence_key(ScheduledProcedureStepID="SPS8")) == []


def test_a_sequence_asked_for_whole_comes_whole(port: int) -> None:
    keys = identifier("SERIES", StudyInstanceUID="1.2.3.1", SeriesInstanceUID="", RequestAttributesSequence=[])
    without, with_sequence = found(port, keys)
    assert without["RequestAttributesSequence"].is_empty
    assert with_sequence.RequestAttributesSequence[0].RequestedProcedureDescription == "Thorax"


@pytest.mark.parametrize(
    ("model", "keys", "offending"),
    [
        (STUDY_ROOT, identifier(None, StudyInstanceUID=""), 0x00080052),
        (STUDY_ROOT, identifier("PATIENT", PatientID=""), 0x00080052),
        (STUDY_ROOT, identifier("STUDIES", StudyInstanceUID=""), 0x00080052),
        (STUDY_ROOT, identifier("SERIES", SeriesInstanceUID=""), 0x0020000D),
        (STUDY_ROOT, identifier("SERIES", StudyInstanceUID=["1.2.3.1", "1.2.3.2"]), 0x0020000D),
        (STUDY_ROOT, identifier("IMAGE", StudyInstanceUID="1.2.3.1", SOPInstanceUID=""), 0x0020000E),
        (PATIENT_ROOT, identifier("STUDY", StudyInstanceUID=""), 0x00100020),
        (PATIENT_ROOT, identifier("STUDY", PatientID="P*", StudyInstanceUID=""), 0x00100020),
        (STUDY_ROOT, identifier("STUDY", StudyDate="2026"), 0x00080020),
    ],
)
def test_what_does_not_fit_is_refused_with_the_element_to_blame(
    port: int, model: Any, keys: Dataset, offending: int
) -> None:
    status = refused(port, keys, model)
    assert status.Status == 0xA900
    assert status.OffendingElement == offending
    assert status.ErrorComment


def test_keys_below_the_level_are_told_to_be_unsupported(port: int) -> None:
    keys = identifier("STUDY", StudyInstanceUID="1.2.3.1", Modality="CT", Rows=None)
    (answer,) = found(port, keys, status=0xFF01)
    assert "Modality" not in answer
    assert "Rows" not in answer


def test_a_count_cannot_be_matched(port: int) -> None:
    keys = identifier("STUDY", StudyInstanceUID="1.2.3.1", NumberOfStudyRelatedInstances="17")
    (answer,) = found(port, keys, status=0xFF01)
    assert answer.NumberOfStudyRelatedInstances == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("JOHN DOE", "45"),
        ("doe^jonh", "45"),
        ("Mueler", "2"),
        ("Tarou=", "3"),
        ("D?e^J*", "145"),
        ("doe\\smith", ""),
    ],
)
def test_names_are_matched_fuzzily_where_negotiated(port: int, name: str, expected: str) -> None:
    keys = identifier("STUDY", PatientName=name, StudyInstanceUID="")
    answers = found(port, keys, extended=b"\0\0\1")
    assert {one.StudyInstanceUID for one in answers} == {f"1.2.3.{number}" for number in expected}
    # What is not negotiated is not done: names are matched as they are.
    literally = {one.StudyInstanceUID for one in found(port, keys, extended=b"\0\0\0")}
    assert literally == ({"1.2.3.1", "1.2.3.4", "1.2.3.5"} if "?" in name else set())


def test_extended_negotiation_promises_what_is_done(port: int) -> None:
    ae = AE("ASKING")
    ae.add_requested_context(STUDY_ROOT)
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid = STUDY_ROOT
    item.service_class_application_information = b"\1\1\1\1\1\1\1"
    assoc = ae.associate("127.0.0.1", port, ext_neg=[item])
    assert assoc.acceptor.sop_class_extended[STUDY_ROOT] == b"\1\1\1\0\0\1\1"
    assoc.release()


def test_relational_queries_need_no_keys_of_levels_above(port: int) -> None:
    keys = identifier("SERIES", SeriesInstanceUID="", Modality="MR")
    assert refused(port, keys).Status == 0xA900
    answers = found(port, keys, extended=b"\1")
    assert {one.SeriesInstanceUID for one in answers} == {"1.2.3.3.1", "1.2.3.4.1"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (identifier("STUDY", StudyInstanceUID="", Modality="CT"), ["1.2.3.1", "1.2.3.2", "1.2.3.5"]),
        (identifier("STUDY", StudyInstanceUID="", PatientID="P1", SOPInstanceUID="1.2.3.1.1.2"), ["1.2.3.1"]),
        (identifier("STUDY", StudyInstanceUID="", Modality="XA"), []),
        (identifier("SERIES", SeriesInstanceUID="", InstanceNumber="2"), ["1.2.3.1.1"]),
        (identifier("PATIENT", PatientID="", StudyDate="20260304"), ["P4"]),
        (identifier("PATIENT", PatientID="", Modality="MR"), ["P3", "P4"]),
    ],
)
def test_relational_queries_match_keys_of_levels_below(port: int, keys: Dataset, expected: list[str]) -> None:
    unique = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}
    model = PATIENT_ROOT if keys.QueryRetrieveLevel == "PATIENT" else STUDY_ROOT
    answers = found(port, keys, model, b"\1")
    assert sorted(getattr(one, unique[keys.QueryRetrieveLevel]) for one in answers) == expected


def test_combined_date_time_matching_is_done_when_negotiated(port: int) -> None:
    keys = identifier("STUDY", StudyInstanceUID="", StudyDate="20260301-20260303", StudyTime="1200-0930")
    assert found(port, keys) == []
    combined = found(port, keys, extended=b"\0\1")
    assert {one.StudyInstanceUID for one in combined} == {"1.2.3.2"}


def test_several_requests_on_one_association(port: int) -> None:
    ae = AE("ASKING")
    ae.add_requested_context(STUDY_ROOT)
    ae.add_requested_context(Verification)
    assoc = ae.associate("127.0.0.1", port)
    for _ in range(3):
        responses = list(assoc.send_c_find(identifier("STUDY", StudyInstanceUID=""), STUDY_ROOT))
        assert [status.Status for status, _ in responses] == [0xFF00] * 5 + [0x0000]
        assert assoc.send_c_echo().Status == 0x0000
    assoc.release()
    assert assoc.is_released


def test_findscu(port: int) -> None:
    command = ["/usr/bin/findscu", "-v", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID"]
    command += ["-k", "PatientName=doe*", "-k", "NumberOfStudyRelatedInstances", "127.0.0.1", str(port)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=True)
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert text.count("(Pending)") == 3
    assert "Received Final Find Response (Success)" in text
    assert "SpecificCharacterSet" not in text


def test_real_files_are_found_by_the_name_they_show(tmp_path: Path) -> None:
    files = [path for path in real_files() if path.name.startswith("chr") and "SQ" not in path.name]
    assert len(files) >= 10
    archive = Archive(load_settings(data=tmp_path / "data"))
    kept = keep(archive, tmp_path, files)
    with serving(archive) as port:
        for instance in kept:
            groups = instance.attributes["00100010"]["Value"][0]
            name = "=".join(groups.get(part, "") for part in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
            keys = identifier("STUDY", SpecificCharacterSet="ISO_IR 192", PatientName=name, StudyInstanceUID="")
            answers = {one.StudyInstanceUID: one for one in found(port, keys)}
            assert instance.uids.study in answers
            assert answers[instance.uids.study].PatientName == name
    archive.close()
