"""What archives do while their disk is recorded: real gateways and a worker as processes, senders in this one."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.support.crash_senders import Performer, Sender, StoreSender, StowSender
from tests.support.crash_settings import DATA, clean_environment, crash_environment
from tests.support.dimse import GatewayProcess
from tests.support.http_gateway import HttpGateway
from tests.support.worker import ROOT

# What a process does behind its first answers, such as to make room for what comes, it has done by then.
SETTLE = 2.6
_ASSOCIATIONS = 3


class Disk(Protocol):
    """What archives run on: where it is mounted, and how marks are made."""

    path: Path
    control: Path
    marks: Callable[..., None]


@dataclass(frozen=True, slots=True)
class Workload:
    """Which parts of an archive run, and what they get; each time they are started anew they get it again."""

    name: str
    dimse: int = 0
    http: int = 0
    items: int = 0
    worker: bool = False
    # Its files are synced, too, and with them much else.
    audit: bool = True
    starts: int = 2


WORKLOADS = {
    each.name: each
    for each in (
        Workload("dimse", dimse=8, audit=False),
        Workload("stow", http=8, audit=False),
        Workload("worker", dimse=8, worker=True),
        Workload("items", items=3, worker=True),
        Workload("whole", dimse=5, http=5, items=1, worker=True, starts=3),
    )
}


@dataclass
class Parts:
    """The processes that run at a time."""

    dimse: GatewayProcess | None = None
    http: HttpGateway | None = None
    worker: subprocess.Popen[bytes] | None = None
    senders: list[Sender] = field(default_factory=list)

    def processes(self) -> list[subprocess.Popen[bytes]]:
        gateways = [part.process for part in (self.dimse, self.http) if part is not None]
        return [*gateways, *([self.worker] if self.worker is not None else [])]

    def end(self, how: signal.Signals) -> None:
        """End all processes, by a signal that asks or one that does not; then the senders."""
        for process in self.processes():
            process.send_signal(how)
        if self.worker is not None:
            self.worker.kill()  # it has no other end
        for process in self.processes():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.http is not None:
            self.http.client.close()
            self.http.archive.close()
        join(self.senders)


def join(senders: Sequence[Sender]) -> None:
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive(), f"{sender} does not end"
        if sender.error is not None:
            raise sender.error


def start(workload: Workload, disk: Disk) -> Parts:
    """Start the processes of a workload in the archive of a disk."""
    data = disk.path / DATA
    data.mkdir(exist_ok=True)
    environment = crash_environment() | {
        "VNA_QUEUE__BROKER": f"redis+socket://{data}/no-broker.sock",
        "VNA_QUEUE__TIMEOUT_SECONDS": "0.5",
        "VNA_AUDIT__ENABLED": str(workload.audit),
    }
    parts = Parts()
    try:
        if workload.worker:
            command = [sys.executable, "-m", "tests.support.crash_committer", str(data), str(disk.control)]
            with (data / "worker.log").open("ab") as log:
                parts.worker = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=log, stderr=log)
        if workload.dimse:
            parts.dimse = GatewayProcess(data, **environment)
        if workload.http or workload.items:
            parts.http = HttpGateway(data, develop=False, **environment)
    except BaseException:
        parts.end(signal.SIGKILL)
        raise
    return parts


def send(workload: Workload, disk: Disk, parts: Parts, seed: str, share: float = 1) -> list[Sender]:
    """Start who sends to the parts that run, a share of what the workload says."""
    made: list[Sender] = []
    for number in range(_ASSOCIATIONS):
        name = f"{seed}.{number}"
        if parts.dimse is not None:
            made.append(StoreSender(parts.dimse.port, disk.marks, f"{name}.d", max(1, round(workload.dimse * share))))
        if parts.http is not None and workload.http:
            made.append(StowSender(parts.http.port, disk.marks, f"{name}.h", max(1, round(workload.http * share))))
        if parts.http is not None and workload.items:
            made.append(Performer(parts.http.port, disk.marks, f"{name}.i", max(1, round(workload.items * share))))
    for each in made:
        each.start()
    parts.senders += made
    return made


@contextlib.contextmanager
def running(workload: Workload, disk: Disk) -> Iterator[Parts]:
    """Run the processes of a workload for a block; whatever is left then is killed."""
    parts = start(workload, disk)
    try:
        yield parts
    finally:
        parts.end(signal.SIGKILL)


def play(workload: Workload, disk: Disk, seed: int, starts: int = 0) -> None:
    """Run a workload: started, sent to, stopped; again, killed; and so on. Senders come at once and once it settled."""
    for number in range(starts or workload.starts):
        disk.marks("start", number)
        with running(workload, disk) as parts:
            join(send(workload, disk, parts, f"{seed}.{number}.0", 0.5))
            time.sleep(SETTLE)
            join(send(workload, disk, parts, f"{seed}.{number}.1"))
            parts.end(signal.SIGKILL if number % 2 else signal.SIGTERM)
            disk.marks("stopped", number)
