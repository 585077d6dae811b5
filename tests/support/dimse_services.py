"""An archive filled without the network, and its query and retrieve services behind pynetdicom's listener.

``python -m tests.support.dimse_services FOLDER`` serves an archive in a process
of its own until its standard input is closed, and prints the port.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.support.instances import ORIGIN
from tests.support.memory_queue import MemoryQueue
from vna.bootstrap import Archive
from vna.config import load_settings
from vna.domain.origin import now_us
from vna.domain.records import IndexedInstance
from vna.gateways.dimse.services import make_ae
from vna.ingest.document import build
from vna.ingest.hints import Hints
from vna.ingest.receive import Receiver
from vna.ports.objects import Put


def part10(study: int = 1, series: int = 1, number: int = 1, **attributes: Any) -> bytes:
    """Return a CT image file; a keyword argument sets an attribute, ``None`` leaves it out."""
    syntax = attributes.pop("transfer_syntax", ExplicitVRLittleEndian)
    ds = Dataset()
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"1.2.3.{study}.{series}.{number}",
        "StudyInstanceUID": f"1.2.3.{study}",
        "SeriesInstanceUID": f"1.2.3.{study}.{series}",
        "PatientID": f"P{study}",
        "PatientName": "Doe^Jane",
        "Modality": "CT",
        "SeriesNumber": series,
        "InstanceNumber": number,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 8,
        "Columns": 8,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": bytes(range(128)),
        **attributes,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    target = BytesIO()
    ds.save_as(target, enforce_file_format=True)
    return target.getvalue()


def identifier(level: str | None, **keys: Any) -> Dataset:
    """Return an identifier of a query or retrieval."""
    ds = Dataset()
    if level is not None:
        ds.QueryRetrieveLevel = level
    # What a key holds is often no value of its VR.
    with disable_value_validation():
        for keyword, value in keys.items():
            setattr(ds, keyword, value)
    return ds


def keep(archive: Archive, folder: Path, files: Iterable[bytes | Path]) -> list[IndexedInstance]:
    """Put files into the object store and the index, as the worker does."""
    kept, puts = [], []
    for number, given in enumerate(files):
        path = given if isinstance(given, Path) else folder / f"given-{number}.dcm"
        if isinstance(given, bytes):
            path.write_bytes(given)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        instance = build(path, digest, path.stat().st_size, now_us(), ORIGIN).instance
        puts.append(Put(instance.key, path))
        kept.append(instance)
    archive.objects.put_batch(puts)
    archive.index.upsert(kept)
    archive.index.refresh()
    return kept


@contextmanager
def serving(archive: Archive) -> Iterator[int]:
    """Serve an archive on a free port of this process."""
    services = make_ae(archive)
    server = services.ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(services.handlers))
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        services.close()


@dataclass(frozen=True, slots=True)
class Served:
    """An archive served by another process."""

    port: int
    pid: int


@contextmanager
def serving_elsewhere(folder: Path, peers: dict[str, Any] | None = None) -> Iterator[Served]:
    """Serve the archive of a folder in a process of its own, which pynetdicom's settings for the process are for."""
    environment = {**os.environ, "VNA_DIMSE__PEERS": json.dumps(peers or {}), "VNA_SPOOL__MIN_FREE_BYTES": "0"}
    environment["VNA_HTTP__PICTURE_SECONDS"] = "5"
    command = [sys.executable, "-m", "tests.support.dimse_services", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield Served(int(process.stdout.readline()), process.pid)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


def main() -> None:
    """Serve until standard input ends."""
    archive = Archive(load_settings(data=Path(sys.argv[1])))
    # There is no broker here: what is stored stays in the spool.
    archive.__dict__["receiver"] = Receiver(archive.spool, Hints(MemoryQueue(), "main"))
    with serving(archive) as port:
        print(port, flush=True)
        sys.stdin.read()
    archive.close()


if __name__ == "__main__":
    main()
