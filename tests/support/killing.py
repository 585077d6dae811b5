"""Commit what is in a spool in a process that kills itself at a step of the way. Run as a module.

The ports are the real ones, wrapped: each step is the moment before or after a real call.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.support.instances import make_settings
from tests.support.worker import ROOT
from vna.bootstrap import Archive
from vna.domain.file_range import FileRange
from vna.ingest import document
from vna.ingest.commit import Committer
from vna.ingest.journal import Journal
from vna.ports.objects import Put

POISON = b"KILLS ITS READER"
HANGS = b"HANGS FOR EVER.."
HANGS_DEAF = b"HANGS, NO SIGNAL"
STEPS = (
    "before-build",
    "after-build",
    "before-put",
    "within-put",
    "after-put",
    "before-upsert",
    "after-upsert",
    "before-fact",
    "after-fact",
    "after-first-unlink",
    "after-commit",
)


def kill_at(step: str, data: Path) -> None:
    """Commit the spool below a data folder in another process, which is killed at a step."""
    command = [sys.executable, "-m", "tests.support.killing", step, str(data)]
    done = subprocess.run(command, cwd=ROOT, check=False, timeout=120, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def _die(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _wrap(target: Any, name: str, *, before: bool, times: int = 1) -> None:
    real: Callable[..., Any] = getattr(target, name)
    left = [times]

    def wrapped(*args: Any, **more: Any) -> Any:
        left[0] -= 1
        if before and not left[0]:
            _die()
        result = real(*args, **more)
        if not left[0]:
            _die()
        return result

    setattr(target, name, wrapped)


def main(step: str, data: Path) -> None:
    archive = Archive(make_settings(data))
    build: Callable[..., document.Document] = document.build
    calls = []

    def dying_build(*args: Any) -> document.Document:
        calls.append(args)
        if len(calls) == 4:
            if step == "before-build":
                _die()
            document.build(*args)
            _die()
        return document.build(*args)

    def poisoned_build(content: FileRange | bytes, *rest: Any) -> document.Document:
        if POISON in (content if isinstance(content, bytes) else content.read()):
            _die()
        return document.build(content, *rest)

    def half_put(puts: Sequence[Put]) -> list[bool]:
        half = [put for number, put in enumerate(puts) if number % 3 == 0]
        real_put(half)
        _die()

    real_put = archive.objects.put_batch
    match step:
        case "before-build" | "after-build":
            build = dying_build
        case "poison":
            build = poisoned_build
        case "before-put" | "after-put":
            _wrap(archive.objects, "put_batch", before=step.startswith("before"))
        case "within-put":
            archive.objects.put_batch = half_put  # type: ignore[method-assign]
        case "before-upsert" | "after-upsert":
            _wrap(archive.index, "upsert", before=step.startswith("before"))
        case "before-fact" | "after-fact":
            _wrap(archive.objects, "replace", before=step.startswith("before"))
        case "after-first-unlink":
            _wrap(Path, "unlink", before=False)
    committer = Committer(
        archive.spool, archive.objects, archive.index, Journal(archive.spool), archive.quarantine, build=build
    )
    committer.commit(sorted(entry.name for entry in archive.spool.entries()))
    if step == "after-commit":
        _die()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
