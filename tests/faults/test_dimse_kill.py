"""The gateway is killed while instances arrive: what it acknowledged is whole in the spool, always."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dimse import CT, EXPLICIT, GatewayProcess, Requestor, context_item, pdu, pdv, store_rq
from tests.support.instances import copy_of
from vna.domain.errors import IntegrityError
from vna.ingest.spool import Spool

_SENDERS = 3
_ROUNDS = 6


class _Sender(threading.Thread):
    """Sends instances one after the other until the connection breaks; notes the digests of those acknowledged."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._name = name
        self.acknowledged: dict[bytes, int] = {}
        self.sent: set[bytes] = set()

    def run(self) -> None:
        source = random.Random(self._name)
        try:
            with Requestor.connect(self._port) as requestor:
                requestor.associate(context_item(1, CT, EXPLICIT))
                number = 0
                while True:
                    number += 1
                    data = source.randbytes(source.choice([200, 10_000, 600_000]))
                    digest = hashlib.sha256(data).digest()
                    self.sent.add(digest)
                    requestor.send(pdu(4, pdv(1, 3, store_rq(f"1.2.{number}"))))
                    for at in range(0, len(data), 100_000):
                        requestor.send(pdu(4, pdv(1, 2 if at + 100_000 >= len(data) else 0, data[at : at + 100_000])))
                    if requestor.status() == 0:
                        self.acknowledged[digest] = len(data)
        except (OSError, AssertionError):
            return


def _digest(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(-length, os.SEEK_END)
        return hashlib.file_digest(file, "sha256").digest()


def _data_set_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(144)
        (length,) = struct.unpack("<I", head[140:])
        file.seek(144 + length)
        return hashlib.file_digest(file, "sha256").digest()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[GatewayProcess]:
    running = GatewayProcess(tmp_path / "data")
    yield running
    running.close()


def _whole(spool: Spool) -> list[bytes]:
    """Return the digests of the entries that are whole; the others were not acknowledged."""
    found = []
    for entry in spool.entries():
        with contextlib.suppress(IntegrityError):  # a process was killed before it had written all: not acknowledged
            path = copy_of(spool, entry)
            found.append(_data_set_digest(path))
    return found


def test_killed_at_random_moments_under_load(process: GatewayProcess) -> None:
    seed = int.from_bytes(os.urandom(4))
    moments = random.Random(seed)
    acknowledged: list[bytes] = []
    sent: set[bytes] = set()
    for number in range(_ROUNDS):
        if number:
            process.start()
        senders = [_Sender(process.port, f"{seed}.{number}.{sender}") for sender in range(_SENDERS)]
        for sender in senders:
            sender.start()
        time.sleep(moments.uniform(0.05, 1.0))
        process.process.kill()
        process.process.wait()
        for sender in senders:
            sender.join(30)
            assert not sender.is_alive()
            acknowledged += sender.acknowledged
            sent |= sender.sent
    found = _whole(process.spool)
    assert len(acknowledged) > _ROUNDS, f"seed {seed}"
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found), f"an acknowledged instance is lost, seed {seed}"
    assert set(found) <= sent, f"the spool holds what nobody sent, seed {seed}"
    # Killed between commit and answer: at most one instance for each sender and round.
    assert len(found) - len(acknowledged) <= _ROUNDS * _SENDERS


def test_a_gateway_that_starts_again_takes_instances_again(process: GatewayProcess) -> None:
    for uid in ("1.2.1", "1.2.2"):
        with Requestor.connect(process.port) as requestor:
            requestor.associate(context_item(1, CT, EXPLICIT))
            requestor.send(pdu(4, pdv(1, 3, store_rq(uid)) + pdv(1, 2, uid.encode())))
            assert requestor.status() == 0
            requestor.send(pdu(4, pdv(1, 3, store_rq("1.2.3")) + pdv(1, 0, b"unfinished")))
            process.process.kill()
            process.process.wait()
        process.start()
    entries = sorted(process.spool.entries(), key=lambda entry: entry.received_us)
    assert [_digest(copy_of(process.spool, entry), 5) for entry in entries] == [
        hashlib.sha256(uid).digest() for uid in (b"1.2.1", b"1.2.2")
    ]
