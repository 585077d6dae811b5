"""The Worklist Service: update, change of state and cancellation, as a checklist of PS3.18 11 and PS3.4 CC."""

from __future__ import annotations

import pytest
from pydicom.uid import generate_uid

from tests.conformance.ups import INCONSISTENT, NOT_NOW, Check, Checklist, worklist
from tests.support.workitems import WorklistClient, code, data_set, performed, warnings, work_item

__all__ = ["worklist"]

check = Checklist()


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


@pytest.mark.parametrize("function", check.parameters())
def test_this_archive(worklist: WorklistClient, function: Check) -> None:
    function(worklist)
