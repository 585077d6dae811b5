"""The audit trail: local log, chain, verification, search."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vna.domain.audit import AuditEvent, Kind, Participant, QueryObject, StudyObject, from_record, to_record
from vna.domain.errors import InvalidQueryError, UnavailableError
from vna.domain.origin import now_us
from vna.ports.objects import Put
from vna.security.audit import AuditTrail
from vna.security.audit_chain import Head
from vna.security.audit_events import accessed, query, refused_access
from vna.security.audit_filter import AuditFilter
from vna.security.audit_forward import Forwarder
from vna.security.audit_journal import JournalWriter, names
from vna.security.audit_repeats import Repeats
from vna.security.audit_seal import Sealer, read_head
from vna.security.audit_search import AuditReader
from vna.security.audit_verify import problems, verify
from vna.store.folder import FolderStore

WHO = Participant("alice", requestor=True, address="10.0.0.7")
VNA = Participant("vna", alternative="VNA")


def event(number: int = 1, patient: str = "P1") -> AuditEvent:
    return accessed(WHO, VNA, (StudyObject(f"1.2.{number}", patient, (("1.2.840", 3),)),))


class Node:
    """A local log, an object store and a sealer between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "audit"
        self.root = folder / "objects"
        self.objects = FolderStore(self.root)
        self.sealer = Sealer(self.folder, self.objects, "test")
        self.reader = AuditReader(self.objects, self.folder)

    def write(self, *events: AuditEvent) -> None:
        """Write as a process that then ends."""
        writer = JournalWriter(self.folder)
        writer.write(events)
        writer.sync()
        writer.close()

    def seal(self, *events: AuditEvent) -> None:
        self.write(*events)
        assert self.sealer.seal() is not None

    def segments(self) -> list[Path]:
        return sorted(self.root.rglob("*.jsonl"))

    def problems(self) -> list[str]:
        return list(problems(verify(self.objects, self.sealer.head())))

    def sequence(self) -> list[int]:
        return [entry.sequence for entry in self.reader.all(AuditFilter())]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_an_event_comes_back_from_its_record_as_it_was() -> None:
    for each in (event(), refused_access(WHO, VNA, "/dicom-web/studies", "GET refused with 403")):
        assert from_record(to_record(each)) == each


def test_what_a_trail_takes_is_read_before_and_after_it_is_sealed(node: Node) -> None:
    trail = AuditTrail(node.folder)
    sent = [event(number) for number in range(5)]
    for each in sent:
        trail.record(each)
    trail.close()
    assert {entry.event for entry in node.reader.page(AuditFilter()).entries} == set(sent)
    node.sealer.seal()
    assert names(node.folder) == []
    page = node.reader.page(AuditFilter())
    assert {entry.event for entry in page.entries} == set(sent)
    assert sorted(entry.sequence for entry in page.entries) == [1, 2, 3, 4, 5]
    assert node.problems() == []


def test_a_name_that_utf_8_cannot_write_is_kept_as_far_as_it_can(node: Node) -> None:
    node.seal(accessed(Participant("a\ud800b"), VNA, ()))
    assert [entry.event.participants[0].user for entry in node.reader.all(AuditFilter())] == ["a?b"]


def test_events_survive_while_their_process_lives_and_are_sealed_once(node: Node) -> None:
    writer = JournalWriter(node.folder)
    for number in range(4):
        writer.write([event(number)])
        node.sealer.seal()
        node.sealer.seal()
    assert node.sequence() == [1, 2, 3, 4]
    assert len(node.segments()) == 4
    assert len(names(node.folder)) == 1
    writer.close()
    node.sealer.seal()
    assert names(node.folder) == []
    assert node.problems() == []


def test_a_line_that_was_cut_short_is_told_and_harms_no_other(node: Node) -> None:
    node.write(event(1), event(2))
    path = node.folder / names(node.folder)[0]
    path.write_bytes(path.read_bytes()[:-20])
    node.write(event(3))
    node.sealer.seal()
    found = [entry.event for entry in node.reader.all(AuditFilter())]
    assert [each.kind for each in found].count(Kind.INSTANCES_ACCESSED) == 2
    assert [each.target for each in found if each.kind is Kind.SECURITY_ALERT] == [path.name]


