"""Orthanc as the modality: it stores, and asks for storage commitment as SCU."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.support.archive import running_archive
from tests.support.dimse_services import part10
from tests.support.orthanc import running_orthanc
from tests.support.ports import free_port, wait_until


def test_orthanc_is_told_what_is_stored_and_what_is_not(tmp_path: Path) -> None:
    port = free_port()
    peers = json.dumps({"ORTHANC": {"host": "127.0.0.1", "port": port}})
    settings = {"VNA_DIMSE__PEERS": peers, "VNA_COMMITMENT__CHECK_SECONDS": "1"}
    with ExitStack() as stack:
        archive = stack.enter_context(running_archive(tmp_path / "data", **settings))
        known = {"AET": "VNA", "Host": "127.0.0.1", "Port": archive.dimse_port, "AllowStorageCommitment": True}
        orthanc = stack.enter_context(
            running_orthanc(tmp_path / "orthanc", DicomPort=port, DicomModalities={"vna": known})
        )
        client = httpx.Client(base_url=f"http://127.0.0.1:{orthanc.http_port}", timeout=60)
        files = [part10(1, 1, number) for number in (1, 2)]
        ids = [client.post("/instances", content=data).raise_for_status().json()["ID"] for data in files]
        # The first alone is sent; of the second the archive knows nothing.
        client.post("/modalities/vna/store", content=ids[0]).raise_for_status()
        for resources, status in (([ids[0]], "Success"), (ids, "Failure")):
            asked = client.post("/modalities/vna/storage-commitment", json={"Resources": resources})
            path = asked.raise_for_status().json()["Path"]
            wait_until(lambda path=path: client.get(path).json()["Status"] != "Pending", 60)
            found = client.get(path).json()
            assert found["Status"] == status
            assert [each["SOPInstanceUID"] for each in found["Success"]] == ["1.2.3.1.1.1"]
        assert [(each["SOPInstanceUID"], each["FailureReason"]) for each in found["Failures"]] == [
            ("1.2.3.1.1.2", 0x0112)
        ]
        client.close()
