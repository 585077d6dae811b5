"""The Worklist Service: create, retrieve and search work items, as a checklist of PS3.18 11 and PS3.4 CC."""

from __future__ import annotations

import gzip
import json
from email import message_from_bytes
from email.policy import HTTP

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from tests.conformance.ups import UPS_PUSH, Check, Checklist, worklist
from tests.support.workitems import JSON, XML, WorklistClient, code, data_set, performed, warnings, work_item
from vna.dicom.from_xml import parse_xml
from vna.gateways.dicomweb.native_xml import to_native_xml

__all__ = ["worklist"]

check = Checklist()


@check("11.4.1.1")
def create_by_the_uid_in_the_query(client: WorklistClient) -> None:
    uid = str(generate_uid())
    answer = client.create(work_item(), f"workitem={uid}")
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{client.base}/workitems/{uid}"
    assert answer.content == b""
    assert warnings(answer) == []
    assert client.get(uid).ProcedureStepState == "SCHEDULED"


@check("11.4.1.1")
def create_by_the_uid_alone_as_the_query(client: WorklistClient) -> None:
    uid = str(generate_uid())
    assert client.create(work_item(), uid).headers["Location"].endswith(f"/workitems/{uid}")


@check("11.4.1.1")
def create_by_the_uid_in_the_data_set(client: WorklistClient) -> None:
    uid = str(generate_uid())
    assert client.create(work_item(SOPInstanceUID=uid)).headers["Location"].endswith(f"/workitems/{uid}")


@check("11.4.1.1")
def two_uids_that_differ_are_400(client: WorklistClient) -> None:
    assert client.create(work_item(SOPInstanceUID="1.2.3"), "workitem=1.2.4").status_code == 400


@check("11.4.3.1")
def what_exists_is_409(client: WorklistClient) -> None:
    uid = client.created()
    answer = client.create(work_item(), f"workitem={uid}")
    assert answer.status_code == 409
    assert uid in answer.json()["detail"]


@check("11.1.3")
def create_and_retrieve_as_xml(client: WorklistClient) -> None:
    uid = str(generate_uid())
    document = to_native_xml(work_item(PatientName="Müller^Anna=日本").to_json_dict())
    body = b"--B\r\nContent-Type: application/dicom+xml\r\n\r\n" + document + b"\r\n--B--\r\n"
    answer = client.create(body, f"workitem={uid}", kind=f'multipart/related; type="{XML}"; boundary=B')
    assert answer.status_code == 201, answer.text
    answer = client.http.get(f"/workitems/{uid}", headers={"Accept": f'multipart/related; type="{XML}"'})
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    (part,) = message_from_bytes(head + answer.content, policy=HTTP).iter_parts()  # type: ignore[attr-defined]
    assert part.get_content_type() == XML
    (found,) = parse_xml(part.get_payload(decode=True))
    assert found["00100010"]["Value"] == [{"Alphabetic": "Müller^Anna", "Ideographic": "日本"}]
    assert str(client.get(uid).PatientName) == "Müller^Anna=日本"


@check("11.4.1.3")
def create_with_a_content_encoding(client: WorklistClient) -> None:
    body = gzip.compress(json.dumps([work_item().to_json_dict()]).encode())
    assert client.create(body, str(generate_uid()), content_encoding="gzip").status_code == 201


@check("11.4.1.4")
def a_payload_of_two_is_400(client: WorklistClient) -> None:
    body = json.dumps([work_item().to_json_dict()] * 2).encode()
    assert client.create(body, str(generate_uid())).status_code == 400


@check("8.7.5")
def another_media_type_is_415(client: WorklistClient) -> None:
    assert client.create(b"x", str(generate_uid()), kind="text/plain").status_code == 415


@check("11.1.3")
def bulk_data_is_refused(client: WorklistClient) -> None:
    item = work_item().to_json_dict() | {"00104000": {"vr": "LT", "BulkDataURI": "http://elsewhere/x"}}
    assert client.create(json.dumps([item]).encode(), str(generate_uid())).status_code == 400


