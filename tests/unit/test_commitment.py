"""Storage commitment without a network: what is decided, who waits, who has a transaction in hand, what is left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.dimse_services import keep, part10
from tests.support.instances import spool_one
from tests.support.modality import action_information, ct
from vna.bootstrap import Archive
from vna.commitment import state as states
from vna.commitment.commitments import Commitments
from vna.commitment.decision import Fact, Held, Result, judge
from vna.commitment.deliver import Deliverer
from vna.commitment.records import Records
from vna.commitment.report import event_report
from vna.commitment.request import MOST_REFERENCES, Reference, Request, understand
from vna.commitment.state import DECIDING, DELIVERED, FAILED, REPORTING, State
from vna.commitment.waiting import Note, SpoolNotes, may_hold, oldest_of, see
from vna.config import load_settings
from vna.dicom.dataset import EXPLICIT_LITTLE, decode_identifier, encode_answer
from vna.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    OutOfResourcesError,
    UnavailableError,
)
from vna.domain.origin import now_us
from vna.domain.query import Selector
from vna.domain.records import Attributes
from vna.ingest.journal import Journal
from vna.ingest.spool import Spool
from vna.store.folder import FolderStore

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
ASKED = Reference(CT, "1.2.3")
SECOND = 1_000_000
HOUR = 3600 * SECOND


def whole(sop_class: str = CT, held: Held = Held.WHOLE) -> Fact:
    return Fact(sop_class, "1.2", held)


@pytest.mark.parametrize(
    ("facts", "reason", "final"),
    [
        ([], 0x0112, False),
        ([whole()], 0, True),
        ([whole(), whole()], 0, True),
        ([whole(held=Held.GONE)], 0x0112, False),
        ([whole(), whole(held=Held.GONE)], 0x0112, False),
        ([whole(held=Held.DAMAGED)], 0x0110, False),
        ([whole(MR)], 0x0119, True),
        ([whole(MR, Held.GONE), whole()], 0, True),
        ([whole(MR), whole(held=Held.GONE)], 0x0112, False),
    ],
)
def test_what_is_decided_of_an_instance(facts: list[Fact], reason: int, final: bool) -> None:
    found = judge(ASKED, facts, supported=True)
    assert (found.reason, found.final) == (reason, final)


def test_a_class_that_is_not_supported_is_committed_if_it_is_there() -> None:
    assert judge(ASKED, [], supported=False).reason == 0x0122
    assert judge(ASKED, [whole()], supported=False).reason == 0


@pytest.mark.parametrize(
    ("notes", "holds"),
    [
        ([], True),
        ([Note("a", 90 * SECOND)], True),
        ([Note("a", 110 * SECOND)], False),
        ([Note("a", 101 * SECOND)], True),
        ([Note("a", 101 * SECOND, margin_us=0)], False),
        ([Note("a", 110 * SECOND, 99 * SECOND)], True),
        ([Note("a", 110 * SECOND, 105 * SECOND)], False),
        ([Note("a", 110 * SECOND), Note("b", 95 * SECOND)], True),
        ([Note("a", 110 * SECOND), Note("b", 110 * SECOND, 50 * SECOND)], True),
        ([Note("a", 110 * SECOND), Note("b", 110 * SECOND)], False),
        ([Note("a", 110 * SECOND), Note("b", 20 * SECOND)], False),
        ([Note("b", 110 * SECOND)], True),
    ],
)
def test_which_spool_may_hold_what_came_before_a_request(notes: list[Note], holds: bool) -> None:
    assert may_hold(notes, "a", 100 * SECOND, 60) is holds


def _information(transaction: str, references: list[tuple[str, str]]) -> dict[str, object]:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, False
    write_dataset(target, action_information(references, transaction))
    return dict(decode_identifier(target.getvalue(), EXPLICIT_LITTLE))


def test_what_is_asked_is_understood() -> None:
    transaction, references = understand(_information("1.2.9", ct("1.2.3", "1.2.4")))  # type: ignore[arg-type]
    assert transaction == "1.2.9"
    assert references == (Reference(CT, "1.2.3"), Reference(CT, "1.2.4"))


@pytest.mark.parametrize(
    ("transaction", "references", "error"),
    [
        ("", ct("1.2.3"), InvalidInputError),
        ("1.2.9", [], InvalidInputError),
        ("1.2.9", ct(""), InvalidInputError),
        ("1.2.9", [("", "1.2.3")], InvalidInputError),
        ("1.2.9", ct("1.2") * (MOST_REFERENCES + 1), OutOfResourcesError),
    ],
)
def test_what_is_asked_wrongly(transaction: str, references: list[tuple[str, str]], error: type[Exception]) -> None:
    with pytest.raises(error):
        understand(_information(transaction, references))  # type: ignore[arg-type]


def a_request(*uids: str, transaction: str = "1.2.9", ae_title: str = "CT01") -> Request:
    references = tuple(Reference(CT, uid) for uid in uids or ("1.2.3.1.1.1",))
    return Request(ae_title, "10.0.0.1", transaction, references, now_us(), "main")


def test_a_report_has_what_is_committed_and_what_is_not() -> None:
    kind, information = event_report(a_request("1.1", "1.2", "1.3"), Result({1: 0x0112}), "VNA")
    read = decode_identifier(encode_answer(information, EXPLICIT_LITTLE), EXPLICIT_LITTLE)
    assert (kind, read["00081195"].text, read["00080054"].text) == (2, "1.2.9", "VNA")
    assert [item["00081155"].text for item in read["00081199"].items] == ["1.1", "1.3"]
    assert [(item["00081155"].text, item["00081197"].text) for item in read["00081198"].items] == [("1.2", "274")]
    kind, information = event_report(a_request("1.1"), Result({}), "VNA")
    assert (kind, "00081198" in information) == (1, False)
    assert "00081199" not in event_report(a_request("1.1"), Result({0: 0x0112}), "VNA")[1]


# ---- a transaction as documents


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    objects = FolderStore(tmp_path / "objects")
    yield Records(objects)
    objects.close()


def opened(records: Records, request: Request | None = None, seconds: float = 60) -> State:
    _request, state = records.create(request or a_request(), seconds)
    assert state is not None
    return state


def test_a_request_is_there_for_every_other_process(records: Records) -> None:
    state = opened(records)
    other = Records(records._objects)
    assert list(other.open()) == [state]
    assert other.request(state) == records.request(state)
    assert state.held(now_us())


def test_a_request_whose_writer_died_before_its_state_is_due(records: Records) -> None:
    state = opened(records)
    records._objects.delete(f"commitments/open/{state.id}/state-00000001.json")
    (found,) = Records(records._objects).open()
    assert found.is_due(now_us())
    assert records.change(found, found.leased(now_us())).revision == 1


def test_only_one_has_it_in_hand(records: Records) -> None:
    state = opened(records, seconds=0)
    records.change(state, state.leased(now_us()))
    with pytest.raises(ConflictError):
        Records(records._objects).change(state, state.leased(now_us()))


def test_a_repetition_is_the_same_and_other_references_are_a_duplicate(records: Records) -> None:
    request = a_request("1.1", "1.2")
    state = opened(records, request, seconds=0)
    again, same = records.create(replace(request, received_us=now_us()), 60)
    assert same is not None
    assert (again.id, same.revision) == (state.id, state.revision + 1)
    # Somebody has it in hand: there is nothing to do.
    assert records.create(request, 60)[1] is None
    other, third = records.create(a_request("1.1"), 60)
    assert third is not None
    assert (other.duplicate, third.id != state.id) == (True, True)
    assert records.create(a_request("1.1"), 60)[0].id == other.id
    # Another application entity's transactions are its own.
    assert not records.create(a_request("1.1", ae_title="CT02"), 60)[0].duplicate


def ended(records: Records, state: State) -> State:
    reporting = records.change(state, state.decided(now_us(), Result({0: 0x0112})), Result({0: 0x0112}))
    final = records.change(reporting, reporting.end(DELIVERED))
    records.clear_up(final)
    return final


def test_what_has_ended_is_kept_apart_and_can_be_asked_for_again(records: Records) -> None:
    final = ended(records, opened(records))
    assert list(records.open()) == []
    done = records.done(final.id)
    assert done is not None
    assert (done.state, done.result) == (final, Result({0: 0x0112}))
    again = opened(records)
    assert (again.id, again.revision, again.phase) == (final.id, final.revision + 1, DECIDING)
    # Whoever still clears up the old one, late, takes nothing of the new.
    records.clear_up(final)
    assert list(records.open()) == [again]
    assert records.request(again).transaction == "1.2.9"
    # Other references under the old Transaction UID, after its end: a duplicate, too.
    ended(records, again)
    assert records.create(a_request("9.9"), 0)[0].duplicate


def test_an_end_that_a_crash_cut_short_is_ended_again(records: Records) -> None:
    state = opened(records)
    reporting = records.change(state, state.decided(now_us(), Result({})), Result({}))
    final = records.change(reporting, reporting.end(DELIVERED))
    deliverer = Deliverer(_commitments(records), _never, "VNA")
    assert deliverer.run().open == 0
    assert list(records.open()) == []
    assert [each.id for each in records.ended()] == [final.id]


def test_it_is_found_by_the_start_of_its_id_or_transaction(records: Records) -> None:
    state = opened(records, a_request(transaction="1.2.77.1"))
    opened(records, a_request(transaction="1.2.77.2"))
    assert records.find(state.id[:10]) == records.find("1.2.77.1") == state
    with pytest.raises(ConflictError):
        records.find("1.2.77")
    with pytest.raises(NotFoundError):
        records.find("9.9")


def test_what_cannot_be_read_stays_and_stops_nothing(records: Records) -> None:
    state = opened(records)
    records._objects.put("commitments/open/ff/state-00000001.json", b'{"newer": true}')
    records._objects.put("commitments/open/ff/request-00000001.json", b"{}")
    other = opened(records, a_request(transaction="1.2.10"))
    records._objects.put("commitments/open/fe/request-00000001.json", b"{}")
    records._objects.put("commitments/done/ff.json", b"{}")
    assert {each.id for each in records.open()} == {state.id, other.id}
    assert list(records.ended()) == []
    records.forget_before(datetime.now(UTC) + timedelta(days=1))
    assert records._objects.head("commitments/open/ff/state-00000001.json") is not None


# ---- pauses, leases, clocks


def a_state(**changes: object) -> State:
    begun = State("a", 1, 1, "CT01", "1.2", 1, 0, "main", REPORTING, 0, 0, decided_us=100 * HOUR)
    return replace(begun, **changes)  # type: ignore[arg-type]


def test_pauses_grow_to_an_hour_and_end_after_days() -> None:
    state, now, pauses = a_state(), 100 * HOUR, []
    while state.phase == REPORTING:
        state = state.not_told(now, "down", 7 * 86400)
        pauses.append((state.due_us - now) // SECOND)
        now = state.due_us
        assert len(pauses) < 1000
    assert pauses[:4] == [15, 30, 60, 120]
    assert max(pauses) == 3600
    assert state.phase == FAILED
    assert 7 * 24 * HOUR < now - 100 * HOUR < 7 * 24 * HOUR + 3 * HOUR


def test_a_lease_or_a_pause_that_a_wrong_clock_gave_counts_for_nothing() -> None:
    now = 200 * HOUR
    assert a_state(lease_us=now + 60 * SECOND).held(now)
    assert not a_state(lease_us=now + 24 * HOUR).held(now)
    assert not a_state(lease_us=now - 1).held(now)
    assert not a_state(due_us=now + HOUR).is_due(now)
    assert a_state(due_us=now + 24 * HOUR).is_due(now)


def test_looks_grow_to_five_minutes() -> None:
    state, pauses = a_state(phase=DECIDING), []
    for _ in range(10):
        state = state.put_off(0, waiting=True)
        pauses.append(state.due_us // SECOND)
    assert pauses[:3] == [5, 10, 20]
    assert pauses[-1] == 300


# ---- examining, with a real store and index


class _Away:
    """Stands before a part that does not answer."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        def fail(*_: object, **__: object) -> object:
            raise UnavailableError(f"{name}: away")

        return fail


