"""Real S3 services for tests: MinIO and versitygw, started from their binaries.

``python -m tests.support.s3 minio`` (or ``versitygw``) runs one in the
foreground and prints how to reach it. The binaries are kept in
``VNA_SERVICES_CACHE`` or ``~/.cache/vna-services``, and built there by ``go
install`` when they are missing. With ``VNA_TEST_S3_URL``,
``VNA_TEST_S3_ACCESS_KEY`` and ``VNA_TEST_S3_SECRET_KEY`` set, tests use that
service and start none.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.ports import answers, free_port, wait_until
from vna.config import StoreSettings

PACKAGES = {
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
}
BUILD_SECONDS = 1800
START_SECONDS = 60
ATTEMPTS = 3
LOG_TAIL = 2000


@dataclass(frozen=True, slots=True)
class S3Service:
    """How to reach a running service."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str

    def settings(self, bucket: str = "", **more: object) -> StoreSettings:
        """Return settings for a bucket of its own, which the store makes."""
        values: dict[str, object] = {
            "kind": "s3",
            "endpoint": self.endpoint,
            "bucket": bucket or f"vna-{uuid.uuid4().hex[:20]}",
            "create_bucket": True,
            "access_key": SecretStr(self.access_key),
            "secret_key": SecretStr(self.secret_key),
        }
        return StoreSettings.model_validate(values | more)


def binary(name: str) -> Path:
    """Return a service's program, built first if it is missing."""
    folder = Path(os.environ.get("VNA_SERVICES_CACHE") or Path.home() / ".cache" / "vna-services") / "bin"
    program = folder / name
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as lock:
        # Test processes start together: one builds, the others wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            print(f"building {PACKAGES[name]}: some minutes, once", file=sys.stderr)
            command = ["go", "install", PACKAGES[name]]
            subprocess.run(command, env={**os.environ, "GOBIN": str(folder)}, check=True, timeout=BUILD_SECONDS)
    return program


def _command(name: str, folder: Path, port: int, certificates: Path | None) -> list[str]:
    # Dies with its parent: a killed test run leaves no server behind.
    program = ["setpriv", "--pdeathsig", "KILL", str(binary(name))]
    for below in ("data", "versions", "iam"):
        (folder / below).mkdir(exist_ok=True)
    if name == "minio":
        secure = ["--certs-dir", str(certificates)] if certificates else []
        return [*program, "server", "--quiet", *secure, "--address", f"127.0.0.1:{port}", str(folder / "data")]
    # Object lock on versitygw needs versioning, which needs a folder beside the data.
    options = ["--port", f"127.0.0.1:{port}", "--iam-dir", str(folder / "iam"), "--quiet", "--keep-alive"]
    return [*program, *options, "posix", "--versioning-dir", str(folder / "versions"), str(folder / "data")]


def _environment(name: str, service: S3Service) -> dict[str, str]:
    if name == "minio":
        return {
            "MINIO_ROOT_USER": service.access_key,
            "MINIO_ROOT_PASSWORD": service.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            # Gives server-side encryption without a key service.
            "MINIO_KMS_SECRET_KEY": "vna-key:" + base64.b64encode(b"0123456789abcdef" * 2).decode(),
        }
    return {"ROOT_ACCESS_KEY": service.access_key, "ROOT_SECRET_KEY": service.secret_key}


class Server:
    """A service in a folder, that can be stopped and started again on the same port with the same data.

    MinIO speaks TLS if it is given a folder with ``public.crt`` and ``private.key``.
    """

    def __init__(self, name: str, folder: Path, certificates: Path | None = None) -> None:
        self._folder = folder
        self._certificates = certificates
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.service = S3Service(name, "", "vnatest", "vnatest-secret")

    def start(self) -> S3Service:
        """Return when it answers."""
        for attempt in range(ATTEMPTS):
            # Between our look and its start, somebody may take the port: then another.
            self.port = self.port or free_port()
            try:
                self._start()
            except RuntimeError:
                if attempt == ATTEMPTS - 1:
                    raise
                self.port = 0
            else:
                break
        return self.service

    def _start(self) -> None:
        name = self.service.name
        scheme = "https" if self._certificates else "http"
        self.service = S3Service(
            name, f"{scheme}://127.0.0.1:{self.port}", self.service.access_key, self.service.secret_key
        )
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                _command(name, self._folder, self.port, self._certificates),
                env={**os.environ, **_environment(name, self.service)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._process = process
        try:
            wait_until(
                lambda: process.poll() is not None or answers("127.0.0.1", self.port), START_SECONDS, f"{name} starts"
            )
        except TimeoutError:
            self.stop()
            raise
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}: {self._log.read_text()[-LOG_TAIL:]}")

    def stop(self) -> None:
        """End it, without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def running(name: str, certificates: Path | None = None) -> Iterator[S3Service]:
    """Run a service on a free port with an empty folder."""
    with tempfile.TemporaryDirectory(prefix=f"vna-{name}-", ignore_cleanup_errors=True) as folder:
        server = Server(name, Path(folder), certificates)
        try:
            yield server.start()
        finally:
            server.stop()


def external() -> S3Service | None:
    """Return the service that the environment names, if it names one."""
    url = os.environ.get("VNA_TEST_S3_URL", "")
    if not url:
        return None
    return S3Service("external", url, os.environ["VNA_TEST_S3_ACCESS_KEY"], os.environ["VNA_TEST_S3_SECRET_KEY"])


def service_names() -> list[str]:
    """Return the services that tests run on."""
    return ["external"] if external() else list(PACKAGES)


@contextmanager
def _found(name: str) -> Iterator[S3Service]:
    given = external()
    if given is not None:
        yield given
        return
    with running(name) as service:
        yield service


@pytest.fixture(scope="session")
def minio() -> Iterator[S3Service]:
    """MinIO, or the service that the environment names."""
    with _found("minio") as service:
        yield service


@pytest.fixture(scope="session")
def versitygw() -> Iterator[S3Service]:
    """Versity S3 Gateway, or the service that the environment names."""
    with _found("versitygw") as service:
        yield service


def main() -> None:
    """Run a service in the foreground until it is interrupted, or build both."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", nargs="?", choices=list(PACKAGES), default="minio")
    parser.add_argument("--install", action="store_true", help="build what is missing, and run nothing")
    given = parser.parse_args()
    if given.install:
        for name in PACKAGES:
            print(binary(name))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with running(given.name) as service:
        print(f"{service.endpoint} access key {service.access_key} secret key {service.secret_key}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