@check("CC.2.5-3, N-CREATE 1")
def what_is_of_type_1_must_be_there(client: WorklistClient) -> None:
    for name in (
        "ScheduledProcedureStepPriority",
        "ProcedureStepLabel",
        "ScheduledProcedureStepStartDateTime",
        "InputReadinessState",
        "ProcedureStepState",
    ):
        for value in (None, ""):
            answer = client.create(work_item(**{name: value}), str(generate_uid()))
            assert answer.status_code == 400, name
            assert name in answer.json()["detail"]


@check("CC.2.5-3, N-CREATE 2")
def what_is_of_type_2_is_made_up_for_with_a_warning(client: WorklistClient) -> None:
    uid = str(generate_uid())
    answer = client.create(work_item(AdmissionID=None, InputInformationSequence=None), uid)
    assert answer.status_code == 201
    assert warnings(answer) == ["The Workitem was created with modifications."]
    found = client.get(uid)
    assert found["AdmissionID"].is_empty
    assert found["InputInformationSequence"].is_empty


@check("CC.2.5-3, N-CREATE 2/1")
def the_worklist_label_is_filled_in(client: WorklistClient) -> None:
    uid = str(generate_uid())
    answer = client.create(work_item(WorklistLabel=""), uid)
    assert warnings(answer) == ["The Workitem was created with modifications."]
    assert client.get(uid).WorklistLabel


@check("CC.2.5-3, N-CREATE")
def what_shall_be_empty_is_empty(client: WorklistClient) -> None:
    for changes in (
        {"TransactionUID": "1.2.3"},
        {"ProcedureStepProgressInformationSequence": [data_set(ProcedureStepProgress="1")]},
        {"UnifiedProcedureStepPerformedProcedureSequence": performed()},
    ):
        assert client.create(work_item(**changes), str(generate_uid())).status_code == 400, changes


@check("CC.2.5.1.3.1")
def sop_class_and_modification_are_the_servers(client: WorklistClient) -> None:
    found = client.get(client.created())
    assert found.SOPClassUID == UPS_PUSH
    assert found.ScheduledProcedureStepModificationDateTime
    assert client.create(work_item(SOPClassUID="1.2.3"), str(generate_uid())).status_code == 400


@check("CC.2.5.3")
def another_state_than_scheduled_is_refused(client: WorklistClient) -> None:
    assert client.create(work_item(ProcedureStepState="IN PROGRESS"), str(generate_uid())).status_code == 400


@check("C.30")
def enumerated_values_and_values_of_their_vr(client: WorklistClient) -> None:
    for changes in (
        {"ScheduledProcedureStepPriority": "URGENT"},
        {"InputReadinessState": "SOON"},
    ):
        assert client.create(work_item(**changes), str(generate_uid())).status_code == 400, changes
    item = work_item().to_json_dict()
    item["00404005"]["Value"] = ["tomorrow"]
    answer = client.create(json.dumps([item]).encode(), str(generate_uid()))
    assert answer.status_code == 400
    assert "ScheduledProcedureStepStartDateTime" in answer.json()["detail"]


