"""Sending files as foreign clients do, and the part of a file that must come back."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import httpx
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, _config

DCMSEND = "/usr/bin/dcmsend"


_LONG_LENGTHS = {b"OB", b"UN", b"UT", b"SQ"}


def data_set(data: bytes) -> bytes:
    """Return a Part-10 file's data set: what stands after the File Meta Information (PS3.10 7.1)."""
    position = end = 132
    while data[position : position + 2] == b"\x02\x00":
        if data[position + 4 : position + 6] in _LONG_LENGTHS:
            position += 12 + int.from_bytes(data[position + 8 : position + 12], "little")
        else:
            position += 8 + int.from_bytes(data[position + 6 : position + 8], "little")
        end = position
    return data[end:]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def store_raw(port: int, paths: list[Path]) -> dict[Path, int]:
    """Send files by C-STORE with their data sets as they are, byte for byte; return the status of each.

    A file that pynetdicom cannot send (no SOP class, say) has no status.
    """
    _config.STORE_SEND_CHUNKED_DATASET = True
    statuses = {}
    try:
        for path in paths:
            try:
                meta = dcmread(path, stop_before_pixels=True, force=True).file_meta
                sop_class, syntax = meta.MediaStorageSOPClassUID, meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
            except Exception:  # noqa: BLE001 - broken on purpose: another way in takes it
                continue
            entity = AE(ae_title="TESTSCU")
            try:
                entity.add_requested_context(sop_class, syntax)
            except ValueError:
                continue
            association = entity.associate("127.0.0.1", port, ae_title="VNA")
            if not association.is_established:
                continue
            try:
                status = association.send_c_store(path)
                if "Status" in status:
                    statuses[path] = int(status.Status)
            except (ValueError, AttributeError, RuntimeError):
                pass
            finally:
                association.release()
    finally:
        _config.STORE_SEND_CHUNKED_DATASET = False
    return statuses


def stow(web: str, paths: list[Path]) -> httpx.Response:
    """Send files by STOW-RS in one request."""
    boundary = "a-boundary-of-the-tests"
    parts = [
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + path.read_bytes() + b"\r\n"
        for path in paths
    ]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    content_type = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
    return httpx.post(f"{web}/studies", content=body, headers={"Content-Type": content_type}, timeout=120)


def dcmsend(port: int, paths: list[Path], called: str = "VNA") -> str:
    """Send files by dcmtk's dcmsend, and return what it said; it passes over what it cannot read."""
    done = subprocess.run(
        [DCMSEND, "-v", "--no-halt", "--no-uid-checks", "-aec", called, "127.0.0.1", str(port), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.stdout + done.stderr
