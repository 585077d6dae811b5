"""The HTTP gateway as a process of its own, on a data folder that the test shares with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.ports import answers, free_port, wait_until
from vna.bootstrap import Archive
from vna.config import Settings, load_settings
from vna.ingest.storing import CommitReport


class HttpGateway:
    """``python -m vna.gateways.dicomweb`` on a free port of the loopback address, without a broker or worker.

    What is stored waits in the spool until the test calls :meth:`ingest`.
    """

    def __init__(self, data: Path, *, develop: bool = True, **settings: str) -> None:
        self.data = data
        self.port = free_port()
        self.environment = {
            "VNA_DATA": str(data),
            "VNA_HTTP__PORT": str(self.port),
            "VNA_SPOOL__MIN_FREE_BYTES": "0",
            "VNA_HTTP__ALLOW_ANONYMOUS": "loopback",
            **settings,
        }
        self.url = f"http://127.0.0.1:{self.port}"
        self.base = f"{self.url}/dicom-web"
        self.log = data / "http.log"
        data.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VNA_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                # Python's development mode reports what is never closed or awaited, and costs memory and time.
                [sys.executable, *(["-X", "dev", "-W", "error"] if develop else []), "-m", "vna.gateways.dicomweb"],
                env=environment | self.environment,
                stderr=log,
            )
        wait_until(self._up, 30, "the HTTP gateway listens")
        self.client = httpx.Client(base_url=self.base, timeout=60, trust_env=False)
        self.archive = Archive(self.settings())

    def settings(self) -> Settings:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return load_settings()

    def _up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return answers("127.0.0.1", self.port)

    def ingest(self) -> CommitReport:
        """Store and index what is in the spool, as a worker would."""
        committer = self.archive.committer()
        try:
            report = committer.commit([entry.name for entry in self.archive.spool.entries()])
        finally:
            committer.close()
        self.archive.index.refresh()
        return report

    def stop(self) -> int:
        """Stop it as an operator would; return its exit status."""
        self.client.close()
        self.archive.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
