"""The worklist through several gateway processes at once: who wins, who is told, who may, and what lasts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydicom.uid import generate_uid
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.test_access import PHRASE, basic, bearer, submit
from tests.support.http_gateway import HttpGateway
from tests.support.ports import wait_until
from tests.support.workitems import GLOBAL, WorklistClient, event, warnings, work_item
from vna.domain.audit import Kind
from vna.security.audit_filter import AuditFilter
from vna.security.limits import Limits
from vna.security.principals import Role


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    """A gateway that answers without credentials."""
    gateway = HttpGateway(tmp_path_factory.mktemp("first"), VNA_HTTP__ALLOW_ANONYMOUS="loopback")
    yield gateway
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log.read_text()


def beside(first: HttpGateway, folder: Path, *, develop: bool = True, **more: str) -> HttpGateway:
    """Start another gateway on the same objects."""
    return HttpGateway(folder, develop=develop, VNA_STORE__PATH=str(first.settings().objects_path), **more)


@pytest.fixture(scope="module")
def second(first: HttpGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    """Another gateway on the same objects, closed to those without credentials."""
    gateway = beside(first, tmp_path_factory.mktemp("second"), VNA_HTTP__ALLOW_ANONYMOUS="never")
    yield gateway
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log.read_text()


@pytest.fixture(scope="module")
def here(first: HttpGateway) -> Iterator[WorklistClient]:
    client = WorklistClient(first.base)
    yield client
    client.close()


@pytest.fixture(scope="module")
def there(second: HttpGateway) -> Iterator[WorklistClient]:
    client = WorklistClient(second.base, bearer(second.archive.accounts.add_key("algorithm", Role.TECHNOLOGIST)))
    yield client
    client.close()


def together(*calls: Callable[[], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [each.result() for each in [pool.submit(call) for call in calls]]


def test_of_many_who_claim_one_wins(here: WorklistClient, there: WorklistClient) -> None:
    for _ in range(5):
        uid = here.created()
        locks = {str(generate_uid()): (here, there)[number % 2] for number in range(8)}
        calls = [partial(client.state, uid, "IN PROGRESS", lock) for lock, client in locks.items()]
        answers = dict(zip(locks, together(*calls), strict=True))
        winners = [lock for lock, answer in answers.items() if answer.status_code == 200]
        assert len(winners) == 1
        for lock, answer in answers.items():
            if lock not in winners:
                assert (answer.status_code, warnings(answer)) == (400, ["The Transaction UID is incorrect."])
        # The archive and the winner agree on who it is.
        assert there.update(uid, winners[0], ProcedureStepLabel="mine").status_code == 200


def test_of_many_who_create_one_wins(here: WorklistClient, there: WorklistClient) -> None:
    uid = str(generate_uid())
    answers = together(
        *[
            partial((here, there)[number % 2].create, work_item(ProcedureStepLabel=f"label {number}"), uid)
            for number in range(6)
        ]
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 201)
    assert here.get(uid).ProcedureStepLabel == f"label {winner}"


def test_updates_at_once_are_all_kept(here: WorklistClient, there: WorklistClient) -> None:
    uid = here.created()
    names = ["WorklistLabel", "ProcedureStepLabel", "CommentsOnTheScheduledProcedureStep", "InputReadinessState"]
    answers = together(
        *[partial(client.update, uid, **{name: "UNAVAILABLE"}) for name in names for client in (here, there)]
    )
    assert {answer.status_code for answer in answers} == {200}
    found = there.get(uid)
    assert [found[name].value for name in names] == ["UNAVAILABLE"] * 4


def test_what_one_process_acknowledged_the_other_finds_and_tells(here: WorklistClient, there: WorklistClient) -> None:
    there.search()  # it has all in memory
    with there.listen("FAR") as channel:
        uid = here.created()
        assert there.subscribe(uid, "FAR").status_code == 201
        assert event(channel).ProcedureStepState == "SCHEDULED"
        for state in ("IN PROGRESS", "CANCELED"):
            begin = time.monotonic()
            assert here.state(uid, state, "1.2.3").status_code == 200
            assert [each.ProcedureStepState for each in there.search(SOPInstanceUID=uid)] == [state]
            assert event(channel).ProcedureStepState == state
            assert time.monotonic() - begin < 1
    # Nobody is told twice, nor what happened while nobody listened.
    here.subscribe(uid, "FAR")
    with there.listen("FAR") as channel, pytest.raises(TimeoutError):
        event(channel, 0.6)


def refused(client: WorklistClient, **more: object) -> int:
    with pytest.raises(InvalidStatus) as caught:
        client.listen("ANY", **more)
    return caught.value.response.status_code


def test_who_may_listen_and_ask(second: HttpGateway) -> None:
    accounts = second.archive.accounts
    limited = accounts.add_key("limited", Role.TECHNOLOGIST, limits=Limits.parse(["InstitutionalDepartmentName=A"]))
    accounts.add_user("reader", Role.VIEWER, PHRASE)
    allowed = [bearer(accounts.add_key("viewer", Role.VIEWER)), basic("reader", PHRASE)]
    denied = {
        401: [{}, bearer("vna_0123456789abcdef_" + "a" * 43), basic("reader", "wrong")],
        403: [
            bearer(accounts.add_key("records", Role.RECORDS_MANAGER)),
            bearer(accounts.add_key("research", Role.RESEARCHER)),
            bearer(limited),
        ],
    }
    for headers in allowed:
        client = WorklistClient(second.base, headers)
        uid = client.created()
        assert client.search(SOPInstanceUID=uid)
        with client.listen("ANY") as channel:
            client.subscribe(uid, "ANY")
            assert event(channel)[0x00001000].value == uid
            assert client.unsubscribe(uid, "ANY").status_code == 200
        client.close()
    for status, all_headers in denied.items():
        for headers in all_headers:
            client = WorklistClient(second.base, headers)
            assert client.http.get("/workitems").status_code == status
            assert client.state("1.2.3", "IN PROGRESS", "1.2").status_code == status
            assert refused(client) == status
            client.close()


def test_a_page_of_another_site_cannot_listen(second: HttpGateway, first: HttpGateway) -> None:
    second.archive.accounts.add_user("ann", Role.VIEWER, PHRASE)
    own = {"Origin": second.url, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    with httpx.Client(base_url=second.url, headers=own, trust_env=False) as browser:
        submit(browser, "/ui/sign-in", name="ann", password=PHRASE)
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    signed_in = WorklistClient(second.base, {"Cookie": cookies})
    with signed_in.listen("PAGE", origin=second.url) as channel:
        channel.ping().wait(5)
    anyone = WorklistClient(first.base)
    for client in (signed_in, anyone):
        assert refused(client, origin="https://elsewhere.example") == 403
        assert refused(client, headers={"Sec-Fetch-Site": "cross-site"}) == 403
        client.close()


def test_what_a_client_says_is_bounded_and_a_channel_that_is_none(here: WorklistClient) -> None:
    with here.listen("TALKER") as channel:
        channel.send("hello")
        channel.ping().wait(5)
        with suppress(ConnectionClosed):
            channel.send("x" * 5000)
        with pytest.raises(ConnectionClosed) as caught:
            channel.recv(10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009
    with pytest.raises(InvalidStatus) as wrong:
        here.listen("SEVENTEENLETTERSX")
    assert wrong.value.response.status_code == 400
    assert json.loads(wrong.value.response.body)["error"] == "invalid-input"


def test_what_lasts_over_a_restart(first: HttpGateway, here: WorklistClient, tmp_path: Path) -> None:
    uid, lock = here.claimed()
    gateway = beside(first, tmp_path, develop=False)
    client = WorklistClient(gateway.base)
    client.subscribe(uid, "LASTING", "deletionlock=true")
    client.subscribe(GLOBAL, "LASTING")
    with client.listen("LASTING") as channel:
        client.update(uid, lock, InputReadinessState="INCOMPLETE")
        assert event(channel).InputReadinessState == "INCOMPLETE"
        client.close()
        assert gateway.stop() == 0
        down = event(channel)
        assert (down[0x00001002].value, down.SCPStatus) == (4, "GOING DOWN")
        with pytest.raises(ConnectionClosed) as caught:
            channel.recv(10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001
    gateway = beside(first, tmp_path, develop=False)
    client = WorklistClient(gateway.base)
    assert client.get(uid).ProcedureStepState == "IN PROGRESS"
    with client.listen("LASTING") as channel:
        up = event(channel)
        assert (up.SCPStatus, up.SubscriptionListStatus, up.UnifiedProcedureStepListStatus) == (
            "RESTARTED",
            "WARM START",
            "WARM START",
        )
        new = here.created()
        assert event(channel)[0x00001000].value == new
        assert client.state(uid, "CANCELED", lock).status_code == 200
        assert event(channel)[0x00001002].value == 5
        assert event(channel)[0x00001000].value == uid
    with client.listen("LASTING") as channel, pytest.raises(TimeoutError):
        event(channel, 0.5)
    assert client.unsubscribe(GLOBAL, "LASTING").status_code == 200
    client.close()
    assert gateway.stop() == 0


def test_the_trail_tells_who_did_what_to_a_work_item(second: HttpGateway, there: WorklistClient) -> None:
    uid, lock = there.claimed()
    there.update(uid, lock, ProcedureStepLabel="x")
    there.get(uid)
    there.search(SOPInstanceUID=uid)
    path = f"/dicom-web/workitems/{uid}"

    def told() -> list[tuple[str, str, str, str]]:
        page = second.archive.audit_reader.page(AuditFilter(kind=Kind.PROCEDURE_RECORD), 1000)
        found = [entry.event for entry in page.entries]
        return sorted(
            (each.target.removeprefix(path), each.action, each.participants[0].user, each.studies[0].patient_id)
            for each in found
            if each.target.startswith(path)
        )

    wait_until(lambda: len(told()) == 4, 10, "the trail has four events")
    assert told() == [
        ("", "C", "algorithm", "4711"),
        ("", "R", "algorithm", "4711"),
        ("", "U", "algorithm", "4711"),
        ("/state", "U", "algorithm", "4711"),
    ]


def test_the_trail_tells_who_listens_and_who_may_not(second: HttpGateway, there: WorklistClient) -> None:
    path = "/dicom-web/subscribers/TRAILED"
    curious = WorklistClient(second.base, bearer(second.archive.accounts.add_key("curious", Role.RECORDS_MANAGER)))
    with there.listen("TRAILED"), pytest.raises(InvalidStatus):
        curious.listen("TRAILED")
    curious.close()

    def told() -> dict[Kind, str]:
        page = second.archive.audit_reader.page(AuditFilter(), 1000)
        events = [entry.event for entry in page.entries if entry.event.target == path]
        return {each.kind: each.detail for each in events}

    wait_until(lambda: len(told()) == 2, 10, "the trail has two events")
    assert told() == {
        Kind.PROCEDURE_RECORD: "notification-channel",
        Kind.SECURITY_ALERT: "WebSocket refused with 403",
    }


def test_channels_and_events_are_counted(first: HttpGateway, here: WorklistClient) -> None:
    with here.listen("COUNTED") as channel:
        here.subscribe(here.created(), "COUNTED")
        event(channel)
        text = httpx.get(f"{first.url}/metrics", trust_env=False).text
        assert re.search(r"^vna_ups_channels 1\.0$", text, re.MULTILINE)
        assert re.search(r'^vna_ups_events_total{type="1"} [1-9]', text, re.MULTILINE)


def test_work_items_end_when_their_time_is_over_and_no_lock_is_left(first: HttpGateway, here: WorklistClient) -> None:
    free, _ = here.ended("COMPLETED")
    locked, _ = here.ended("CANCELED")
    running, _ = here.claimed()
    here.subscribe(locked, "KEEPER", "deletionlock=true")
    worklist = first.archive.worklist
    assert worklist.remove_expired(1) == 0
    assert worklist.remove_expired(-1) >= 1
    assert here.http.get(f"/workitems/{free}").status_code == 410
    assert here.search(SOPInstanceUID=free) == []
    assert here.update(free, ProcedureStepLabel="x").status_code == 410
    assert here.create(work_item(), free).status_code == 409
    assert here.get(locked).ProcedureStepState == "CANCELED"
    assert here.get(running).ProcedureStepState == "IN PROGRESS"
    assert here.unsubscribe(locked, "KEEPER").status_code == 200
    assert worklist.remove_expired(-1) == 1
    assert here.http.get(f"/workitems/{locked}").status_code == 410
