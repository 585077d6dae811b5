"""The trail is searched: quickly, in stable pages, and with the place of each record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from vna.domain.audit import AuditEvent, Kind, Outcome, Participant, StudyObject, to_record
from vna.domain.errors import InvalidQueryError, NotFoundError
from vna.domain.origin import iso_utc
from vna.security.audit_chain import Head
from vna.security.audit_events import accessed, authentication
from vna.security.audit_filter import AuditFilter
from vna.security.audit_search import AuditReader
from vna.security.audit_state import last_verified, note, place
from vna.security.audit_verify import verify
from vna.store.folder import FolderStore

HOUR = 3_600_000_000
START = 1_767_225_600_000_000  # 2026-01-01 UTC
VNA = Participant("vna")


class Counting(FolderStore):
    """A store that counts what is read of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read = 0

    def get_many(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        self.read += len(keys)
        return super().get_many(keys)


def event(when_us: int, user: str = "ann", patient: str = "P1") -> AuditEvent:
    who = Participant(user, requestor=True, address="10.0.0.7")
    return replace(accessed(who, VNA, (StudyObject("1.2.3", patient),)), when_us=when_us)


class Trail:
    """Chains whose segments were sealed at times of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "objects"
        self.objects = Counting(self.path)
        self.reader = AuditReader(self.objects, folder / "audit")
        self.heads: dict[str, Head] = {}

    def seal(self, when_us: int, *events: AuditEvent, chain: str = "one") -> Head:
        sealed = iso_utc(when_us)
        head = self.heads.get(chain, Head(chain))
        data, head = head.extend([to_record(each) for each in events], {}, sealed[:10].replace("-", "/"), sealed)
        self.objects.put(head.key, data)
        self.heads[chain] = head
        return head

    def users(self, limit: int = 50, **wanted: object) -> list[str]:
        page = self.reader.page(AuditFilter(**wanted), limit)  # type: ignore[arg-type]
        return [entry.event.participants[0].user for entry in page.entries]


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path)


def test_a_page_reads_no_further_back_than_it_must(trail: Trail) -> None:
    minute = HOUR // 60
    for number in range(400):
        at = START + 3 * number * minute
        trail.seal(at, event(at - minute, f"u{number:03}"), event(at - 2 * minute, f"v{number:03}"))
    assert trail.users(3) == ["u399", "v399", "u398"]
    # A clock that was set back an hour is allowed for: twenty segments, and what was read ahead.
    assert trail.objects.read < 80
    trail.objects.read = 0
    page = trail.reader.page(AuditFilter(), 300)
    assert page.entries[-1].event.participants[0].user == "v250"
    assert trail.reader.page(AuditFilter(), 1, page.next).entries[0].event.participants[0].user == "u249"


def test_chains_of_two_nodes_are_one_list_by_time(trail: Trail) -> None:
    trail.seal(START + 5 * HOUR, event(START + 1, "a"), event(START + 3, "c"), chain="one")
    trail.seal(START + 6 * HOUR, event(START + 2, "b"), event(START + 4, "d"), chain="two")
    trail.seal(START + 7 * HOUR, event(START + 5, "e"), chain="one")
    assert trail.users() == list("edcba")
    seen, after = "", ""
    while True:
        page = trail.reader.page(AuditFilter(), 2, after)
        seen += "".join(entry.event.participants[0].user for entry in page.entries)
        # What comes meanwhile moves nothing.
        trail.seal(START + 8 * HOUR, event(START + 8 * HOUR, "x"), chain="two")
        if not (after := page.next):
            break
    assert seen == "edcba"


def test_what_was_sealed_long_after_it_happened_is_found(trail: Trail) -> None:
    day = 24 * HOUR
    trail.seal(START + HOUR, event(START, "before"))
    # The object store was away for five days.
    trail.seal(START + 6 * day, event(START + 2 * day, "late"), event(START + 6 * day - 1, "then"))
    for number in range(7, 60):
        trail.seal(START + number * day, event(START + number * day, "later"))
    trail.objects.read = 0
    assert trail.users(since_us=START + day, until_us=START + 3 * day) == ["late"]
    assert trail.objects.read < 5
    assert trail.users(until_us=START + 3 * day) == ["late", "before"]


def test_every_part_of_a_filter_is_quick_and_exact(trail: Trail) -> None:
    sign_in = replace(authentication(Participant("Straße", requestor=True), VNA, succeeded=False), when_us=START + 9)
    odd = event(START + 2, 'o"dd\\', 'P"9')
    trail.seal(START + HOUR, event(START + 1, "Ann"), odd, event(START + 3, "P1", "ann"), sign_in)
    assert trail.users(user="ANN") == ["Ann"]
    assert trail.users(user="strasse") == trail.users(user="STRASSE") == ["Straße"]
    assert trail.users(user='O"DD\\') == trail.users(patient='P"9') == ['o"dd\\']
    assert trail.users(patient="P1") == ["Ann"]
    assert trail.users(failed=True) == trail.users(kind=Kind.USER_AUTHENTICATION) == ["Straße"]
    assert len(trail.users(failed=False)) == 3
    assert [entry.event for entry in trail.reader.all(AuditFilter(failed=True))] == [sign_in]
    assert sign_in.outcome is Outcome.MINOR_FAILURE


def test_a_long_search_ends_in_time_and_goes_on(trail: Trail) -> None:
    day = 24 * HOUR
    for number in range(10):
        trail.seal(START + number * day + HOUR, event(START + number * day, "rare" if number == 0 else "ann"))
    after, pages, found = "", 0, 0
    while True:
        page = trail.reader.page(AuditFilter(user="rare"), 50, after, seconds=0)
        pages, found = pages + 1, found + len(page.entries)
        if page.looked_us is None:
            break
        after = page.next
        assert after
    assert found == 1
    assert pages > 3


def test_a_long_day_is_left_in_the_middle_and_gone_on_with(trail: Trail) -> None:
    minute = HOUR // 60
    for number in range(300):
        at = START + 4 * number * minute
        trail.seal(at, event(at - 1, "rare" if number in {0, 150} else "ann"))
    after, looked, found = "", [], []
    while True:
        page = trail.reader.page(AuditFilter(user="rare"), 50, after, seconds=0)
        found += [entry.event.when_us for entry in page.entries]
        if page.looked_us is None:
            break
        looked.append(page.looked_us)
        after = page.next
    assert found == [START + 600 * minute - 1, START - 1]
    assert len(looked) > 4
    assert looked == sorted(set(looked), reverse=True)


def test_a_record_is_found_by_its_position_and_has_its_place(trail: Trail) -> None:
    trail.seal(START + HOUR, event(START, "a"), event(START + 1, "b"))
    head = trail.seal(START + 30 * HOUR, event(START + 2, "c"), event(START + 3, "d"), event(START + 4, "e"))
    [*_, entry] = trail.reader.page(AuditFilter(user="c")).entries
    assert trail.reader.entry(entry.position) == entry
    assert (entry.chain, entry.sequence, entry.segment) == ("one", 3, head.key)
    found = place(trail.objects, entry.segment, entry.sequence)
    assert (found.segment, found.problems) == (2, ())
    assert found.sealed == iso_utc(START + 30 * HOUR)
    assert place(trail.objects, entry.segment, 4).previous == found.digest
    assert place(trail.objects, entry.segment, 5).digest == head.record_digest
    path = trail.path / head.key
    path.write_bytes(path.read_bytes().replace(b'"user":"c"', b'"user":"z"'))
    assert len(place(trail.objects, entry.segment, 3).problems) == 2
    for wrong in ("2026-01-02.1.00", "2030-01-02.1.00"):
        assert trail.reader.entry(wrong) is None
    with pytest.raises(InvalidQueryError):
        trail.reader.entry("nonsense")
    for sequence in (2, 6):
        with pytest.raises(NotFoundError):
            place(trail.objects, entry.segment, sequence)


def test_the_last_verification_is_kept(trail: Trail) -> None:
    assert last_verified(trail.objects) is None
    trail.seal(START, event(START))
    note(trail.objects, verify(trail.objects), "root")
    found = last_verified(trail.objects)
    assert found is not None
    assert (found.by, found.chains, found.records, found.problems) == ("root", 1, 1, 0)
