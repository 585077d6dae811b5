"""Broken off transfers, racing workers and contradicting senders against a whole archive; a disk that fills up."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.archive import RunningArchive, running_archive
from tests.support.dimse import CT, EXPLICIT, Requestor, context_item, pdu, pdv, store_rq
from tests.support.instances import part10
from tests.support.oracle import load
from tests.support.ports import wait_until
from tests.support.sending import data_set, sha256, store_raw
from vna.bootstrap import Archive
from vna.domain.identity import metadata_key


def _break_off_dimse(archive: RunningArchive, data: bytes, offset: int, *, abort: bool) -> None:
    with Requestor.connect(archive.dimse_port) as requestor:
        requestor.associate(context_item(1, CT, EXPLICIT))
        requestor.send(pdu(4, pdv(1, 3, store_rq("1.2.3.9.9.9"))))
        whole = pdu(4, pdv(1, 2, data))
        if abort:
            requestor.send(pdu(4, pdv(1, 0, data[:offset])))
            requestor.send(pdu(7, bytes(4)))
        else:
            requestor.send(whole[:offset])


def _break_off_stow(archive: RunningArchive, data: bytes, offset: int) -> None:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--b--\r\n"
    head = (
        "POST /dicom-web/studies HTTP/1.1\r\nHost: here\r\nAccept: application/dicom+json\r\n"
        'Content-Type: multipart/related; type="application/dicom"; boundary=b\r\n'
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", archive.http_port), 10) as connection:
        connection.sendall(head.encode() + body[:offset])


def test_transfers_broken_off_leave_nothing(tmp_path: Path) -> None:
    source = random.Random(3)
    data = part10(9, study=9, series=9, pixels=source.randbytes(200_000))
    with running_archive(tmp_path / "data") as archive:
        with load(archive) as oracle:
            wait_until(lambda: len(oracle.acknowledged) > 5, 30)
            for number in range(30):
                offset = source.randrange(1, 199_000)
                _break_off_dimse(archive, data_set(data), offset, abort=number % 2 == 0)
                _break_off_stow(archive, data, offset)
        oracle.check(archive)


def test_workers_race_on_one_patient(tmp_path: Path) -> None:
    settings = {"VNA_QUEUE__WORKERS": "3", "VNA_SPOOL__BATCH_INSTANCES": "1"}
    with running_archive(tmp_path / "data", **settings) as archive:
        with load(archive, dimse=4, web=1) as oracle:
            time.sleep(5)
        oracle.check(archive)
        opened = archive.open()
        counts = opened.index.counts()
        opened.close()
        assert len(archive.qido("studies", PatientID="P1")) == counts.studies == 4
        assert counts.patients == 1


def _received(opened: Archive, key: str) -> int:
    document = json.loads(opened.objects.get(metadata_key(key)))
    return int(document["received_us"])


def _retrieved(archive: RunningArchive) -> bytes:
    """Return the answer of WADO-RS for the whole archive."""
    answer = httpx.get(
        f"{archive.web}/studies/1.2.3.1",
        headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
        timeout=30,
    )
    answer.raise_for_status()
    return answer.content


def test_same_uids_with_other_bytes_from_two_senders(tmp_path: Path) -> None:
    pair = [part10(1, pixels=bytes([fill]) * 128) for fill in (1, 2)]
    paths = [tmp_path / "a.dcm", tmp_path / "b.dcm"]
    for path, data in zip(paths, pair, strict=True):
        path.write_bytes(data)
    with running_archive(tmp_path / "data") as archive:
        statuses: dict[Path, int] = {}
        threads = [
            threading.Thread(target=lambda path=path: statuses.update(store_raw(archive.dimse_port, [path])))
            for path in paths
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert statuses == dict.fromkeys(paths, 0)
        archive.wait_idle()
        opened = archive.open()
        keys = [info.key for info in opened.objects.list("") if info.key.endswith(".dcm")]
        facts = [info.key for info in opened.objects.list("") if "conflict" in info.key]
        first = min(keys, key=lambda key: (_received(opened, key), key))
        [second] = set(keys) - {first}
        current, other = (data_set(opened.objects.get(key)) for key in (first, second))
        assert {sha256(data_set(opened.objects.get(key))) for key in keys} == {sha256(data_set(one)) for one in pair}
        assert len(facts) == 1
        opened.close()
        before = archive.qido("instances", includefield="all")
        assert len(before) == 1
        answer = _retrieved(archive)
        assert current in answer
        assert other not in answer
        archive.vna("reindex")
        assert archive.qido("instances", includefield="all") == before
        answer = _retrieved(archive)
        assert current in answer
        assert other not in answer


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.fail("mounting a small disk needs root; run the fault tests as root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(tmp_path: Path, small_disk: Path) -> None:
    places = {
        "VNA_SPOOL__PATH": str(small_disk / "spool"),
        "VNA_SPOOL__ALLOW_VOLATILE": "yes",
        "VNA_STORE__PATH": str(small_disk / "objects"),
    }
    with running_archive(tmp_path / "data", **places) as archive:
        # `wait_idle` looks where the spool is by default.
        (archive.data / "spool").symlink_to(small_disk / "spool")
        ballast = small_disk / "ballast"
        with load(archive) as oracle:
            wait_until(lambda: len(oracle.acknowledged) > 20, 30)
            with ballast.open("wb", buffering=0) as file:
                end = time.monotonic() + 6
                while time.monotonic() < end:
                    try:
                        file.write(bytes(1 << 16))
                    except OSError:
                        time.sleep(0.01)
            assert oracle.refused[0xA700]
            assert oracle.refused[503]
            assert set(oracle.refused) == {0xA700, 503}
            before = len(oracle.acknowledged)
            ballast.unlink()
            wait_until(lambda: len(oracle.acknowledged) > before + 20, 30, "it goes on")
        oracle.check(archive)
