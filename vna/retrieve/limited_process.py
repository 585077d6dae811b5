"""A child process of :mod:`vna.retrieve.limited`, as the process that started it sees it."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from vna.domain.errors import ArchiveError, InvalidInputError, OutOfResourcesError, TooLargeError, UnsupportedError
from vna.retrieve.limited_child import HEAD, READY, REPLY
from vna.retrieve.render_job import Job

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
    idle_seconds
        Time without a job after which a child ends, so that its memory is given back.
    """

    processes: int = 2
    memory_bytes: int = 2 << 30
    seconds: int = 20
    max_pixels: int = 200_000_000
    wait_seconds: float = 20
    jobs: int = 500
    idle_seconds: int = 900


class EndedError(Exception):
    """A child has ended in order, without an answer."""


class Child:
    """One child process.

    Parameters
    ----------
    limits
        What it may use.

    Attributes
    ----------
    ready
        Whether it has loaded what it needs; see :meth:`wait_ready`.
    done
        Jobs that it has done.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._late = False
        self.ready = False
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
                str(limits.idle_seconds),
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
        """Its process id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it is there."""
        return not self._late and self._process.poll() is None

    def wait_ready(self) -> None:
        """Return when it has loaded what it needs, or has ended."""
        with suppress(OSError, ValueError):
            self.ready = self._answers.read(1) == READY

    def do(self, job: Job) -> tuple[dict[str, Any], bytes]:
        """Have it do a job; raises as :meth:`vna.retrieve.limited.LimitedPool.run`, and ``EndedError``."""
        timer = threading.Timer(self._limits.seconds, self._too_late)
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

    def _reason(self) -> Exception:
        status = self._process.returncode
        if self._late or status == -24:  # SIGXCPU
            return TooLargeError(f"the image takes longer than {self._limits.seconds} s to decode and show")
        if status in {-9, -15}:
            return OutOfResourcesError(f"the process that made the picture was ended (signal {-status}); try again")
        ended = f"the image made its decoder crash ({f'signal {-status}' if status < 0 else f'status {status}'})"
        return UnsupportedError(ended) if status else EndedError(ended)

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
