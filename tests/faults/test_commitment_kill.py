"""Gateway and worker are killed around a storage commitment: who asked is told, once, and never wrongly."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage

from tests.support.dimse import GatewayProcess
from tests.support.dimse_services import keep, part10
from tests.support.modality import Modality, ct, modality
from tests.support.ports import wait_until
from tests.support.valkey import Valkey
from tests.support.worker import Running, start_beat, start_worker
from vna.bootstrap import Archive
from vna.commitment.state import DECIDING
from vna.config import Settings, load_settings

CT = str(CTImageStorage)


class Rig:
    """A gateway, and workers when a test wants them, over one folder and one broker."""

    def __init__(self, folder: Path, broker: Valkey, peer: Modality, **commitment: Any) -> None:
        self.folder = folder / "data"
        self.settings: Settings = load_settings(
            data=self.folder,
            dimse={"peers": peer.peer},
            queue={"broker": broker.url},
            spool={"min_free_bytes": 0, "sweep_seconds": 1, "sweep_age_seconds": 0.2},
            commitment={"check_seconds": 1, **commitment},
        )
        environment = {
            f"VNA_COMMITMENT__{name.upper()}": str(value) for name, value in {"check_seconds": 1, **commitment}.items()
        }
        environment["VNA_DIMSE__PEERS"] = json.dumps(peer.peer)
        self._environment = environment
        self.gateway = GatewayProcess(self.folder, VNA_QUEUE__BROKER=broker.url, **environment)

    def archive(self) -> Archive:
        return Archive(self.settings)

    def store(self, *files: bytes) -> None:
        """Put instances into store and index, without the spool."""
        archive = self.archive()
        keep(archive, self.folder, list(files))
        archive.close()

    def workers(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Running:
        for name, value in self._environment.items():
            monkeypatch.setenv(name, value)
        stack.enter_context(start_beat(self.settings))
        return stack.enter_context(start_worker(self.settings))

    def waiting(self) -> bool:
        archive = self.archive()
        try:
            return any(state.phase == DECIDING for state in archive.commitments.records.open())
        finally:
            archive.close()


@pytest.fixture
def peer() -> Iterator[Modality]:
    with modality() as found:
        yield found


def test_the_gateway_is_killed_between_answer_and_report(
    tmp_path: Path, valkey: Valkey, peer: Modality, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, valkey, peer, same_association_seconds=3)
    try:
        rig.store(part10(1, 1, 1))
        with peer.associate(rig.gateway.port) as assoc:
            # One is missing and an entry waits: the gateway looks again and again.
            with peer.associate(rig.gateway.port, CT) as storing:
                peer.store(storing, part10(1, 1, 2))
            transaction = peer.ask(assoc, ct("1.2.3.1.1.1", "1.2.3.1.1.2"))
            rig.gateway.process.kill()
            rig.gateway.process.wait()
        assert rig.waiting()
        assert not peer.told
        with ExitStack() as stack:
            rig.workers(stack, monkeypatch)
            (told,) = peer.wait(seconds=60)
            assert (told.transaction, told.event_type) == (transaction, 1)
            assert set(told.committed) == {"1.2.3.1.1.1", "1.2.3.1.1.2"}
            time.sleep(5)
            assert len(peer.told) == 1
    finally:
        rig.gateway.close()


def test_what_is_in_the_spool_is_waited_for(
    tmp_path: Path, valkey: Valkey, peer: Modality, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, valkey, peer, same_association_seconds=1)
    try:
        with peer.associate(rig.gateway.port, CT) as assoc:
            peer.store(assoc, *(part10(1, 1, number) for number in range(1, 21)))
            peer.ask(assoc, ct(*(f"1.2.3.1.1.{number}" for number in range(1, 22))))
        time.sleep(3)
        assert not peer.told
        with ExitStack() as stack:
            rig.workers(stack, monkeypatch)
            (told,) = peer.wait(seconds=60)
        # Nothing that was stored is told as missing; what nobody ever sent is, once the spool is empty.
        assert len(told.committed) == 20
        assert told.failed == {"1.2.3.1.1.21": 0x0112}
    finally:
        rig.gateway.close()


def test_a_worker_is_killed_while_it_reports(
    tmp_path: Path, valkey: Valkey, peer: Modality, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, valkey, peer, same_association_seconds=0)
    try:
        rig.store(part10(1, 1, 1))
        peer.deaf()
        with peer.associate(rig.gateway.port) as assoc:
            transaction = peer.ask(assoc, ct("1.2.3.1.1.1"))
        with ExitStack() as stack:
            worker = rig.workers(stack, monkeypatch)
            wait_until(lambda: not rig.waiting(), 60, "it is decided")
            worker.kill()
            # The peer is up again when another worker starts: what was decided is told.
            peer.listen()
            stack.enter_context(start_worker(rig.settings, name="second"))
            (told,) = peer.wait(seconds=90)
            assert (told.transaction, told.committed) == (transaction, ("1.2.3.1.1.1",))
    finally:
        rig.gateway.close()


def test_two_workers_tell_it_once(
    tmp_path: Path, valkey: Valkey, peer: Modality, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, valkey, peer, same_association_seconds=0)
    try:
        rig.store(*(part10(1, 1, number) for number in range(1, 31)))
        with peer.associate(rig.gateway.port) as assoc:
            asked = {peer.ask(assoc, ct(f"1.2.3.1.1.{number}")) for number in range(1, 31)}
        with ExitStack() as stack:
            rig.workers(stack, monkeypatch)
            stack.enter_context(start_worker(rig.settings, name="second"))
            told = peer.wait(30, seconds=90)
            time.sleep(3)
        assert {each.transaction for each in told} == asked
        assert len(peer.told) == 30
    finally:
        rig.gateway.close()
