"""A real OpenID provider (``oidc-provider`` from npm) for the tests, kept in a cache outside the tree."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.npm import installed
from tests.support.ports import answers, free_port, wait_until

VERSION = "9.13.3"
CLIENT = "archive"
SECRET = "a-secret-of-the-test"
AUDIENCE = "urn:archive"
_PROGRAM = Path(__file__).parent / "oidc" / "provider.mjs"


@contextmanager
def running_provider(redirect_uri: str) -> Iterator[str]:
    """Run a provider; yield its issuer."""
    folder, port = installed("oidc-provider", VERSION), free_port()
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
    installed("oidc-provider", VERSION)