@check("CC.2.5-2a, CC.2.5-2c, CC.2.5-3")
def what_is_of_type_1_within_sequences_must_be_there(client: WorklistClient) -> None:
    reference = data_set(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.3")
    instances = data_set(TypeOfInstances="DICOM", ReferencedSOPSequence=[reference], StudyInstanceUID="1.2.3")
    scheme_missing = data_set(CodeValue="1", CodeMeaning="One")
    performer = data_set(HumanPerformerCodeSequence=[code("1", "One")], HumanPerformerName="Doe^J")
    for changes, named in (
        ({"ScheduledWorkitemCodeSequence": [scheme_missing]}, "CodingSchemeDesignator"),
        ({"InputInformationSequence": [instances]}, "WADORSRetrievalSequence"),
        ({"ScheduledHumanPerformersSequence": [performer]}, "HumanPerformerOrganization"),
    ):
        answer = client.create(work_item(**changes), str(generate_uid()))
        assert answer.status_code == 400, changes
        assert named in answer.json()["detail"]
    instances.WADORSRetrievalSequence = [data_set(RetrieveURL="http://here/studies/1.2.3")]
    performer.HumanPerformerOrganization = "Radiology"
    good = work_item(InputInformationSequence=[instances], ScheduledHumanPerformersSequence=[performer])
    assert client.create(good, str(generate_uid())).status_code == 201


@check("11.5.2")
def the_transaction_uid_is_never_given_out(client: WorklistClient) -> None:
    uid, transaction = client.claimed()
    assert "TransactionUID" not in client.get(uid)
    assert transaction not in client.http.get(f"/workitems/{uid}").text
    found = client.http.get("/workitems", params={"SOPInstanceUID": uid, "includefield": "all"})
    assert transaction not in found.text
    asked = client.http.get("/workitems", params={"SOPInstanceUID": uid, "includefield": "TransactionUID"})
    assert "00081195" not in asked.json()[0]
    assert client.http.get("/workitems", params={"TransactionUID": transaction}).status_code == 400


@check("11.5.3")
def retrieve_is_an_array_of_one_with_its_location(client: WorklistClient) -> None:
    uid = client.created()
    answer = client.http.get(f"/workitems/{uid}")
    assert answer.headers["Content-Type"] == JSON
    assert answer.headers["Content-Location"].endswith(f"/workitems/{uid}")
    (found,) = answer.json()
    given = work_item()
    kept = Dataset.from_json(found)
    assert {element.tag: kept[element.tag] for element in given if element.keyword != "TransactionUID"} == {
        element.tag: element for element in given if element.keyword != "TransactionUID"
    }


@check("11.5.3.1")
def what_is_unknown_is_404(client: WorklistClient) -> None:
    assert client.http.get("/workitems/1.2.3.4.5").status_code == 404
    assert client.update("1.2.3.4.5", ProcedureStepLabel="x").status_code == 404
    assert client.state("1.2.3.4.5", "IN PROGRESS", "1.2").status_code == 404
    assert client.cancel("1.2.3.4.5").status_code == 404
    assert client.subscribe("1.2.3.4.5", "AE").status_code == 404
    assert client.http.get("/workitems/nonsense").status_code == 400


@check("11.5.1.3")
def what_cannot_be_had_is_406(client: WorklistClient) -> None:
    uid = client.created()
    assert client.http.get(f"/workitems/{uid}", headers={"Accept": "text/plain"}).status_code == 406


@check("11.9.2")
def results_have_the_return_keys_of_type_1_and_2(client: WorklistClient) -> None:
    uid = client.created()
    (found,) = client.search(SOPInstanceUID=uid)
    for name in (
        "SOPClassUID",
        "SOPInstanceUID",
        "ScheduledProcedureStepPriority",
        "ProcedureStepLabel",
        "WorklistLabel",
        "ScheduledStationNameCodeSequence",
        "ScheduledProcedureStepStartDateTime",
        "ScheduledWorkitemCodeSequence",
        "InputReadinessState",
        "PatientName",
        "PatientID",
        "AdmissionID",
        "ReferencedRequestSequence",
        "ProcedureStepState",
    ):
        assert name in found
    assert "CommentsOnTheScheduledProcedureStep" not in found
    (more,) = client.search(SOPInstanceUID=uid, includefield="CommentsOnTheScheduledProcedureStep")
    assert "CommentsOnTheScheduledProcedureStep" in more
    (everything,) = client.search(SOPInstanceUID=uid, includefield="all")
    assert everything.to_json_dict() == client.get(uid).to_json_dict()


@check("11.9.2, C.2.2.2")
def attributes_are_matched_at_every_depth(client: WorklistClient) -> None:
    mark = str(generate_uid())[-12:]
    reader = data_set(
        HumanPerformerCodeSequence=[code("R1", "One", "99TEST")],
        HumanPerformerName="Meyer^Hans",
        HumanPerformerOrganization="Radiology",
    )
    uid = client.created(
        AdmissionID=mark,
        PatientName="Müller^Anna",
        ScheduledProcedureStepStartDateTime="20260315101500",
        ScheduledHumanPerformersSequence=[reader],
    )
    for keys in (
        {"PatientName": "muller*"},
        {"00100010": "M?ller^Anna"},
        {"PatientName": "Mueler Anna", "fuzzymatching": "true"},
        {"ScheduledProcedureStepStartDateTime": "20260315"},
        {"ScheduledProcedureStepStartDateTime": "20260301-20260401"},
        {"ScheduledProcedureStepStartDateTime": "-20260315120000"},
        {"ScheduledWorkitemCodeSequence.CodeValue": "110004"},
        {"ScheduledHumanPerformersSequence.HumanPerformerCodeSequence.CodeValue": "R1"},
        {"ScheduledHumanPerformersSequence.HumanPerformerName": "meyer*"},
        {"ReferencedRequestSequence.AccessionNumber": "A1"},
        {"SOPInstanceUID": f"1.2.3,{uid}"},
        {"ProcedureStepState": "SCHEDULED", "InputReadinessState": "READY"},
    ):
        assert [each.SOPInstanceUID for each in client.search(AdmissionID=mark, **keys)] == [uid], keys
    for keys in (
        {"PatientName": "muller"},
        {"ScheduledProcedureStepStartDateTime": "20260316-"},
        {"ScheduledWorkitemCodeSequence.CodeValue": "110005"},
        {"ProcedureStepState": "COMPLETED"},
    ):
        assert client.search(AdmissionID=mark, **keys) == [], keys


@check("11.9.3.1, 8.3.4.4")
def pages_in_a_stable_order_and_how_many_are_left(client: WorklistClient) -> None:
    mark = str(generate_uid())[-12:]
    uids = [
        client.created(AdmissionID=mark, ScheduledProcedureStepStartDateTime=f"2026010{day}") for day in (3, 1, 2, 5, 4)
    ]
    expected = [uids[place] for place in (1, 2, 0, 4, 3)]
    answer = client.http.get("/workitems", params={"AdmissionID": mark, "limit": "2", "offset": "1"})
    assert answer.status_code == 206
    assert warnings(answer) == ["There are 2 additional results that can be requested"]
    assert [each["00080018"]["Value"][0] for each in answer.json()] == expected[1:3]
    assert client.http.get("/workitems", params={"AdmissionID": mark}).status_code == 200
    assert [each.SOPInstanceUID for each in client.search(AdmissionID=mark)] == expected


@check("11.9.3.1")
def nothing_found_is_204_and_a_wrong_parameter_400(client: WorklistClient) -> None:
    answer = client.http.get("/workitems", params={"PatientID": "nobody"})
    assert (answer.status_code, answer.content) == (204, b"")
    for wrong in ({"NoSuchKeyword": "1"}, {"limit": "x"}, {"ScheduledProcedureStepStartDateTime": "tomorrow"}):
        assert client.http.get("/workitems", params=wrong).status_code == 400


@check("11.9.3.3")
def results_as_xml(client: WorklistClient) -> None:
    client.created()
    answer = client.http.get("/workitems", headers={"Accept": f'multipart/related; type="{XML}"'})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("multipart/related")
    assert b"<NativeDicomModel" in answer.content


@check("11.9.2")
def a_search_finds_what_was_acknowledged_just_now(client: WorklistClient) -> None:
    uid, transaction = client.claimed()
    assert [each.ProcedureStepState for each in client.search(SOPInstanceUID=uid)] == ["IN PROGRESS"]
    client.state(uid, "CANCELED", transaction)
    assert [each.ProcedureStepState for each in client.search(SOPInstanceUID=uid)] == ["CANCELED"]


@pytest.mark.parametrize("function", check.parameters())
def test_this_archive(worklist: WorklistClient, function: Check) -> None:
    function(worklist)
