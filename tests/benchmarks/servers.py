"""The servers that are measured, each fresh, on loopback, with its data in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.ports import answers, free_port


def http_json(url: str) -> Any:
    """GET a JSON document; an empty answer is ``None``."""
    request = urllib.request.Request(url, headers={"Accept": "application/dicom+json, application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        data = answer.read()
    return json.loads(data) if data else None


class Server:
    """A running server: its port, what can be found in it, the memory and processor time it takes."""

    name = ""
    called = "ANY"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.http = free_port()
        self.peaks: dict[str, int] = {}
        self.processor: dict[str, float] = {}

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return variables for the program."""
        # Without it dcmtk's servers, Orthanc too, hold each answer back for 40 ms: peers are measured at their best.
        return {"TCP_NODELAY": "1"}

    def searchable(self) -> int | None:
        """Return how many instances a search finds, ``None`` where the server has no search."""
        return None

    def studies_url(self) -> str:
        """Return the QIDO-RS URL of studies."""
        return f"http://127.0.0.1:{self.http}/dicom-web/studies"

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Start, wait until it accepts connections, sample memory, stop."""
        self.folder.mkdir(parents=True)
        log = (self.folder / "log").open("wb")
        process = subprocess.Popen(
            self.command(),
            stdout=log,
            stderr=log,
            cwd=self.folder,
            env=os.environ | self.environment(),
            start_new_session=True,
        )
        stop = threading.Event()
        try:
            self._wait(process)
            sampler = threading.Thread(target=self._sample, args=(process.pid, stop), daemon=True)
            sampler.start()
            yield self
            stop.set()
            sampler.join()
        finally:
            stop.set()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            log.close()

    def wait_idle(self) -> None:
        """Return when the server has settled: what it does at its start is not what is measured."""
        deadline = time.monotonic() + 60
        quiet = 0
        before = sum(self.processor.values())
        while quiet < 3:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not settle")
            time.sleep(0.4)
            now = sum(self.processor.values())
            quiet = quiet + 1 if now - before < 0.03 else 0
            before = now

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        for port in (self.port, self.http) if self.searchable_at_all() else (self.port,):
            while True:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{self.name} did not start:\n{(self.folder / 'log').read_text(errors='replace')[-2000:]}"
                    )
                if answers("127.0.0.1", port):
                    break
                time.sleep(0.05)

    def searchable_at_all(self) -> bool:
        """Say whether the server has a search."""
        return type(self).searchable is not Server.searchable

    def _sample(self, pid: int, stop: threading.Event) -> None:
        root = psutil.Process(pid)
        seen: dict[int, tuple[str, float]] = {}
        while not stop.wait(0.1):
            try:
                processes = [root, *root.children(recursive=True)]
            except psutil.Error:
                return
            for process in processes:
                try:
                    label = _label(process.cmdline())
                    resident = process.memory_info().rss
                    used = process.cpu_times()
                except psutil.Error:
                    continue
                self.peaks[label] = max(self.peaks.get(label, 0), resident)
                seen[process.pid] = (label, used.user + used.system)
            self.processor = {}
            for label, seconds in seen.values():
                self.processor[label] = self.processor.get(label, 0) + seconds


def _label(command: list[str]) -> str:
    text = " ".join(command)
    for mark, label in (
        ("valkey", "valkey"),
        ("gateways.dimse", "dimse"),
        ("gateways.dicomweb", "http"),
        (" beat", "beat"),
        (" worker", "worker"),
        ("bin/vna up", "supervisor"),
    ):
        if mark in text:
            return label
    return Path(command[0]).name if command else "?"


class Archive(Server):
    """This archive, embedded, whole."""

    name = "vna"
    called = "VNA"

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        return [str(Path(sys.executable).parent / "vna"), "up"]

    def environment(self) -> dict[str, str]:
        """Return the settings."""
        return {
            "VNA_DATA": str(self.folder / "data"),
            "VNA_DIMSE__PORT": str(self.port),
            "VNA_HTTP__PORT": str(self.http),
            "VNA_HTTP__ALLOW_ANONYMOUS": "loopback",
        }

    def searchable(self) -> int | None:
        """Sum the instances of all studies by QIDO-RS."""
        found = http_json(f"{self.studies_url()}?includefield=NumberOfStudyRelatedInstances&limit=5000") or []
        return sum(study["00201208"]["Value"][0] for study in found)


class Orthanc(Server):
    """Orthanc as it comes: each file is synced (SyncStorageArea)."""

    name = "orthanc"
    sync = True

    def command(self) -> list[str]:
        """Write the configuration and return the program and its arguments."""
        configuration = {
            "Name": "bench",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "HttpPort": self.http,
            "DicomPort": self.port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": True,
            "DicomCheckCalledAet": False,
            "SyncStorageArea": self.sync,
            "Plugins": ["/usr/share/orthanc/plugins"],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(configuration))
        return ["/usr/sbin/Orthanc", str(path)]

    def searchable(self) -> int | None:
        """Ask for its statistics."""
        return int(http_json(f"http://127.0.0.1:{self.http}/statistics")["CountInstances"])


class OrthancNoSync(Orthanc):
    """Orthanc with SyncStorageArea off: an answer promises nothing."""

    name = "orthanc-nosync"
    sync = False


class Storescp(Server):
    """dcmtk's storescp as it comes: writes files, promises and indexes nothing."""

    name = "storescp"
    options: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        return ["/usr/bin/storescp", "--fork", "-od", str(self.folder), *self.options, str(self.port)]


class StorescpBits(Storescp):
    """The same writing data sets as they come, without reading them."""

    name = "storescp-bits"
    options = ("--bit-preserving",)


_KINDS = (Archive, Orthanc, OrthancNoSync, Storescp, StorescpBits)
SERVERS: dict[str, type[Server]] = {kind.name: kind for kind in _KINDS}
