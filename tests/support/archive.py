"""A whole archive, run by ``vna up`` as a user runs it: embedded, or scaled out on real services."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.ports import answers, free_port, wait_until
from tests.support.s3 import S3Service
from tests.support.worker import ROOT
from vna.bootstrap import Archive
from vna.config import Settings
from vna.ingest.spool import Spool

_VNA = str(Path(sys.executable).parent / "vna")


class RunningArchive:
    """``vna up`` on free ports, with its data in a folder of the test."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.data = data
        self.dimse_port = free_port()
        self.http_port = free_port()
        self.environment = {
            "VNA_DATA": str(data),
            "VNA_DIMSE__PORT": str(self.dimse_port),
            "VNA_HTTP__PORT": str(self.http_port),
            "VNA_HTTP__ALLOW_ANONYMOUS": "loopback",
            "VNA_SPOOL__MIN_FREE_BYTES": "0",
            "VNA_SPOOL__LOG_BYTES": str(16 << 20),
            "VNA_SPOOL__SWEEP_SECONDS": "2",
            "VNA_SPOOL__SWEEP_AGE_SECONDS": "4",
        } | environment
        self.log = data.parent / f"{data.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def web(self) -> str:
        """Base URL of DICOMweb."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [_VNA, "up"],
                cwd=ROOT,
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(self._up, 90, "vna up answers")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log.read_text(errors='replace')[-4000:]}") from error

    def _up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text(errors="replace")[-4000:]
        return answers("127.0.0.1", self.dimse_port) and answers("127.0.0.1", self.http_port)

    def stop(self) -> int:
        """Interrupt it as Ctrl-C does, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(90)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            # Its parts end by themselves when it dies; the ports are free when they have.
            wait_until(lambda: not answers("127.0.0.1", self.dimse_port), 30, "the parts ended")

    def parts(self, mark: str) -> list[psutil.Process]:
        """Return the processes of a part, by a word of their command line."""
        assert self._process is not None
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                if mark in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def vna(self, *arguments: str, check: bool = True) -> str:
        """Run a command of the command line beside it, and return what it printed."""
        done = subprocess.run(
            [_VNA, *arguments],
            cwd=ROOT,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def qido(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.web}/{path}", params=parameters, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else []

    def open(self) -> Archive:
        """Open the same archive in this process, to look into it."""
        environment = {key: value for key, value in self.environment.items() if key.startswith("VNA_")}
        before = {key: os.environ.get(key) for key in environment}
        os.environ.update(environment)
        try:
            return Archive(Settings())
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value

    def wait_idle(self, seconds: float = 120, *, partial: bool = True) -> None:
        """Return when the spool is empty: all is stored, or in quarantine.

        With ``partial``, nothing half received is left either; a gateway that
        was killed leaves such files for an hour.
        """
        half = self.data / "spool" / "partial"
        spool = Spool(self.data / "spool", log_bytes=0, allow_volatile=True)
        try:
            wait_until(
                lambda: not spool.count().entries and not (partial and any(half.iterdir())),
                seconds,
                "the spool is empty",
            )
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log.read_text(errors='replace')[-6000:]}") from error
        finally:
            spool.close()
        archive = self.open()
        archive.index.refresh()
        archive.close()

    def quarantined(self) -> list[dict[str, Any]]:
        """Return what is in quarantine."""
        lines = self.vna("quarantine", "list", "--json").splitlines()
        return [json.loads(line) for line in lines]


def scaled_environment(s3: S3Service, elasticsearch: str, broker: str) -> dict[str, str]:
    """Return the settings of an archive on services, in a bucket and indices of its own."""
    name = f"t{uuid.uuid4().hex[:10]}"
    return {
        "VNA_STORE__KIND": "s3",
        "VNA_STORE__ENDPOINT": s3.endpoint,
        "VNA_STORE__ACCESS_KEY": s3.access_key,
        "VNA_STORE__SECRET_KEY": s3.secret_key,
        "VNA_STORE__BUCKET": f"vna-{name}",
        "VNA_STORE__CREATE_BUCKET": "true",
        "VNA_INDEX__KIND": "elasticsearch",
        "VNA_INDEX__HOSTS": json.dumps([elasticsearch]),
        "VNA_INDEX__PREFIX": name,
        "VNA_QUEUE__BROKER": broker,
        "VNA_SPOOL__ID": name,
    }


@contextmanager
def running_archive(data: Path, **environment: str) -> Iterator[RunningArchive]:
    """Run an archive for a block."""
    archive = RunningArchive(data, **environment)
    archive.start()
    try:
        yield archive
    finally:
        archive.close()
