"""dcmtk's programs, which are installed by the system; the virtual environment has others of the same names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


def dcmtk(
    program: str, *arguments: object, nagle: bool = False, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a program and return its output and status; standard error is joined in."""
    return subprocess.run(
        [f"/usr/bin/{program}", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=seconds,
        check=False,
        env=os.environ | {"TCP_NODELAY": "0" if nagle else "1"},
    )


def store(port: int, files: Sequence[Path], *options: str, called: str = "VNA") -> subprocess.CompletedProcess[str]:
    """Send files as they are by dcmsend over one association."""
    return dcmtk("dcmsend", "-v", "--decompress-never", "-aec", called, *options, "127.0.0.1", port, *files)
