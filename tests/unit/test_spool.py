from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from vna.domain.errors import OutOfResourcesError
from vna.domain.origin import Origin
from vna.ingest.spool import Spool, SpoolEntry

ORIGIN = Origin("dimse", "CT_SCANNER", "VNA", "192.0.2.7")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "deep" / "spool")


def test_what_was_written_is_there_after_seal(spool: Spool) -> None:
    with spool.begin(ORIGIN) as file:
        file.write(b"abc")
        file.write(memoryview(b"defg"))
        entry = file.seal()
    assert spool.file(entry).read_bytes() == b"abcdefg"
    assert entry.length == 7
    assert list(spool.entries()) == [entry]
    assert list(spool.partial.iterdir()) == []


def test_leaving_without_seal_leaves_nothing(spool: Spool) -> None:
    with spool.begin(ORIGIN) as file:
        file.write(b"abc")
    assert list(spool.partial.iterdir()) == []
    assert list(spool.entries()) == []


def test_an_entry_is_read_back_from_its_name(spool: Spool) -> None:
    with spool.begin(ORIGIN) as file:
        entry = file.seal()
    assert SpoolEntry.parse(entry.name) == entry
    assert entry.origin == ORIGIN
    assert entry.nonce in entry.name
    assert len(entry.nonce) == 12


@pytest.mark.parametrize(
    "origin",
    [
        Origin("stow", "山" * 60, "", "2001:db8:85a3:1234:5678:8a2e:0370:7334"),
        Origin("import", "a\0b\0c", "x" * 40, "y" * 90),
        Origin("dimse"),
    ],
)
def test_any_origin_fits_a_file_name(spool: Spool, origin: Origin) -> None:
    with spool.begin(origin) as file:
        entry = file.seal()
    assert len(entry.name) + len(".reason.json") <= 255
    read = SpoolEntry.parse(entry.name).origin
    assert read.protocol == origin.protocol
    assert origin.calling.replace("\0", "").startswith(read.calling)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../../etc/passwd",
        "00065f0000000a.0123456789ab.10.ZGltc2UAAAA.dcm/../x",
        "00065f0000000a.../.10.ZGltc2UAAAA.dcm",
        "00065f0000000a.0123456789ab.zz.ZGltc2UAAAA.dcm",
        "00065f0000000a.0123456789ab.10.bm9uZQAAAA.dcm",
        "00065f0000000a.0123456789ab.10.ZGltc2U.dcm",
        "00065f0000000a.0123456789ab.10.ZGltc2UAAAA.dcm\n",
        "photo.dcm",
    ],
)
def test_no_other_name_is_an_entry(name: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        SpoolEntry.parse(name)


def test_foreign_files_are_passed_over(spool: Spool) -> None:
    (spool.incoming / "README").write_text("x")
    with spool.begin(ORIGIN) as file:
        entry = file.seal()
    assert list(spool.entries()) == [entry]


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path, min_free_bytes=1 << 62)
    with pytest.raises(OutOfResourcesError, match="below the limit"):
        spool.begin(ORIGIN)
    assert list(spool.partial.iterdir()) == []


def test_a_failed_sync_leaves_no_entry(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    with spool.begin(ORIGIN) as file:
        file.write(b"abc")
        monkeypatch.setattr(os, "fdatasync", broken)
        with pytest.raises(OutOfResourcesError):
            file.seal()
    assert list(spool.entries()) == []
    assert list(spool.partial.iterdir()) == []


def test_seals_at_the_same_time_share_folder_syncs(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync
    calls = []
    slow = threading.Event()

    def counted(fd: int) -> None:
        if fd == spool._folder_fd:  # and not one of the log, which is being made
            calls.append(fd)
            slow.wait(0.02)
        real(fd)

    monkeypatch.setattr(os, "fsync", counted)
    entries = []

    def one() -> None:
        with spool.begin(ORIGIN) as file:
            file.write(b"x")
            entries.append(file.seal())

    threads = [threading.Thread(target=one) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries) == 16
    assert 1 <= len(calls) < 16


def test_a_failed_folder_sync_is_not_taken_for_a_good_one_by_those_who_wait(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_fd: int) -> None:
        threading.Event().wait(0.05)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    refused = []

    def one() -> None:
        with spool.begin(ORIGIN) as file:
            file.write(b"x")
            try:
                file.seal()
            except OutOfResourcesError as error:
                refused.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 4
    assert list(spool.entries()) == []