def _never(ae_title: str) -> object:
    raise AssertionError(ae_title)


def _commitments(records: Records) -> Commitments:
    from vna.commitment.commitments import Patience

    return Commitments(records, _Away(), SpoolNotes(records._objects), Patience(3600, 3600))  # type: ignore[arg-type]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    found = Archive(load_settings(data=tmp_path / "data", spool={"min_free_bytes": 0}))
    yield found
    found.close()


def seen_empty(archive: Archive) -> None:
    """Leave a note that the spool of the archive was empty after all that was asked so far."""
    document = {"seen_us": now_us() + 10_000_000, "oldest_us": 0}
    archive.objects.replace("commitments/spools/main.json", json.dumps(document).encode())


def test_every_content_of_an_instance_must_be_in_the_store(archive: Archive, tmp_path: Path) -> None:
    first, second = keep(archive, tmp_path, [part10(1, 1, 1), part10(1, 1, 1, PatientName="Other")])
    assert first.key != second.key
    clear = lambda: see("main", lambda: None)  # noqa: E731 - a spool that is empty
    examine = archive.commitments.examine
    found = examine(a_request("1.2.3.1.1.1"), own=clear)
    assert found is not None
    assert (found.failures, found.studies) == ({}, (("1.2.3.1", CT, 2),))
    # The other content, of which the index has no size: it may be the very one that is meant.
    (current,) = archive.index.locate(Selector(instances=("1.2.3.1.1.1",)))
    other = second if current.key == first.key else first
    archive.objects.delete(other.key)
    found = examine(a_request("1.2.3.1.1.1"), own=clear)
    assert found is not None
    assert found.failures == {0: 0x0112}