class _Breaks(FolderStore):
    """A store that does the put, or does not, and says that it failed."""

    broken = ""

    def put_batch(self, puts: list[Put]) -> list[bool]:  # type: ignore[override]
        if self.broken == "before":
            raise UnavailableError("down")
        done = super().put_batch(puts)
        if self.broken == "after":
            raise UnavailableError("timed out")
        return done


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_put_of_which_nobody_knows_whether_it_was_done_makes_no_gap_and_no_double(tmp_path: Path, when: str) -> None:
    node = Node(tmp_path)
    store = _Breaks(node.root)
    sealer = Sealer(node.folder, store, "test")
    node.write(event(1))
    store.broken = when
    with pytest.raises(UnavailableError):
        sealer.seal()
    node.write(event(2))
    store.broken = ""
    sealer.seal()
    assert node.sequence() == [1, 2]
    assert [entry.event.studies[0].uid for entry in node.reader.all(AuditFilter())] == ["1.2.1", "1.2.2"]
    assert node.problems() == []


def test_a_node_that_lost_what_it_knew_of_its_chain_goes_on_with_it(node: Node) -> None:
    writer = JournalWriter(node.folder)
    writer.write([event(1)])
    node.sealer.seal()
    (node.folder / "head.json").unlink()
    writer.write([event(2)])
    node.sealer.seal()
    writer.close()
    assert node.sequence() == [1, 2]
    assert node.problems() == []


def test_two_nodes_of_one_name_have_two_chains(tmp_path: Path) -> None:
    first = Node(tmp_path)
    second = Sealer(tmp_path / "other", first.objects, "test")
    first.seal(event(1))
    writer = JournalWriter(tmp_path / "other")
    writer.write([event(2)])
    writer.close()
    second.seal()
    reports = verify(first.objects)
    assert [report.problems for report in reports] == [[], []]
    assert len({report.chain for report in reports}) == 2


def _edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.chmod(0o640)
    path.write_bytes(data.replace(old, new, 1))


def _drop_line(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))


def _swap(path: Path, one: int, other: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[one], lines[other] = lines[other], lines[one]
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda paths: _edit(paths[1], b"1.2.5", b"9.9.9"), "record 5 was altered"),
        (lambda paths: _drop_line(paths[1], 2), "record 5 is missing"),
        (lambda paths: _swap(paths[1], 1, 2), "record 4 is missing before record 5"),
        (lambda paths: paths[1].unlink(), "segment 2 is missing"),
        (lambda paths: paths[2].unlink(), "segment 3 is missing at its end: this node sealed up to record 9"),
        (lambda paths: _edit(paths[2], b"1.2.9", b"9.9.9"), "its last record that was altered"),
        (lambda paths: _edit(paths[0], b'"count":3', b'"count":4'), "its bytes are not those that its name tells"),
        (lambda paths: (paths[1].parent / "note.txt").write_text("x"), "note.txt: no segment"),
    ],
)
def test_what_was_removed_altered_or_moved_is_found_and_named(
    node: Node, change: Callable[[list[Path]], None], said: str
) -> None:
    now = now_us()
    for start in (1, 4, 7):
        node.seal(*(replace(event(number), when_us=now + number) for number in range(start, start + 3)))
    assert node.problems() == []
    paths = sorted(node.segments(), key=lambda path: path.name)
    change(paths)
    assert said in "\n".join(node.problems())


def test_a_segment_rewritten_with_its_name_breaks_the_one_behind_it(node: Node) -> None:
    now = now_us()
    node.seal(replace(event(1), when_us=now), replace(event(2), when_us=now + 1))
    node.seal(event(3))
    first = min(node.segments(), key=lambda path: path.name)
    head = Sealer(node.folder, node.objects, "x").head()
    assert head is not None
    data, forged = Head(head.chain).extend([to_record(event(7)), to_record(event(8))], {}, head.day, "x")
    first.unlink()
    (node.root / forged.key).write_bytes(data)
    assert "segment 1 is not the one that it follows" in "\n".join(node.problems())


