"""The Worklist Service, as a checklist of PS3.18 11 and PS3.4 CC, on this archive.

Orthanc has no Unified Procedure Steps, so there is no second server to ask. Each
check says the section that asks for it. Payloads are made and read by pydicom.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.policy import HTTP

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from tests.support.http_gateway import HttpGateway
from tests.support.workitems import (
    FILTERED,
    GLOBAL,
    JSON,
    XML,
    WorklistClient,
    code,
    data_set,
    event,
    performed,
    warnings,
    work_item,
)
from vna.dicom.from_xml import parse_xml
from vna.gateways.dicomweb.native_xml import to_native_xml

Check = Callable[[WorklistClient], None]
CHECKS: list[tuple[str, Check]] = []
UPS_PUSH = "1.2.840.10008.5.1.4.34.6.1"
INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."
NOT_NOW = "The submitted request is inconsistent with the current state of the Workitem."


def check(section: str) -> Callable[[Check], Check]:
    """Enter a check into the list, with the section that asks for it."""

    def enter(function: Check) -> Check:
        CHECKS.append((section, function))
        return function

    return enter


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorklistClient]:
    gateway = HttpGateway(tmp_path_factory.mktemp("ups"), VNA_HTTP__ALLOW_ANONYMOUS="loopback")
    client = WorklistClient(gateway.base)
    yield client
    client.close()
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log.read_text()


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


@check("11.6")
def update_sets_what_it_has_and_nothing_else(client: WorklistClient) -> None:
    uid = client.created()
    answer = client.update(uid, WorklistLabel="OTHER", ScheduledWorkitemCodeSequence=[])
    assert answer.status_code == 200
    assert warnings(answer) == []
    found = client.get(uid)
    assert (found.WorklistLabel, found.ProcedureStepLabel) == ("OTHER", "Find nodules")
    assert found["ScheduledWorkitemCodeSequence"].is_empty


@check("CC.2.6.2")
def update_of_one_in_progress_needs_its_transaction_uid(client: WorklistClient) -> None:
    uid, transaction = client.claimed()
    missing = client.update(uid, ProcedureStepLabel="x")
    assert (missing.status_code, warnings(missing)) == (400, [NOT_NOW, "The Transaction UID is missing."])
    wrong = client.update(uid, "1.2.3", ProcedureStepLabel="x")
    assert (wrong.status_code, warnings(wrong)) == (400, [NOT_NOW, "The Transaction UID is incorrect."])
    assert client.get(uid).ProcedureStepLabel == "Find nodules"
    assert client.update(uid, transaction, ProcedureStepLabel="x").status_code == 200
    assert client.update(uid, TransactionUID=transaction, ProcedureStepLabel="y").status_code == 200
    bare = client.send("POST", f"/workitems/{uid}?{transaction}", data_set(ProcedureStepLabel="z"))
    assert bare.status_code == 200
    assert client.get(uid).ProcedureStepLabel == "z"


@check("11.6.3.2")
def update_by_a_transaction_uid_that_claims_nothing(client: WorklistClient) -> None:
    answer = client.update(client.created(), "1.2.3", ProcedureStepLabel="x")
    assert answer.status_code == 409
    assert warnings(answer) == ["The target URI did not reference a claimed Workitem."]


@check("11.6.2")
def update_of_one_in_a_final_state_is_400(client: WorklistClient) -> None:
    for state in ("COMPLETED", "CANCELED"):
        uid, transaction = client.ended(state)
        answer = client.update(uid, transaction, ProcedureStepLabel="x")
        assert (answer.status_code, warnings(answer)) == (400, [NOT_NOW])


@check("CC.2.5-3, N-SET")
def what_must_not_be_set(client: WorklistClient) -> None:
    uid = client.created()
    for values in (
        {"ProcedureStepState": "IN PROGRESS"},
        {"PatientName": "Roe^Richard"},
        {"PatientID": "0815"},
        {"AdmissionID": "7"},
        {"ReferencedRequestSequence": []},
        {"SOPInstanceUID": "1.2.3"},
        {"ProcedureStepLabel": ""},
        {"ScheduledProcedureStepStartDateTime": ""},
    ):
        assert client.update(uid, **values).status_code == 400, values
    # Who sends back what was retrieved sets nothing by that.
    whole = client.get(uid)
    del whole.ProcedureStepState
    whole.ProcedureStepLabel = "changed"
    assert client.send("POST", f"/workitems/{uid}", whole).status_code == 200


@check("CC.1.1-2")
def the_way_from_scheduled_to_completed(client: WorklistClient) -> None:
    uid, transaction = str(generate_uid()), str(generate_uid())
    client.create(work_item(), uid)
    answer = client.state(uid, "IN PROGRESS", transaction)
    assert (answer.status_code, answer.content, warnings(answer)) == (200, b"", [])
    assert client.get(uid).ProcedureStepState == "IN PROGRESS"
    client.update(uid, transaction, UnifiedProcedureStepPerformedProcedureSequence=performed())
    assert client.state(uid, "COMPLETED", transaction).status_code == 200
    assert client.get(uid).ProcedureStepState == "COMPLETED"


@check("11.7.3")
def a_change_without_or_with_another_transaction_uid(client: WorklistClient) -> None:
    scheduled, (busy, _) = client.created(), client.claimed()
    ended = [client.ended(state)[0] for state in ("COMPLETED", "CANCELED")]
    for state in ("IN PROGRESS", "COMPLETED", "CANCELED"):
        for uid in (scheduled, busy, *ended):
            answer = client.state(uid, state, None)
            assert (answer.status_code, warnings(answer)) == (400, ["The Transaction UID is missing."])
        for uid in (busy, *ended):
            answer = client.state(uid, state, "1.2.3")
            assert (answer.status_code, warnings(answer)) == (400, ["The Transaction UID is incorrect."])


@check("CC.1.1-2")
def changes_that_are_none(client: WorklistClient) -> None:
    busy, transaction = client.claimed()
    completed, canceled = client.ended("COMPLETED"), client.ended("CANCELED")
    for uid, lock, state in (
        (client.created(), "1.2", "COMPLETED"),  # C310
        (client.created(), "1.2", "CANCELED"),
        (busy, transaction, "IN PROGRESS"),  # C302
        (*completed, "IN PROGRESS"),  # C300
        (*canceled, "IN PROGRESS"),
        (*completed, "CANCELED"),
        (*canceled, "COMPLETED"),
    ):
        answer = client.state(uid, state, lock)
        assert (answer.status_code, warnings(answer)) == (409, [INCONSISTENT]), (state, answer.text)


@check("CC.1.1-2")
def no_change_makes_one_scheduled(client: WorklistClient) -> None:
    uid, transaction = client.claimed()
    for target, lock in ((uid, transaction), (client.created(), "1.2"), client.ended("CANCELED")):
        answer = client.state(target, "SCHEDULED", lock)
        assert (answer.status_code, warnings(answer)) == (400, [INCONSISTENT])
    assert client.state(uid, "FINISHED", transaction).status_code == 400


@check("11.7.3.2")
def what_is_in_the_final_state_already_is_told(client: WorklistClient) -> None:
    for state in ("COMPLETED", "CANCELED"):
        uid, transaction = client.ended(state)
        answer = client.state(uid, state, transaction)
        assert answer.status_code == 200
        assert warnings(answer) == [f"The UPS is already in the requested state of {state}."]


@check("CC.2.5.1.1")
def completed_needs_what_was_performed(client: WorklistClient) -> None:
    uid, transaction = client.claimed()
    answer = client.state(uid, "COMPLETED", transaction)
    assert (answer.status_code, warnings(answer)) == (409, [INCONSISTENT])
    assert "UnifiedProcedureStepPerformedProcedureSequence" in answer.json()["detail"]
    for name in (
        "PerformedStationNameCodeSequence",
        "PerformedWorkitemCodeSequence",
        "PerformedProcedureStepStartDateTime",
        "PerformedProcedureStepEndDateTime",
        "OutputInformationSequence",
    ):
        items = performed()
        del items[0][name]
        client.update(uid, transaction, UnifiedProcedureStepPerformedProcedureSequence=items)
        answer = client.state(uid, "COMPLETED", transaction)
        assert answer.status_code == 409, name
        assert name in answer.json()["detail"]
    assert client.get(uid).ProcedureStepState == "IN PROGRESS"


@check("CC.2.5.1.3.2")
def canceled_needs_no_update(client: WorklistClient) -> None:
    uid, transaction = client.claimed()
    assert client.state(uid, "CANCELLED", transaction).status_code == 200  # as 11.7.1.4 spells it
    found = client.get(uid)
    assert found.ProcedureStepState == "CANCELED"
    (progress,) = found.ProcedureStepProgressInformationSequence
    assert progress.ProcedureStepCancellationDateTime
    (reason,) = progress.ProcedureStepDiscontinuationReasonCodeSequence
    assert (reason.CodeValue, reason.CodingSchemeDesignator) == ("110513", "DCM")


@check("11.8, CC.2.2.3")
def a_request_to_cancel_one_that_is_scheduled_cancels_it(client: WorklistClient) -> None:
    uid = client.created()
    answer = client.cancel(
        uid,
        ReasonForCancellation="Twice ordered",
        ProcedureStepDiscontinuationReasonCodeSequence=[code("110510", "Discontinued, rescheduled")],
    )
    assert (answer.status_code, warnings(answer)) == (202, [])
    found = client.get(uid)
    assert found.ProcedureStepState == "CANCELED"
    (progress,) = found.ProcedureStepProgressInformationSequence
    assert progress.ReasonForCancellation == "Twice ordered"
    assert progress.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110510"


@check("11.8")
def a_request_to_cancel_one_in_progress_changes_nothing(client: WorklistClient) -> None:
    uid, _ = client.claimed()
    assert client.cancel(uid).status_code == 202
    assert client.get(uid).ProcedureStepState == "IN PROGRESS"


@check("11.8.3")
def a_request_to_cancel_one_in_a_final_state_is_409(client: WorklistClient) -> None:
    answer = client.cancel(client.ended("CANCELED")[0])
    assert answer.status_code == 409
    assert warnings(answer) == ["The UPS is already in the requested state of CANCELED."]
    answer = client.cancel(client.ended("COMPLETED")[0])
    assert (answer.status_code, warnings(answer)) == (409, [INCONSISTENT])


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


@check("11.10.3")
def a_subscription_tells_where_to_listen(client: WorklistClient) -> None:
    answer = client.subscribe(client.created(), "LISTENER", "deletionlock=true")
    assert (answer.status_code, warnings(answer)) == (201, [])
    assert answer.headers["Content-Location"] == f"{client.base.replace('http', 'ws', 1)}/subscribers/LISTENER"


@check("11.10.3.1")
def subscriptions_that_are_wrong(client: WorklistClient) -> None:
    uid = client.created()
    assert client.subscribe(uid, "AE", "deletionlock=perhaps").status_code == 400
    assert client.subscribe(uid, "AE", "filter=PatientID=1").status_code == 400
    assert client.subscribe(FILTERED, "AE").status_code == 400
    assert client.subscribe(FILTERED, "AE", "filter=NoSuchKeyword=1").status_code == 400
    assert client.subscribe(uid, "A%5CE").status_code == 400
    assert client.subscribe(uid, "SEVENTEENLETTERSX").status_code == 400


@check("11.11.3.1")
def what_is_not_subscribed_cannot_be_ended(client: WorklistClient) -> None:
    uid = client.created()
    assert client.unsubscribe(uid, "NOBODY").status_code == 404
    assert client.subscribe(uid, "SOMEBODY").status_code == 201
    assert client.unsubscribe(uid, "SOMEBODY").status_code == 200
    assert client.unsubscribe(uid, "SOMEBODY").status_code == 404
    for everything in (GLOBAL, FILTERED):
        assert client.unsubscribe(everything, "NOBODY").status_code == 404
        assert client.http.post(f"/workitems/{everything}/subscribers/NOBODY/suspend").status_code == 404
    assert client.http.post(f"/workitems/{uid}/subscribers/SOMEBODY/suspend").status_code == 400


@check("8.10.4")
def a_channel_is_a_websocket(client: WorklistClient) -> None:
    answer = client.http.get("/subscribers/SOMEBODY")
    assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")


@check("11.13, CC.2.4.3")
def a_subscriber_is_told_the_state_at_once_and_each_change(client: WorklistClient) -> None:
    uid, transaction = client.created(), str(generate_uid())
    with client.listen("WATCHER") as channel:
        client.subscribe(uid, "WATCHER")
        first = event(channel)
        assert (first[0x00000002].value, first[0x00001000].value) == (UPS_PUSH, uid)
        assert (first[0x00001002].value, first[0x00000110].value) == (1, 1)
        assert (first.ProcedureStepState, first.InputReadinessState) == ("SCHEDULED", "READY")
        client.state(uid, "IN PROGRESS", transaction)
        assert event(channel).ProcedureStepState == "IN PROGRESS"
        client.update(uid, transaction, ProcedureStepProgressInformationSequence=[data_set(ProcedureStepProgress="40")])
        progress = event(channel)
        assert progress[0x00001002].value == 3
        assert progress.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress == 40
        client.update(uid, transaction, ScheduledStationNameCodeSequence=[code("AI2", "Second", "99TEST")])
        assigned = event(channel)
        assert assigned[0x00001002].value == 5
        assert assigned.ScheduledStationNameCodeSequence[0].CodeValue == "AI2"
        client.update(uid, transaction, InputReadinessState="INCOMPLETE")
        assert event(channel).InputReadinessState == "INCOMPLETE"
        client.cancel(uid, ReasonForCancellation="Too late", RequestingAE="BOARD", ContactDisplayName="Ann")
        asked = event(channel)
        assert asked[0x00001002].value == 2
        assert (asked.RequestingAE, asked.ReasonForCancellation, asked.ContactDisplayName) == (
            "BOARD",
            "Too late",
            "Ann",
        )
        client.update(uid, transaction, ProcedureStepLabel="says nothing to anybody")
        client.state(uid, "CANCELED", transaction)
        last = event(channel)
        assert (last[0x00001002].value, last.ProcedureStepState) == (1, "CANCELED")


@check("CC.1.1-2")
def a_cancellation_while_scheduled_is_told_step_by_step(client: WorklistClient) -> None:
    uid = client.created()
    with client.listen("STEPS") as channel:
        client.subscribe(uid, "STEPS")
        event(channel)
        client.cancel(uid)
        events = [event(channel) for _ in range(3)]
    assert [(each[0x00001002].value, each.get("ProcedureStepState")) for each in events] == [
        (2, None),
        (1, "IN PROGRESS"),
        (1, "CANCELED"),
    ]


@check("CC.2.3-2")
def a_subscription_to_all_covers_what_is_and_what_comes(client: WorklistClient) -> None:
    old, transaction = client.claimed()
    with client.listen("BOARD") as channel:
        assert client.subscribe(GLOBAL, "BOARD").status_code == 201
        client.state(old, "CANCELED", transaction)
        assert event(channel)[0x00001000].value == old
        new = client.created()
        created, assigned = event(channel), event(channel)
        assert (created[0x00001000].value, created.ProcedureStepState) == (new, "SCHEDULED")
        assert assigned[0x00001002].value == 5
        assert client.http.post(f"/workitems/{GLOBAL}/subscribers/BOARD/suspend").status_code == 200
        newer = client.created()
        client.state(newer, "IN PROGRESS", "1.2")
        client.state(new, "IN PROGRESS", "1.2")
        told = event(channel)
        assert (told[0x00001000].value, told.ProcedureStepState) == (new, "IN PROGRESS")
        assert client.unsubscribe(GLOBAL, "BOARD").status_code == 200
        client.state(new, "CANCELED", "1.2")
        client.subscribe(newer, "BOARD")
        assert event(channel)[0x00001000].value == newer
    assert client.unsubscribe(GLOBAL, "BOARD").status_code == 200
    assert client.unsubscribe(newer, "BOARD").status_code == 404


@check("CC.2.3.3.1")
def a_filtered_subscription_covers_what_matches(client: WorklistClient) -> None:
    label = str(generate_uid())[-12:]
    old = client.created(WorklistLabel=label)
    with client.listen("FILTER") as channel:
        keys = f"filter=WorklistLabel={label},ScheduledWorkitemCodeSequence.CodeValue=110004"
        assert client.subscribe(FILTERED, "FILTER", keys).status_code == 201
        client.created()
        new = client.created(WorklistLabel=label)
        assert [event(channel)[0x00001000].value for _ in range(2)] == [new, new]
        client.state(old, "IN PROGRESS", "1.2")
        assert event(channel)[0x00001000].value == old
        # Once subscribed, always: also when it matches no more.
        client.update(old, "1.2", WorklistLabel="another")
        client.state(old, "CANCELED", "1.2")
        last = event(channel)
        assert (last[0x00001000].value, last.ProcedureStepState) == (old, "CANCELED")
    assert client.unsubscribe(FILTERED, "FILTER").status_code == 200


@check("CC.2.4.3")
def a_subscription_to_all_with_a_lock_tells_all_states(client: WorklistClient) -> None:
    known = {each.SOPInstanceUID for each in client.search()}
    with client.listen("LOCKER") as channel:
        client.subscribe(GLOBAL, "LOCKER", "deletionlock=true")
        told = {event(channel)[0x00001000].value for _ in known}
    assert told == known
    client.unsubscribe(GLOBAL, "LOCKER")


@check("11.2, 8.9")
def capabilities_name_the_worklist_service(client: WorklistClient) -> None:
    answer = client.http.request("OPTIONS", "/workitems", headers={"Accept": "application/json"})
    (resource,) = answer.json()["application"]["resources"]["resource"]
    methods = {method["id"]: method for method in resource["method"]}
    assert set(methods) == {"create-workitem", "search-workitems"}
    assert {"name": "workitem", "style": "query"} in methods["create-workitem"]["request"]["param"]
    assert {"name": "ProcedureStepState", "style": "query"} in methods["search-workitems"]["request"]["param"]


@pytest.mark.parametrize(
    "function", [each for _section, each in CHECKS], ids=[f"{section}: {each.__name__}" for section, each in CHECKS]
)
def test_this_archive(archive: WorklistClient, function: Check) -> None:
    function(archive)
