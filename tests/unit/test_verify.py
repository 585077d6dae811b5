"""What is stored is compared with its keys, its documents and the index; a resend mends what is damaged."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.instances import ORIGIN, part10
from vna.cli.verify import command
from vna.config import Settings, StoreSettings
from vna.domain.errors import NotFoundError
from vna.domain.identity import metadata_key
from vna.domain.origin import now_us
from vna.domain.records import IndexedInstance
from vna.index.sqlite import SqliteIndex
from vna.ingest import document
from vna.ingest.damage import Wrong, damages, stored_digest
from vna.ingest.filemeta import content_digest
from vna.ingest.mend import Proved, mend_document, mend_instances
from vna.lifecycle import scrub, verify
from vna.lifecycle.verify import Verified, Verifier, troubles
from vna.ports.objects import Put
from vna.store.folder import FolderStore
from workers.beat import schedule


@dataclass(frozen=True)
class Stored:
    data: bytes
    instance: IndexedInstance
    metadata: bytes

    @property
    def key(self) -> str:
        return self.instance.key


@dataclass(frozen=True)
class Kept:
    """A store and an index."""

    objects: FolderStore
    index: SqliteIndex
    folder: Path

    def build(self, data: bytes) -> Stored:
        path = self.folder / "instance"
        path.write_bytes(data)
        with path.open("rb") as file:
            digest, size = content_digest(file)
        made = document.build(path, digest, size, 1_700_000_000_000_000, ORIGIN)
        return Stored(data, made.instance, made.metadata)

    def store(self, number: int, *, study: int = 1, indexed: bool = True) -> Stored:
        made = self.build(part10(number, study=study))
        self.objects.put_batch([Put(made.key, made.data), Put(metadata_key(made.key), made.metadata)])
        if indexed:
            self.index.upsert([made.instance])
        return made

    def damage(self, key: str, data: bytes) -> None:
        (self.objects.path / key).write_bytes(data)

    def verifier(self) -> Verifier:
        return Verifier(self.objects, self.index, now=lambda: datetime.now(UTC) + timedelta(hours=1))

    def wrong(self) -> dict[str, Wrong]:
        found = self.verifier().everything().wrong
        assert sorted(found, key=str) == sorted(troubles(self.objects), key=str)
        return {each.key: each.wrong for each in found}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    (tmp_path / "data").mkdir()
    with (
        closing(FolderStore(tmp_path / "data" / "objects")) as objects,
        closing(SqliteIndex(tmp_path / "data" / "index.sqlite")) as index,
    ):
        yield Kept(objects, index, tmp_path)


def test_what_is_well_is_well(kept: Kept) -> None:
    stored = [kept.store(number, study=number % 3) for number in range(12)]
    report = kept.verifier().everything()
    assert (report.objects, report.bytes, report.wrong) == (12, sum(len(each.data) for each in stored), [])
    assert list(damages(kept.objects)) == []


def changed(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("how", ["a bit", "cut", "empty"])
def test_damage_is_found_and_told_until_it_is_over(kept: Kept, how: str) -> None:
    whole = kept.store(1)
    damaged = kept.store(2)
    bad = {"a bit": changed(damaged.data), "cut": damaged.data[:-100], "empty": b""}[how]
    kept.damage(damaged.key, bad)
    assert kept.wrong() == {damaged.key: Wrong.DAMAGED}
    assert kept.wrong() == {damaged.key: Wrong.DAMAGED}
    kept.damage(damaged.key, damaged.data)
    assert kept.wrong() == {}
    (fact,) = damages(kept.objects)
    assert (fact.key, fact.wrong, fact.how) == (damaged.key, Wrong.DAMAGED, "well")
    assert fact.found < fact.ended
    assert stored_digest(kept.objects, whole.key)[0] == whole.instance.digest


def test_what_does_not_belong_together_is_found(kept: Kept) -> None:
    good = kept.store(1)
    no_document, no_bytes, no_object, other = (kept.store(number) for number in range(2, 6))
    no_row = kept.store(6, indexed=False)
    kept.objects.delete(metadata_key(no_document.key))
    kept.objects.delete(no_bytes.key)
    kept.objects.delete(no_object.key)
    kept.objects.delete(metadata_key(no_object.key))
    kept.objects.replace(metadata_key(other.key), good.metadata)
    broken = kept.store(7)
    kept.objects.replace(metadata_key(broken.key), b"{")
    lost = kept.store(8, study=9)
    for key in (lost.key, metadata_key(lost.key)):
        kept.objects.delete(key)
    assert kept.wrong() == {
        no_document.key: Wrong.NO_DOCUMENT,
        metadata_key(no_bytes.key): Wrong.NO_BYTES,
        no_bytes.key: Wrong.NO_OBJECT,
        no_object.key: Wrong.NO_OBJECT,
        metadata_key(other.key): Wrong.DOCUMENT,
        metadata_key(broken.key): Wrong.DOCUMENT,
        no_row.key: Wrong.NO_ROW,
        lost.key: Wrong.NO_OBJECT,
    }


def test_what_is_on_its_way_is_not_wrong(kept: Kept) -> None:
    kept.store(1, indexed=False)
    made = kept.build(part10(2))
    kept.objects.put(made.key, made.data)
    assert Verifier(kept.objects, kept.index).everything().wrong == []


def test_bytes_that_cannot_be_read_are_damaged(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = kept.store(1)
    other = kept.store(2)
    path, pread = str(kept.objects.path / stored.key), os.pread

    def bad_sector(descriptor: int, count: int, offset: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}") == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, count, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", bad_sector)
        assert kept.wrong() == {stored.key: Wrong.DAMAGED}
        assert mend_instances(kept.objects, [proved(stored), proved(other)]) == [stored.key]
    assert kept.objects.get(stored.key) == stored.data


def test_one_study_is_verified_alone(kept: Kept) -> None:
    here, elsewhere = kept.store(1, study=1), kept.store(1, study=2)
    for stored in (here, elsewhere):
        kept.damage(stored.key, b"bad")
    report = kept.verifier().study(here.instance.uids.study)
    assert [each.key for each in report.wrong] == [here.key]
    assert kept.wrong().keys() == {here.key, elsewhere.key}
    kept.damage(here.key, here.data)
    kept.verifier().study(here.instance.uids.study)
    assert [each.key for each in troubles(kept.objects)] == [elsewhere.key]


def proved(stored: Stored) -> Proved:
    return Proved(Put(stored.key, stored.data, "application/dicom"), stored.instance.digest)


def test_a_resend_mends_what_is_damaged(kept: Kept) -> None:
    good, damaged, gone = (kept.store(number) for number in range(3))
    bad = changed(damaged.data)
    kept.damage(damaged.key, bad)
    kept.objects.delete(gone.key)
    mended = mend_instances(kept.objects, [proved(each) for each in (good, damaged, gone)])
    assert mended == [damaged.key, gone.key]
    assert kept.objects.get(damaged.key) == damaged.data
    facts = {fact.key: fact for fact in damages(kept.objects)}
    assert set(facts) == set(mended)
    assert kept.objects.get(facts[damaged.key].kept) == bad
    assert facts[damaged.key].how == "mended"
    assert kept.wrong() == {}
    assert mend_instances(kept.objects, [proved(damaged)]) == []


def test_the_same_content_of_another_sender_is_no_damage(kept: Kept) -> None:
    stored = kept.store(1)
    # Another Implementation Version Name in the File Meta Information: another length, the same instance.
    at = stored.data.index(b"\x02\x00\x12\x00")
    length = int.from_bytes(stored.data[140:144], "little")
    longer = stored.data[:140] + (length + 12).to_bytes(4, "little") + stored.data[144:at]
    longer += stored.data[at : 144 + length] + b"\x02\x00\x13\x00SH\x04\x00ABCD" + stored.data[144 + length :]
    other = kept.build(longer)
    assert other.key == stored.key
    assert len(other.data) != len(stored.data)
    assert mend_instances(kept.objects, [proved(other)]) == []
    assert kept.objects.get(stored.key) == stored.data
    assert kept.wrong() == {}


def test_a_document_that_cannot_be_read_is_mended_and_one_that_can_is_left(kept: Kept) -> None:
    stored, other = kept.store(1), kept.store(2)
    key, digest = metadata_key(stored.key), stored.instance.digest
    put = Put(key, stored.metadata, "application/dicom+json")
    assert mend_document(kept.objects, put, digest) is False
    for bad in (b"", b"{", b"[1]", other.metadata, stored.metadata[:-50]):
        kept.objects.replace(key, bad)
        assert mend_document(kept.objects, put, digest) is True
        assert kept.objects.get(key) == stored.metadata
    newer = stored.metadata.replace(b'"version":1', b'"version":99')
    assert newer != stored.metadata
    kept.objects.replace(key, newer)
    assert mend_document(kept.objects, put, digest) is False
    assert kept.objects.get(key) == newer


def rounds(kept: Kept, rate: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Verified], scrub.Round, float]:
    """Scrub until a round ends, a step each 30 s; return what the steps found, the round, and how long it took."""
    now = [now_us()]
    monkeypatch.setattr(scrub, "now_us", lambda: now[0])
    monkeypatch.setattr(verify, "YOUNG", timedelta(hours=-1))
    steps = []
    for _ in range(500):
        # Each step is another process.
        with closing(FolderStore(kept.objects.path)) as objects:
            report, ended = scrub.advance(objects, kept.index, rate, 60)
        steps.append(report)
        if ended is not None:
            return steps, ended, (now[0] - ended.began_us) / 1e6
        now[0] += 30_000_000
    raise AssertionError("it does not end")


def test_a_scrub_goes_on_where_it_stopped_and_keeps_to_its_rate(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = [kept.store(number, study=number % 4) for number in range(40)]
    total = sum(len(each.data) for each in stored)
    kept.damage(stored[7].key, changed(stored[7].data))
    lost = kept.store(99, study=3)
    kept.objects.delete(lost.key)
    kept.objects.delete(metadata_key(lost.key))
    assert scrub.last_round(kept.objects) is None
    steps, ended, seconds = rounds(kept, 100, monkeypatch)
    assert (ended.objects, ended.bytes) == (40, total)
    assert scrub.last_round(kept.objects) == ended
    assert max(report.objects for report in steps) < 10
    # Bytes a second, but for what the first step and the last object are ahead of their time.
    assert total / 100 - 30 - len(stored[0].data) / 100 <= seconds <= total / 100 + 120
    assert {each.key for each in troubles(kept.objects)} == {stored[7].key, lost.key}


def test_rows_are_gone_on_with_where_it_stopped_whatever_was_removed(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_MOVED", 2)
    stored = {each.instance.uids.study_id: each for each in (kept.store(1, study=n) for n in range(20))}
    order = sorted(stored)
    whole = list(kept.verifier().rows())
    assert whole == list(zip(order, range(20), strict=True))
    assert [name for name, _ in kept.verifier().rows(*whole[9])] == order[10:]
    # More were removed before its place than it goes back.
    kept.index.remove([stored[name].instance.uids.instance_id for name in order[:6]])
    assert [name for name, _ in kept.verifier().rows(*whole[9])] == order[10:]
    kept.index.upsert([stored[name].instance for name in order[:6]])
    kept.index.remove([stored[name].instance.uids.instance_id for name in order[8:]])
    assert [name for name, _ in kept.verifier().rows(*whole[9])] == []


def test_a_round_ends_the_facts_of_what_is_gone(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = kept.store(1)
    kept.damage(stored.key, b"bad")
    assert kept.wrong() == {stored.key: Wrong.DAMAGED}
    kept.index.remove([stored.instance.uids.instance_id])
    for key in (stored.key, metadata_key(stored.key)):
        kept.objects.delete(key)
    rounds(kept, 1 << 20, monkeypatch)
    assert troubles(kept.objects) == []
    # The next round begins a day after the last one did.
    assert scrub.advance(kept.objects, kept.index, 1 << 20) == (Verified(), None)


def test_it_is_sent_by_the_clock_unless_it_is_turned_off() -> None:
    assert "scrub" in schedule(Settings())
    assert "scrub" not in schedule(Settings(store=StoreSettings(verify_bytes_second=0)))


def test_the_command_tells_what_is_wrong(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VNA_DATA", str(kept.folder / "data"))
    monkeypatch.setattr(verify, "YOUNG", timedelta(hours=-1))
    good, bad = kept.store(1, study=1), kept.store(1, study=2)
    run = CliRunner().invoke
    found = run(command, ["--all"])
    assert (found.exit_code, "2 instances" in found.output) == (0, True)
    kept.damage(bad.key, b"bad")
    assert run(command, ["--study", good.instance.uids.study]).exit_code == 0
    found = run(command, ["--study", bad.instance.uids.study])
    assert found.exit_code == 1
    assert f"damaged: {bad.key}" in found.output
    found = run(command, [])
    assert found.exit_code == 1
    assert f"damaged: {bad.key}" in found.output
    kept.damage(bad.key, bad.data)
    assert run(command, ["--all"]).exit_code == 0
    assert run(command, []).exit_code == 0
    assert run(command, ["--all", "--study", "1"]).exit_code == 2


def test_a_study_that_there_is_not_is_told(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VNA_DATA", str(kept.folder / "data"))
    done = CliRunner().invoke(command, ["--study", "1.2.99"])
    assert done.exit_code != 0
    assert isinstance(done.exception, NotFoundError)
