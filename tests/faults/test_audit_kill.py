"""Who writes and who seals the audit trail is killed at any moment: the chain has neither gap nor double."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from tests.support.dimse import CT, EXPLICIT, GatewayProcess, Requestor, context_item, pdu, pdv, store_rq
from tests.support.ports import wait_until
from tests.support.worker import ROOT
from vna.domain.audit import Kind
from vna.security import audit_journal as journal
from vna.security.audit_filter import AuditFilter
from vna.security.audit_seal import Sealer, read_head
from vna.security.audit_search import AuditReader
from vna.security.audit_verify import verify
from vna.store.folder import FolderStore

_ROUNDS = 8
# Events recorded so long before a process is killed are in the trail: the thread that writes needs the processor once.
_MOMENT = 0.5


def _start(what: str, folder: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.audit_processes", what]
    command += [str(folder / "audit"), str(folder / "objects"), name]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _kill(process: subprocess.Popen[str]) -> list[tuple[int, float]]:
    """Kill a process; return the numbers of what it had recorded, and when."""
    process.kill()
    output, _ = process.communicate()
    whole = output[: output.rfind("\n") + 1]
    return [(int(line.split()[0]), float(line.split()[1])) for line in whole.splitlines()]


def _in_local_log(folder: Path) -> set[str]:
    head = read_head(folder / "audit")
    return {record["id"] for record in journal.unsealed(folder / "audit", head.positions if head else {})}


def test_what_the_local_log_held_is_in_the_chain_once(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    source = random.Random(seed)
    durable: set[str] = set()
    recorded: dict[str, tuple[list[tuple[int, float]], float]] = {}
    for number in range(_ROUNDS):
        writers = {f"w{number}-{each}": _start("record", tmp_path, f"w{number}-{each}") for each in range(2)}
        sealer = _start("seal", tmp_path, "")
        time.sleep(source.uniform(0.7, 1.4))
        victims = [*writers.values(), sealer]
        source.shuffle(victims)
        killed = {}
        for victim in victims:
            when = time.time()
            killed[victim.pid] = (_kill(victim), when)
            time.sleep(source.uniform(0, 0.1))
        recorded |= {name: killed[process.pid] for name, process in writers.items()}
        durable |= _in_local_log(tmp_path)
    objects = FolderStore(tmp_path / "objects")
    sealer_here = Sealer(tmp_path / "audit", objects, "test")
    assert sealer_here.seal() is not None
    entries = list(AuditReader(objects, tmp_path / "audit").all(AuditFilter()))
    (report,) = verify(objects, sealer_here.head())
    assert report.problems == [], f"seed {seed}"
    assert report.segments > _ROUNDS, "the sealers worked beside the writers"
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1)), f"seed {seed}"
    found = {entry.event.id for entry in entries}
    assert len(found) == len(entries), f"doubles, seed {seed}"
    assert durable <= found, f"seed {seed}"
    assert journal.names(tmp_path / "audit") == []
    numbers = defaultdict(list)
    for entry in entries:
        numbers[entry.event.participants[0].user].append(int(entry.event.detail))
    for name, (taken, when) in recorded.items():
        assert sorted(numbers[name]) == list(range(1, len(numbers[name]) + 1)), f"a gap in {name}, seed {seed}"
        must = max((number for number, at in taken if at < when - _MOMENT), default=0)
        assert len(numbers[name]) >= must, f"{name} lost more than its last moment, seed {seed}"


def test_a_gateway_that_is_killed_has_told_of_the_associations_before(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data")
    try:
        for number in range(3):
            with Requestor.connect(gateway.port) as requestor:
                requestor.associate(context_item(1, CT, EXPLICIT))
                requestor.send(pdu(4, pdv(1, 3, store_rq(f"1.2.{number}")) + pdv(1, 2, b"anything")))
                assert requestor.status() == 0
                requestor.send(pdu(5, bytes(4)))
                assert requestor.read()[0] == 6  # A-RELEASE-RP
        folder = tmp_path / "data" / "audit"

        def told() -> int:
            return sum(record["kind"] == Kind.BEGIN_TRANSFERRING for record in journal.unsealed(folder, {}))

        wait_until(lambda: told() == 3, 10, "three associations are told")
    finally:
        gateway.close()
    objects = FolderStore(tmp_path / "objects")
    Sealer(folder, objects, "test").seal()
    kinds = [entry.event.kind for entry in AuditReader(objects, folder).all(AuditFilter())]
    assert kinds.count(Kind.BEGIN_TRANSFERRING) == 3
    assert kinds.count(Kind.APPLICATION_ACTIVITY) == 1
