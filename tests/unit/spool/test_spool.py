from __future__ import annotations

import os
from pathlib import Path

import pytest

from vna.domain.errors import ConfigurationError, OutOfResourcesError
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
    assert spool.source(entry).read() == b"abcdefg"
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


def test_foreign_files_are_passed_over_and_counted(spool: Spool) -> None:
    (spool.files.path / "ab").mkdir()
    (spool.files.path / "ab" / "README").write_text("x")
    (spool.segments / "0123456789ab.seg").write_bytes(b"no segment")
    with spool.begin(ORIGIN) as file:
        entry = file.seal()
    assert list(spool.entries()) == [entry]
    counted = spool.count()
    assert (counted.entries, counted.unknown, counted.damaged) == (1, 1, 1)


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path, min_free_bytes=1 << 62)
    with pytest.raises(OutOfResourcesError, match="below the limit"):
        spool.begin(ORIGIN)
    assert list(spool.partial.iterdir()) == []


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_failed_sync_of_a_file_leaves_no_entry(spool: Spool, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def broken(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    with spool.begin(ORIGIN) as file:
        file.write(b"abc")
        (spool.path / "files" / file._nonce[:2]).mkdir()
        monkeypatch.setattr(os, call, broken)
        with pytest.raises(OutOfResourcesError):
            file.seal()
    assert list(spool.entries()) == []
    assert list(spool.partial.iterdir()) == []
    assert spool.trouble()["count"] == 1


def test_a_folder_that_failed_once_is_not_believed_again(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failed = os.fsync, []

    def broken_once(fd: int) -> None:
        # Not one of a segment that another test's spool makes in the background.
        if not failed and os.readlink(f"/proc/self/fd/{fd}") == str(spool.files.path / "ab"):
            failed.append(fd)
            raise OSError(5, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "urandom", lambda size: b"\xab" * size)
    (spool.files.path / "ab").mkdir()
    monkeypatch.setattr(os, "fsync", broken_once)
    for _ in range(2):
        with spool.begin(ORIGIN) as file:
            file.write(b"x")
            with pytest.raises(OutOfResourcesError):
                file.seal()
    assert list(spool.entries()) == []


def test_trouble_is_told_until_somebody_has_looked(spool: Spool) -> None:
    assert spool.trouble() == {}
    spool.note_trouble(OSError(5, "Input/output error"))
    spool.note_trouble(OSError(5, "bad sector"))
    assert spool.trouble()["count"] == 2
    assert "bad sector" in str(spool.trouble()["error"])
    spool.forget_trouble()
    assert spool.trouble() == {}


def test_a_spool_of_a_later_format_is_refused(spool: Spool) -> None:
    spool.close()
    (spool.path / "format.json").write_text('{"format": 3}')
    with pytest.raises(ConfigurationError, match="another version"):
        Spool(spool.path)


def test_a_folder_that_is_no_spool_is_refused_where_none_may_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Is its disk mounted"):
        Spool(tmp_path / "spool", create=False)
    Spool(tmp_path / "spool").close()
    Spool(tmp_path / "spool", create=False).close()
