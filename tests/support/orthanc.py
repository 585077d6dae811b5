"""A real Orthanc on free ports, with its data in a folder of the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import answers, free_port, wait_until

ORTHANC = "/usr/sbin/Orthanc"
_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


@dataclass(frozen=True, slots=True)
class RunningOrthanc:
    """Where a running Orthanc listens."""

    dimse_port: int
    http_port: int

    @property
    def web(self) -> str:
        """Base URL of DICOMweb."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def rest(self, path: str) -> Any:
        """Return what its own REST interface answers."""
        answer = httpx.get(f"http://127.0.0.1:{self.http_port}/{path}", timeout=60)
        answer.raise_for_status()
        return answer.json()


def _configuration(folder: Path, dimse_port: int, http_port: int) -> dict[str, Any]:
    return {
        "Name": "ORTHANC",
        "DicomAet": "ORTHANC",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": http_port,
        "DicomPort": dimse_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "UnknownSopClassAccepted": True,
        # Its answers to C-FIND are in this character set, whatever the files are in.
        "DefaultEncoding": "Utf8",
        "OverwriteInstances": False,
        # What is compared is the answer, not its promise: no sync spares the disk.
        "SyncStorageArea": False,
        "LimitFindResults": 0,
        "LimitFindInstances": 0,
        "Plugins": [_PLUGIN],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
    }


@contextmanager
def running_orthanc(folder: Path, **further: Any) -> Iterator[RunningOrthanc]:
    """Run an Orthanc that accepts everything from loopback, for a block; ``further`` is configuration of its."""
    folder.mkdir(parents=True, exist_ok=True)
    running = RunningOrthanc(int(further.get("DicomPort", 0)) or free_port(), free_port())
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(_configuration(folder, running.dimse_port, running.http_port) | further))
    log = folder / "orthanc.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [ORTHANC, str(configuration)],
            cwd=folder,
            env=os.environ | {"TCP_NODELAY": "1"},  # without it dcmtk holds each answer back for 40 ms
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    def up() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")[-4000:]
        return answers("127.0.0.1", running.dimse_port) and answers("127.0.0.1", running.http_port)

    try:
        wait_until(up, 60, "Orthanc answers")
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
