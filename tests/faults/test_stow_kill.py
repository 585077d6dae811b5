"""The HTTP gateway is killed while metadata and bulk data arrive: what it acknowledged is whole in the spool."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import threading
import time
from pathlib import Path

import httpx
import pydicom
from pydicom.encaps import generate_frames
from pydicom.uid import generate_uid

from tests.support.http_gateway import HttpGateway
from tests.support.instances import copy_of
from vna.domain.errors import IntegrityError
from vna.ingest.spool import Spool

_SENDERS = 3
_ROUNDS = 3
_FRAMES = 4
_TYPE = {"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=BB'}


def _request(uid: str, frames: list[bytes]) -> bytes:
    def text(vr: str, value: object) -> dict[str, object]:
        return {"vr": vr, "Value": [value]}

    metadata = {
        "00080016": text("UI", "1.2.840.10008.5.1.4.1.1.7.4"),
        "00080018": text("UI", uid),
        "0020000D": text("UI", "1.2.3"),
        "0020000E": text("UI", "1.2.3.4"),
        "00280008": text("IS", len(frames)),
        "00280010": text("US", 512),
        "00280011": text("US", 512),
        "00280100": text("US", 8),
        "7FE00010": {"vr": "OB", "BulkDataURI": "pixels"},
    }
    body = b"--BB\r\nContent-Type: application/dicom+json\r\n\r\n" + json.dumps([metadata]).encode() + b"\r\n"
    for frame in frames:
        body += b"--BB\r\nContent-Type: image/jp2\r\nContent-Location: pixels\r\n\r\n" + frame + b"\r\n"
    return body + b"--BB--\r\n"


class _Sender(threading.Thread):
    """Sends instances one after the other until the connection breaks; notes the digests of those acknowledged."""

    def __init__(self, base: str, name: str) -> None:
        super().__init__(daemon=True)
        self._base = base
        self._source = random.Random(name)
        self.acknowledged: set[str] = set()
        self.sent: set[str] = set()

    def run(self) -> None:
        with httpx.Client(trust_env=False, timeout=20) as client:
            while True:
                size = self._source.choice([200, 40_000, 1_500_000])
                frames = [self._source.randbytes(size) for _ in range(_FRAMES)]
                uid = generate_uid()
                digest = hashlib.sha256(b"".join(frames)).hexdigest()
                self.sent.add(digest)
                try:
                    answer = client.post(f"{self._base}/studies", content=_request(uid, frames), headers=_TYPE)
                except httpx.HTTPError:
                    return
                assert answer.status_code == 200, answer.text
                self.acknowledged.add(digest)


def _whole(spool: Spool) -> list[str]:
    """Return the digests of the entries that are whole; the others were not acknowledged."""
    found = []
    for entry in spool.entries():
        with contextlib.suppress(IntegrityError):  # a process was killed before it had written all: not acknowledged
            path = copy_of(spool, entry)
            frames = list(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=_FRAMES))
            found.append(hashlib.sha256(b"".join(frames)).hexdigest())
    return found


def test_killed_at_random_moments_while_instances_are_put_together(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    moments = random.Random(seed)
    acknowledged: set[str] = set()
    sent: set[str] = set()
    for number in range(_ROUNDS):
        gateway = HttpGateway(tmp_path, develop=False)
        try:
            senders = [_Sender(gateway.base, f"{seed}.{number}.{sender}") for sender in range(_SENDERS)]
            for sender in senders:
                sender.start()
            time.sleep(moments.uniform(0.2, 1.0))
        finally:
            gateway.process.kill()
            gateway.process.wait()
            gateway.client.close()
        for sender in senders:
            sender.join(30)
            assert not sender.is_alive()
            acknowledged |= sender.acknowledged
            sent |= sender.sent
        gateway.archive.close()
    spool = Spool(tmp_path / "spool")
    found = _whole(spool)
    spool.close()
    assert len(acknowledged) > _ROUNDS, f"seed {seed}"
    assert len(found) == len(set(found))
    assert acknowledged <= set(found), f"an acknowledged instance is lost, seed {seed}"
    assert set(found) <= sent, f"the spool holds what nobody sent, seed {seed}"
    # Killed between commit and answer: at most one instance for each sender and round.
    assert len(found) - len(acknowledged) <= _ROUNDS * _SENDERS
