"""Packages of npm that tests use, at fixed versions, kept in a cache outside the tree."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

from tests.support.elasticsearch import services_cache

AXE = ("axe-core", "4.14.1")


def installed(name: str, version: str) -> Path:
    """Return the folder in whose ``node_modules`` a package is; it is installed if it is not there."""
    cache = services_cache()
    folder = cache / f"{name}-{version}"
    npm = shutil.which("npm")
    assert npm is not None, "npm is not installed"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            folder.mkdir(exist_ok=True)
            command = [npm, "install", "--no-audit", "--no-fund", "--silent", f"{name}@{version}"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stderr
            (folder / "complete").touch()
    return folder


def axe_script() -> str:
    """Return the source of axe-core, which finds what is wrong with a page's accessibility."""
    return (installed(*AXE) / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")
