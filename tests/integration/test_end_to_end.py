"""The main job on real files: received, stored, indexed, found, fetched; or quarantined with a reason.

Runs the archive as a user does, embedded and scaled out, against foreign clients.
"""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import dcmread

from tests.support.archive import RunningArchive, running_archive, scaled_environment
from tests.support.elasticsearch import drop_indices
from tests.support.ports import free_port, wait_until
from tests.support.real_files import real_file, real_files
from tests.support.s3 import S3Service
from tests.support.sending import data_set, dcmsend, sha256, store_raw, stow


@pytest.fixture(scope="module", params=["embedded", "minio", "versitygw"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    data = tmp_path_factory.mktemp(request.param) / "data"
    mover = free_port()
    peers = {
        "VNA_DIMSE__PEERS": f'{{"MOVER": {{"host": "127.0.0.1", "port": {mover}}}}}',
        "TEST_MOVER_PORT": str(mover),
    }
    if request.param == "embedded":
        with running_archive(data, **peers) as running:
            yield running
        return
    s3: S3Service = request.getfixturevalue(request.param)
    elasticsearch: str = request.getfixturevalue("elasticsearch_url")
    environment = scaled_environment(s3, elasticsearch, request.getfixturevalue("valkey_url"))
    with running_archive(data, **environment, **peers) as running:
        yield running
    drop_indices(elasticsearch, environment["VNA_INDEX__PREFIX"])


@pytest.fixture(scope="module")
def sent(archive: RunningArchive, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Send every real file: half by C-STORE, half by STOW-RS, what neither takes by ``vna load``.

    Returns the SHA-256 of the data set of each file, all of which the archive has acknowledged.
    """
    files = list(real_files())
    acknowledged = {path for path, status in store_raw(archive.dimse_port, files[::2]).items() if status == 0}
    for path in files[1::2]:
        answer = stow(archive.web, [path])
        assert answer.status_code in {200, 202, 400, 409}, answer.text
        if answer.status_code == 200:
            acknowledged.add(path)
    rest = [path for path in files if path not in acknowledged]
    assert len(rest) < len(files) / 3, "most real files go in by the protocols"
    folder = tmp_path_factory.mktemp("rest")
    for number, path in enumerate(rest):
        shutil.copy(path, folder / f"{number}-{path.name}")
    archive.vna("load", str(folder), check=False)
    archive.wait_idle()
    return {path: sha256(data_set(path.read_bytes())) for path in files}


def test_every_file_is_stored_byte_for_byte_or_quarantined_with_a_reason(
    archive: RunningArchive, sent: dict[Path, str]
) -> None:
    opened = archive.open()
    stored = {
        sha256(data_set(opened.objects.get(info.key)))
        for info in opened.objects.list("instances/")
        if info.key.endswith(".dcm")
    }
    kept = {sha256(data_set(opened.quarantine.file(item).read_bytes())): item for item in opened.quarantine.list()}
    opened.close()
    missing = [path for path, digest in sent.items() if digest not in stored and digest not in kept]
    skipped = {path: archive.vna("load", str(path), check=False) for path in missing}
    # What is no instance: a file that neither says that it is DICOM nor can be read as a data set, and a DICOMDIR.
    for path, said in skipped.items():
        assert ("DICOMDIR, skipped" in said) or (
            "not DICOM, skipped" in said and path.read_bytes()[128:132] != b"DICM"
        ), f"{path} is neither stored nor in quarantine: {said}"
    assert all(len(item.reason) > 10 for item in kept.values())
    assert len(stored) > 200


def _uids(path: Path) -> tuple[str, str, str]:
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of UIDs that are no UIDs, which are kept as they are
        ds = dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(names))
        study, series, sop = (str(ds.get(name, "")) for name in names)
    return study, series, sop


def test_every_stored_file_is_found_and_fetched_over_http(archive: RunningArchive, sent: dict[Path, str]) -> None:
    by_uids: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for path, digest in sent.items():
        by_uids[_uids(path)].add(digest)
    found = archive.qido("instances", limit="5000")
    assert len(found) > 100
    for hit in found:
        study, series, sop = (hit[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
        answer = httpx.get(
            f"{archive.web}/studies/{study}/series/{series}/instances/{sop}",
            headers={"Accept": "application/dicom; transfer-syntax=*"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        assert sha256(data_set(answer.content)) in by_uids[study, series, sop]


def test_counts_of_studies_add_up(archive: RunningArchive, sent: dict[Path, str]) -> None:
    studies = archive.qido("studies", limit="5000", includefield="all")
    instances = archive.qido("instances", limit="5000")
    assert sum(study["00201208"]["Value"][0] for study in studies) == len(instances)
    assert len({study["0020000D"]["Value"][0] for study in studies}) == len(studies)


def test_findscu_finds_every_study(archive: RunningArchive, sent: dict[Path, str]) -> None:
    find = ["/usr/bin/findscu", "-v", "-S", "-aec", "VNA", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID"]
    done = subprocess.run(
        [*find, "127.0.0.1", str(archive.dimse_port)], capture_output=True, text=True, timeout=60, check=True
    )
    answers = (done.stdout + done.stderr).count("(Pending)")
    assert answers == len(archive.qido("studies", limit="5000"))


def _study_of(archive: RunningArchive, name: str) -> tuple[str, int]:
    uid = str(dcmread(real_file(name), stop_before_pixels=True).StudyInstanceUID)
    return uid, len(archive.qido(f"studies/{uid}/instances", limit="5000"))


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "color3d_jpeg_baseline.dcm", "waveform_ecg.dcm"])
def test_getscu_and_movescu_fetch_a_whole_study(
    archive: RunningArchive, sent: dict[Path, str], tmp_path: Path, name: str
) -> None:
    uid, expected = _study_of(archive, name)
    assert expected
    got, moved = tmp_path / "got", tmp_path / "moved"
    got.mkdir()
    moved.mkdir()
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid}"]
    here = ["127.0.0.1", str(archive.dimse_port)]
    get = ["/usr/bin/getscu", "-v", "-S", "-aec", "VNA", *keys, "-od", str(got), *here]
    done = subprocess.run(get, capture_output=True, text=True, timeout=60, check=False)
    assert len(list(got.iterdir())) == expected, done.stdout + done.stderr
    receiver = subprocess.Popen(
        ["/usr/bin/storescp", "+xa", "-od", str(moved), archive.environment["TEST_MOVER_PORT"]],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: _echoes(int(archive.environment["TEST_MOVER_PORT"])), 10)
        move = ["/usr/bin/movescu", "-S", "-aec", "VNA", "-aem", "MOVER", *keys, *here]
        subprocess.run(move, capture_output=True, timeout=60, check=True)
    finally:
        receiver.kill()
        receiver.wait()
    assert len(list(moved.iterdir())) == expected


def _echoes(port: int) -> bool:
    return (
        subprocess.run(["/usr/bin/echoscu", "127.0.0.1", str(port)], capture_output=True, check=False).returncode == 0
    )


def test_dicomweb_client_reads_what_dcmsend_sent(archive: RunningArchive, sent: dict[Path, str]) -> None:
    files = [path for path in real_files() if path.read_bytes()[128:132] == b"DICM"][:40]
    output = dcmsend(archive.dimse_port, files)
    assert "with status SUCCESS" in output
    archive.wait_idle()
    client = DICOMwebClient(url=archive.web)
    study = client.search_for_studies(search_filters={"PatientID": "1CT1"})[0]
    uid = study["0020000D"]["Value"][0]
    datasets = client.retrieve_study(uid)
    assert datasets
    assert {str(ds.PatientID) for ds in datasets} == {"1CT1"}
    metadata = client.retrieve_study_metadata(uid)
    assert len(metadata) == len(datasets)


def test_reindex_finds_the_same(archive: RunningArchive, sent: dict[Path, str]) -> None:
    before = archive.qido("instances", limit="5000", includefield="all")
    studies = archive.qido("studies", limit="5000", includefield="all")
    archive.vna("reindex")
    assert archive.qido("instances", limit="5000", includefield="all") == before
    assert archive.qido("studies", limit="5000", includefield="all") == studies


def test_status_says_that_all_is_well_but_for_the_quarantine(archive: RunningArchive, sent: dict[Path, str]) -> None:
    wait_until(lambda: "last heartbeat" in archive.vna("status", check=False), 60)
    lines = archive.vna("status", check=False).splitlines()
    assert [line.split()[0] for line in lines if " look " in line] == ["quarantine"]


def test_ctrl_c_stops_everything_cleanly(tmp_path: Path) -> None:
    with running_archive(tmp_path / "data") as archive:
        parts = archive.parts("python")
        assert len(parts) >= 4
        assert archive.stop() == 0
        assert not [part for part in parts if part.is_running()]
    assert "stopped" in archive.log.read_text()