def test_events_are_found_by_what_they_are(node: Node) -> None:
    old = replace(event(1, "P9"), when_us=now_us() - 3_600_000_000)
    new = event(2)
    asked = query(
        Participant("CT01", address="10.0.0.9"), VNA, QueryObject("/dicom-web/studies", "/dicom-web/studies?x")
    )
    node.seal(old, new)
    node.write(asked)

    def found(**wanted: object) -> list[AuditEvent]:
        return [entry.event for entry in node.reader.page(AuditFilter(**wanted)).entries]  # type: ignore[arg-type]

    assert found() == [asked, new, old]
    assert found(patient="P9") == [old]
    assert found(study="1.2.2") == [new]
    assert found(user="ct01") == found(user="10.0.0.9") == found(kind=Kind.QUERY) == [asked]
    assert found(since_us=old.when_us + 1) == [asked, new]
    assert found(until_us=new.when_us) == [old]


def test_pages_follow_each_other_without_gap_or_double(node: Node) -> None:
    now = now_us()
    sent = [replace(event(number), when_us=now - number // 2) for number in range(10)]
    node.seal(*sent[:7])
    node.write(*sent[7:])
    seen: list[str] = []
    after = ""
    while True:
        page = node.reader.page(AuditFilter(), 3, after)
        seen += [entry.event.id for entry in page.entries]
        after = page.next
        if not after:
            break
    assert sorted(seen) == sorted(each.id for each in sent)
    with pytest.raises(InvalidQueryError):
        node.reader.page(AuditFilter(), after="nonsense")


def test_what_comes_again_is_told_at_once_and_then_in_sum() -> None:
    clock = [0.0]
    repeats = Repeats(60, lambda: clock[0])
    first = event()
    assert repeats.add("key", first) == [first]
    for _ in range(5):
        clock[0] += 1
        assert repeats.add("key", event()) == []
    assert repeats.due() == []
    clock[0] = 61
    (told,) = repeats.due()
    assert told.studies[0].instances == 15
    assert told.studies[0].patient_id == "P1"
    assert told.detail == "5 times more"
    assert told.id != first.id
    assert not repeats.waiting


class _Repository:
    def __init__(self) -> None:
        self.got: list[str] = []
        self.down = False

    def send(self, events: list[AuditEvent]) -> None:
        if self.down:
            raise UnavailableError("down")
        self.got += [each.id for each in events]


def test_events_are_sent_on_in_order_also_after_the_repository_was_down(node: Node) -> None:
    repository = _Repository()
    sent = [replace(event(number), when_us=number) for number in range(6)]
    node.seal(*sent[:2])
    Forwarder(node.folder, node.objects, repository).forward()  # type: ignore[arg-type]
    repository.down = True
    node.seal(*sent[2:4])
    with pytest.raises(UnavailableError):
        Forwarder(node.folder, node.objects, repository).forward()  # type: ignore[arg-type]
    repository.down = False
    node.seal(*sent[4:])
    assert Forwarder(node.folder, node.objects, repository).forward() == 4  # type: ignore[arg-type]
    assert Forwarder(node.folder, node.objects, repository).forward() == 0  # type: ignore[arg-type]
    assert repository.got == [each.id for each in sent]


def test_a_full_disk_holds_events_back_and_loses_none(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    full = [True]

    def write(fd: int, data: bytes) -> int:
        if full[0] and b"1.2." in data:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr("vna.security.audit_journal.os.write", write)
    monkeypatch.setattr("vna.security.audit._RETRY_SECONDS", 0.01)
    trail = AuditTrail(node.folder)
    for number in range(3):
        trail.record(event(number))
    time.sleep(0.05)
    assert list(node.reader.page(AuditFilter()).entries) == []
    full[0] = False
    trail.close()
    assert len(node.reader.page(AuditFilter()).entries) == 3
    assert read_head(node.folder) is None
