"""What the loader takes for DICOM, and what it passes over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.dicom_bytes import element, ids, meta
from tests.support.instances import make_settings, part10
from tests.support.real_files import real_file
from vna.bootstrap import Archive
from vna.ingest.load import Loader, LoadReport, Progress, is_directory


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    return root


def load(tmp_path: Path, root: Path) -> LoadReport:
    archive = Archive(make_settings(tmp_path / "data"))
    committer = archive.committer()
    try:
        return Loader(archive.spool, committer, Progress(tmp_path / "notes", root)).load(root)
    finally:
        committer.close()
        archive.close()


def test_a_dicomdir_is_known_by_its_class_whatever_its_name(tmp_path: Path, tree: Path) -> None:
    (tree / "INDEX.DCM").write_bytes(real_file("DICOMDIR").read_bytes())
    (tree / "DICOMDIR").write_bytes(real_file("DICOMDIR").read_bytes())
    (tree / "a.dcm").write_bytes(part10())
    report = load(tmp_path, tree)
    assert report.directories == [tree / "DICOMDIR", tree / "INDEX.DCM"]
    assert (report.stored, report.quarantined, report.skipped) == (1, [], [])
    assert not is_directory(tree / "a.dcm")


def test_a_bare_data_set_is_dicom_and_text_is_not(tmp_path: Path, tree: Path) -> None:
    (tree / "bare").write_bytes(ids() + element(0x00100020, "LO", b"P1"))
    (tree / "readme.txt").write_text("nothing of DICOM here\n" * 20)
    (tree / "empty").touch()
    report = load(tmp_path, tree)
    assert report.stored == 1
    assert report.skipped == [tree / "empty", tree / "readme.txt"]


def test_a_broken_file_is_quarantined_once_and_its_reason_told_each_time(tmp_path: Path, tree: Path) -> None:
    (tree / "cut.dcm").write_bytes(meta() + element(0x00100020, "LO", b"P1"))
    (tree / "copy.dcm").write_bytes(meta() + element(0x00100020, "LO", b"P1"))
    report = load(tmp_path, tree)
    assert [path for path, _ in report.quarantined] == [tree / "copy.dcm", tree / "cut.dcm"]
    assert len({reason for _, reason in report.quarantined}) == 1
    assert all(len(reason) > 10 for _, reason in report.quarantined)
    archive = Archive(make_settings(tmp_path / "data"))
    assert archive.quarantine.count() == 1
    archive.close()
