"""The Worklist Service: subscriptions and events, as a checklist of PS3.18 11 and PS3.4 CC."""

from __future__ import annotations

import pytest
from pydicom.uid import generate_uid

from tests.conformance.ups import UPS_PUSH, Check, Checklist, worklist
from tests.support.workitems import FILTERED, GLOBAL, WorklistClient, code, data_set, event, warnings

__all__ = ["worklist"]

check = Checklist()


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


@pytest.mark.parametrize("function", check.parameters())
def test_this_archive(worklist: WorklistClient, function: Check) -> None:
    function(worklist)
