"""Judges crash states, one after the other: mounts an image, starts the archive in it, and says what is wrong.

``python -m tests.support.crash_judge IMAGE KIND MOUNT`` reads lines ``{"marks": […], "boot": "same" | "another",
"what": "check" | "start"}`` and answers each with ``{"problems": […]}``. A child process with mounts of its own judges,
and is gone with all its threads and files before the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.crash_oracle import Claims, check, start
from tests.support.crash_settings import BALLAST, DATA
from tests.support.crash_states import BLOCK, SECTOR, CrashStates
from tests.support.mounts import Loop, another_boot, mount, own_namespace, unmount
from tests.support.worker import ROOT

# Imported once here, not in each child.
from vna.index import sqlite as _sqlite  # noqa: F401
from vna.ingest import commit as _commit  # noqa: F401
from vna.ingest import sweep as _sweep  # noqa: F401
from vna.queue import celery_queue as _queue  # noqa: F401
from vna.store import folder as _folder  # noqa: F401
from vna.workitems import worklist as _worklist  # noqa: F401

_SECONDS = 120
# EBADMSG and EUCLEAN, which file systems alone say.
_DAMAGED = ("Bad message", "Structure needs cleaning")
# A copy of a disk has the name of the disk, which may be mounted as well.
_OPTIONS = {"ext4": "errors=remount-ro", "xfs": "nouuid"}


def _judged(device: str, kind: str, place: Path, order: dict[str, Any]) -> list[str]:
    own_namespace()
    if order["boot"] == "another":
        another_boot(place.parent)
    try:
        mount(device, place, kind, 0, _OPTIONS[kind])
    except OSError as error:
        return [f"NOT MOUNTED: {error}"]
    try:
        data = place / DATA
        if not data.is_dir():  # the cut came before anything was
            return [f"LOST: {mark}" for mark in order["marks"] if mark.startswith("acknowledged")]
        if order["what"] == "start":
            return start(data)
        (place / BALLAST).unlink(missing_ok=True)
        return check(data, Claims(order["marks"]))
    finally:
        with contextlib.suppress(OSError):  # a thread is still there: it goes with the process
            unmount(place)


def _child(device: str, kind: str, place: Path, order: dict[str, Any], write: int) -> None:
    try:
        problems = _judged(device, kind, place, order)
    except BaseException:  # noqa: BLE001 - whatever it is, the archive does not start
        problems = [f"FAILED: {traceback.format_exc()}"]
    with os.fdopen(write, "w") as pipe:
        json.dump(problems, pipe)
    os._exit(0)


def _judge(device: str, kind: str, place: Path, order: dict[str, Any]) -> list[str]:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _child(device, kind, place, order, write)
    os.close(write)
    answer = b""
    try:
        while select.select([read], [], [], _SECONDS)[0]:
            if not (piece := os.read(read, 1 << 16)):
                break
            answer += piece
        else:
            os.kill(child, signal.SIGKILL)
            return [f"HANGS: no answer within {_SECONDS} s"]
    finally:
        os.close(read)
        os.waitpid(child, 0)
    return list(json.loads(answer)) if answer else ["DIED: the process that started the archive"]


def main() -> None:
    image, kind = Path(sys.argv[1]), sys.argv[2]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the archive tells on its standard output what it does
    place = Path(sys.argv[3])
    place.mkdir(exist_ok=True)
    loop = Loop(image)
    try:
        for line in sys.stdin:
            problems = _judge(loop.path, kind, place, json.loads(line))
            loop.wait_unused()
            print(json.dumps({"problems": problems}), file=answers, flush=True)
    finally:
        loop.detach()


class Judge:
    """A judge in a process of its own, and the image that it is to judge."""

    def __init__(self, image: Path, kind: str, size: int = 0) -> None:
        self.image = image
        if size:
            with image.open("wb") as file:
                file.truncate(size)
        # Beside the image, or beside its folder if that takes no more files.
        beside = image.parent if size else image.parent.parent
        self._told = beside / f"{image.stem}.log"
        self._log = self._told.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash_judge", str(image), kind, str(beside / f"{image.stem}.mnt")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def judge(self, marks: Sequence[str], boot: str = "another", what: str = "check") -> list[str]:
        """Return what is wrong with the archive in the image, which is changed by that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"marks": list(marks), "boot": boot, "what": what}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.self._told.read_text()[-5000:]
        return list(json.loads(answer)["problems"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


def judge_state(states: CrashStates, judging: Judge, cut: int, choice: int, boot: str) -> tuple[str, list[str]]:
    """Make a state in a judge's image and have it judged; return its name, and what is wrong.

    A block of the file system's own that was torn may be damage to it that no journal mends. Then the disk is taken to
    be one that writes a block whole, as file systems expect of it.
    """
    for sector in (SECTOR, BLOCK):
        state = states.make(cut, choice, judging.image, sector)
        problems = judging.judge(states.log.marks(cut), boot)
        if not any(sign in problem for problem in problems for sign in _DAMAGED):
            break
    return state.name, problems


@contextlib.contextmanager
def judge(image: Path, kind: str, size: int = 0) -> Iterator[Judge]:
    made = Judge(image, kind, size)
    try:
        yield made
    finally:
        made.close()


if __name__ == "__main__":
    main()