def test_while_a_spool_may_hold_it_nothing_is_told(archive: Archive, tmp_path: Path) -> None:
    keep(archive, tmp_path, [part10(1, 1, 1)])
    there, missing = a_request("1.2.3.1.1.1"), a_request("1.2.3.1.1.1", "1.2.3.1.1.2")
    examine = archive.commitments.examine
    assert examine(missing) is None  # nobody has seen the spool
    assert examine(missing, own=lambda: see("main", lambda: missing.received_us / 1e6 - 1)) is None
    # Neither as there: what waits may be other bytes of it, and those are what is asked for.
    assert examine(there, own=lambda: see("main", lambda: there.received_us / 1e6 - 1)) is None
    assert examine(there, own=lambda: see("main", lambda: None)) == Result({}, (("1.2.3.1", CT, 1),))
    found = examine(missing, own=lambda: see("main", lambda: now_us() / 1e6))
    assert found is not None
    assert found.failures == {1: 0x0112}
    # Not for ever.
    late = replace(missing, received_us=missing.received_us - 13 * HOUR)
    found = examine(late, own=lambda: see("main", lambda: 1.0))
    assert found is not None
    assert found.failures == {1: 0x0112}


def test_what_is_stored_between_two_looks_is_committed(archive: Archive, tmp_path: Path) -> None:
    def empties() -> Note:
        # The worker stores it and empties the spool between the first look and this.
        keep(archive, tmp_path, [part10(1, 1, 1)])
        return see("main", lambda: None)

    found = archive.commitments.examine(a_request("1.2.3.1.1.1"), own=empties)
    assert found is not None
    assert found.failures == {}


