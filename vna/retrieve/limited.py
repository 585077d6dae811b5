"""Decoding and drawing in child processes with limits on memory and time.

A frame that is a decompression bomb, or that makes a decoder crash, costs the
request that asked for it, and never the process that serves it: a child that
dies is replaced by the next job.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from vna.dicom.decode import Decoded, ImagePixel
from vna.domain.errors import ArchiveError, InvalidInputError, OutOfResourcesError, TooLargeError, UnsupportedError
from vna.retrieve.limited_child import HEAD, REPLY
from vna.retrieve.render_job import Decode, Job

_ERRORS: dict[str, type[ArchiveError]] = {
    "too-large": TooLargeError,
    "invalid": InvalidInputError,
    "unsupported": UnsupportedError,
}
_END_SECONDS = 2.0
_MOST_FACTS = 1 << 16
_PIPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use.

    Attributes
    ----------
    processes
        How many children there are at most.
    memory_bytes
        Address space of each.
    seconds
        Time for a job, of the clock and of the processor each.
    max_pixels
        Rows by columns by samples of all frames of a job.
    wait_seconds
        How long a job waits for a child to get free.
    jobs
        Jobs after which a child is replaced, so that what a library leaks is given back.
    """

    processes: int = 2
    memory_bytes: int = 2 << 30
    seconds: int = 20
    max_pixels: int = 200_000_000
    wait_seconds: float = 20
    jobs: int = 500


class LimitedPool:
    """Child processes for jobs, started when they are first needed.

    Parameters
    ----------
    limits
        What each may use.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        self._lock = threading.Lock()
        self._children: set[_Child] = set()
        self._closed = False
        for _ in range(limits.processes):
            self._idle.put(None)

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that are there now."""
        with self._lock:
            return [child.pid for child in self._children]

    def check_pixels(self, rows: int, columns: int, samples: int, frames: int = 1) -> None:
        """Raise ``TooLargeError`` for more pixels than a job may have."""
        total = rows * columns * samples * frames
        if total > self.limits.max_pixels:
            size = f"{rows} rows, {columns} columns, {samples} samples" + (f", {frames} frames" if frames > 1 else "")
            raise TooLargeError(
                f"the image has {size}: {total} values, more than the {self.limits.max_pixels} that are decoded at once"
            )

    def decode(self, data: bytes, transfer_syntax: str, image: ImagePixel) -> Decoded:
        """Decode a frame as :func:`vna.dicom.decode.decode_frame`; raises what :meth:`run` does, too."""
        self.check_pixels(image.rows, image.columns, image.samples)
        return Decode.result(*self.run(Decode(data, transfer_syntax, image)))

    def run(self, job: Job) -> tuple[dict[str, Any], bytes]:
        """Have a job done, and wait for it.

        Raises
        ------
        TooLargeError
            It needs more memory or time than a child has.
        InvalidInputError, UnsupportedError
            As the job does; ``UnsupportedError`` too if it makes the child crash.
        OutOfResourcesError
            No child got free in time, or somebody else ended it.
        """
        try:
            child = self._idle.get(timeout=self.limits.wait_seconds)
        except queue.Empty:
            raise OutOfResourcesError("too many pictures are being made; try again later") from None
        try:
            if child is None or not child.usable:
                self._drop(child)
                child = None
                child = self._start()
            return child.do(job)
        finally:
            if child is not None and (self._closed or not child.usable or child.done >= self.limits.jobs):
                self._drop(child)
                child = None
            self._idle.put(child)

    def _start(self) -> _Child:
        if self._closed:
            raise OutOfResourcesError("the archive is stopping")
        child = _Child(self.limits)
        with self._lock:
            self._children.add(child)
        return child

    def _drop(self, child: _Child | None) -> None:
        if child is not None:
            with self._lock:
                self._children.discard(child)
            child.end()

    def close(self) -> None:
        """End all children, those that work too."""
        self._closed = True
        with self._lock:
            children = list(self._children)
            self._children.clear()
        for child in children:
            child.end()


class _Child:
    """One child process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._late = False
        self.done = 0
        # Libraries keep memory and threads for each core, which would be most of the address space. The
        # credentials of the archive are nothing that a decoder needs.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VNA_", "AWS_"))}
        few = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        self._process = subprocess.Popen(  # noqa: S603  # a module of our own
            [
                sys.executable,
                "-m",
                "vna.retrieve.limited_child",
                str(limits.memory_bytes),
                str(limits.seconds),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kept | few,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for pipe in (self._process.stdin, self._process.stdout):
            # A frame is larger than the usual 64 KiB by far, and each filling costs a change of processes.
            with suppress(OSError, AttributeError):  # Linux alone has it
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._jobs: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._answers: BinaryIO = self._process.stdout  # type: ignore[assignment]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def usable(self) -> bool:
        return not self._late and self._process.poll() is None

    def do(self, job: Job) -> tuple[dict[str, Any], bytes]:
        # A child that was just started has yet to import what it needs.
        timer = threading.Timer(self._limits.seconds + (10 if self.done == 0 else 0), self._too_late)
        timer.daemon = True
        timer.start()
        try:
            return self._exchange(pickle.dumps(job, pickle.HIGHEST_PROTOCOL))
        except (OSError, EOFError, ValueError):
            self._kill()
            raise self._reason() from None
        finally:
            timer.cancel()
            self.done += 1

    def _exchange(self, sent: bytes) -> tuple[dict[str, Any], bytes]:
        self._jobs.write(HEAD.pack(len(sent)))
        self._jobs.write(sent)
        self._jobs.flush()
        about_size, size = REPLY.unpack(self._read(REPLY.size))
        if about_size > _MOST_FACTS or size > self._limits.memory_bytes:
            raise ValueError("an answer that no child gives")
        facts = json.loads(self._read(about_size))
        data = self._read(size)
        if kind := facts.get("error"):
            raise _ERRORS.get(kind, UnsupportedError)(str(facts.get("message", "")))
        return facts, data

    def _read(self, size: int) -> bytes:
        data = self._answers.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _too_late(self) -> None:
        self._late = True
        self._process.kill()

    def _kill(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            # Its answers ended, so it does: how it ended is the reason.
            self._process.wait(_END_SECONDS)
            return
        self._process.kill()
        self._process.wait()

    def _reason(self) -> ArchiveError:
        status = self._process.returncode
        if self._late or status == -24:  # SIGXCPU
            return TooLargeError(f"the image takes longer than {self._limits.seconds} s to decode and show")
        if status in {-9, -15}:
            return OutOfResourcesError(f"the process that made the picture was ended (signal {-status}); try again")
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        return UnsupportedError(f"the image made its decoder crash ({ended})")

    def end(self) -> None:
        """End it; closing its input is enough unless it works."""
        with suppress(OSError):
            self._jobs.close()
        deadline = time.monotonic() + _END_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._answers.close()
