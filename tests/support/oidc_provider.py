"""A real OpenID provider (``oidc-provider`` from npm) for the tests, kept in a cache outside the tree."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import answers, free_port, wait_until

VERSION = "9.13.3"
CLIENT = "archive"
SECRET = "a-secret-of-the-test"
AUDIENCE = "urn:archive"
_PROGRAM = Path(__file__).parent / "oidc" / "provider.mjs"


def _installed() -> Path:
    cache = Path(os.environ.get("VNA_SERVICES_CACHE") or Path.home() / ".cache" / "vna-services")
    folder = cache / f"oidc-provider-{VERSION}"
    npm = shutil.which("npm")
    assert npm is not None, "npm is not installed"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "oidc-provider.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            folder.mkdir(exist_ok=True)
            command = [npm, "install", "--no-audit", "--no-fund", "--silent", f"oidc-provider@{VERSION}"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stderr
            (folder / "complete").touch()
    return folder


@contextmanager
def running_provider(redirect_uri: str) -> Iterator[str]:
    """Run a provider; yield its issuer."""
    folder, port = _installed(), free_port()
    node = shutil.which("node")
    assert node is not None, "node is not installed"
    process = subprocess.Popen(
        [node, str(_PROGRAM), str(folder), str(port), redirect_uri],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: process.poll() is not None or answers("127.0.0.1", port), 30, "the provider listens")
        assert process.poll() is None, "the OpenID provider did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    _installed()