@pytest.mark.parametrize("part", ["_index", "_objects"])
def test_while_store_or_index_is_away_nothing_is_decided(archive: Archive, tmp_path: Path, part: str) -> None:
    keep(archive, tmp_path, [part10(1, 1, 1)])
    commitments = archive.commitments
    state = opened(commitments.records, a_request("1.2.3.1.1.1"), seconds=0)
    there = getattr(commitments._lookup, part)
    setattr(commitments._lookup, part, _Away())
    seen_empty(archive)
    done = archive.commitment_deliverer.run()
    assert (done.open, done.decided) == (1, 0)
    (put_off,) = commitments.records.open()
    assert (put_off.phase, put_off.waiting) == (DECIDING, False)
    assert "away" in put_off.error
    setattr(commitments._lookup, part, there)
    commitments.records.change(put_off, replace(put_off, due_us=0))
    assert archive.commitment_deliverer.run().decided == 1
    assert state.id == put_off.id


# ---- delivering


class _Peer:
    """Takes reports; answers a status, or is down."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.status = 0
        self.down = False
        self.connections = 0

    @contextmanager
    def connect(self, ae_title: str) -> Iterator[_Peer]:
        self.connections += 1
        if self.down:
            raise UnavailableError(f"{ae_title}: no connection")
        yield self

    def report(self, event_type: int, information: Attributes) -> int:
        assert event_type in {1, 2}
        self.reports.append(information["00081195"]["Value"][0])
        return self.status


def test_reports_to_one_peer_share_an_association_and_pause_together(archive: Archive, tmp_path: Path) -> None:
    keep(archive, tmp_path, [part10(1, 1, 1)])
    records = archive.commitments.records
    for number in range(5):
        opened(records, a_request(transaction=f"1.2.9.{number}"), seconds=0)
    peer, told = _Peer(), []
    deliverer = Deliverer(archive.commitments, peer.connect, "VNA", lambda *ended: told.append(ended))
    peer.down = True
    seen_empty(archive)
    assert deliverer.run().not_told == 5
    assert deliverer.run().not_told == 0  # it is not time yet
    assert peer.connections == 1
    peer.down = False
    for state in records.open():
        records.change(state, replace(state, due_us=0))
    done = deliverer.run()
    assert (done.delivered, peer.connections, len(told)) == (5, 2, 5)
    assert sorted(peer.reports) == [f"1.2.9.{number}" for number in range(5)]
    assert list(records.open()) == []


def test_a_report_that_nobody_takes_is_given_up(archive: Archive, tmp_path: Path) -> None:
    keep(archive, tmp_path, [part10(1, 1, 1)])
    records = archive.commitments.records
    opened(records, seconds=0)
    peer = _Peer()
    peer.status = 0x0110
    deliverer = Deliverer(archive.commitments, peer.connect, "VNA")
    seen_empty(archive)
    assert deliverer.run().not_told == 1
    (state,) = records.open()
    records.change(state, replace(state, due_us=0, decided_us=now_us() - 8 * 24 * HOUR))
    assert deliverer.run().given_up == 1
    (final,) = records.ended()
    assert (final.phase, "0110" in final.error) == (FAILED, True)


def test_revisions_are_pruned_but_for_the_young_the_last_and_the_result(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = archive.commitments.records
    state = opened(records, seconds=0)
    state = records.change(state, state.decided(now_us(), Result({})), Result({}))
    for _ in range(5):
        state = records.change(state, state)
    records.prune(state)
    assert len(list(archive.objects.list("commitments/open/"))) == 8
    monkeypatch.setattr("vna.commitment.records._REVISION_SECONDS", -1)
    records.prune(state)
    names = [info.key.rpartition("/")[2] for info in archive.objects.list("commitments/open/")]
    assert names == ["request-00000001.json", "state-00000002.json", "state-00000007.json"]
    assert records.result(state) == Result({})


def test_what_a_crash_left_of_the_clearing_up_is_swept(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    records = archive.commitments.records
    state = opened(records)
    archive.objects.delete(f"commitments/open/{state.id}/request-00000001.json")
    assert list(records.open()) == []
    records.sweep()
    assert list(archive.objects.list("commitments/open/"))
    monkeypatch.setattr("vna.commitment.records._REVISION_SECONDS", -1)
    records.sweep()
    assert not list(archive.objects.list("commitments/open/"))


def test_notes_of_spools_are_rare_while_nobody_asks(archive: Archive) -> None:
    notes = archive.commitments.notes
    assert notes.write("main", lambda: None, wanted=False) is not None
    assert notes.write("main", lambda: None, wanted=False) is None
    assert notes.write("main", lambda: 5.0, wanted=True) is not None
    assert [(note.spool, note.oldest_us) for note in notes.read()] == [("main", 5 * SECOND)]


def test_states_of_today_are_read_back() -> None:
    state = a_state(error="x", waiting=True)
    assert states.from_json(states.to_json(state)) == state


def test_what_was_tried_and_failed_holds_up_no_commitment(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", log_bytes=0)
    oldest = oldest_of(spool)
    assert oldest() is None
    first, second = (spool_one(spool, bytes([number])) for number in range(2))
    assert oldest() == first.received_us / 1e6
    Journal(spool).hold(first.name, "UnparsableError: not DICOM")
    assert oldest() == second.received_us / 1e6
    spool.finish([second])
    assert oldest() is None
