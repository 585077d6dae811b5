"""Decoding and drawing in child processes with limits on memory and time.

A frame that is a decompression bomb, or that makes a decoder crash, costs the
request that asked for it, and never the process that serves it: a child that
dies is replaced by the next job.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from typing import Any

from vna.dicom.decode import Decoded, ImagePixel
from vna.domain.errors import OutOfResourcesError, TooLargeError, UnsupportedError
from vna.retrieve.limited_process import Child, EndedError, Limits
from vna.retrieve.render_job import Decode, Job

__all__ = ["LimitedPool", "Limits"]


class LimitedPool:
    """Child processes for jobs, started when they are first needed.

    Parameters
    ----------
    limits
        What each may use.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # Those that wait for a job; one that starts comes here when it is ready for one.
        self._idle: queue.LifoQueue[Child] = queue.LifoQueue()
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._closed = False

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
            return self._once(job)
        except EndedError:
            # It ended for want of work in the moment that this came; or the job makes every child end.
            try:
                return self._once(job)
            except EndedError as error:
                raise UnsupportedError(str(error)) from None

    def _once(self, job: Job) -> tuple[dict[str, Any], bytes]:
        child = self._take()
        try:
            return child.do(job)
        finally:
            self._give(child)

    def prepare(self) -> None:
        """Have a child started, if there is none: whoever looks at a list may want a picture next.

        Returns at once; the child loads what it needs by itself.
        """
        with suppress(OSError, OutOfResourcesError):
            self._grow(1)

    def _take(self) -> Child:
        """Return a child that is ready; waits for the first that gets free or has started."""
        until = time.monotonic() + self.limits.wait_seconds
        while True:
            try:
                child = self._idle.get_nowait()
            except queue.Empty:
                self._grow(self.limits.processes)
                try:
                    child = self._idle.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    raise OutOfResourcesError("too many pictures are being made; try again later") from None
            if child.usable and child.ready:
                return child
            self._drop(child)
            if not child.ready:
                raise OutOfResourcesError("no process that makes pictures can be started; see the log")

    def _give(self, child: Child) -> None:
        """Take a child back, unless it is worn out or gone."""
        if not self._closed and child.usable and child.done < self.limits.jobs:
            self._idle.put(child)
            return
        self._drop(child)
        # Somebody may wait for it already, and the next need not.
        self.prepare()

    def _grow(self, most: int) -> None:
        """Start another child, unless there are as many already."""
        with self._lock:
            if self._closed:
                raise OutOfResourcesError("the archive is stopping")
            if sum(child.usable for child in self._children) >= most:
                return
            child = Child(self.limits)
            self._children.add(child)
        threading.Thread(target=self._await, args=(child,), name="picture-process", daemon=True).start()

    def _await(self, child: Child) -> None:
        child.wait_ready()
        self._idle.put(child)

    def _drop(self, child: Child) -> None:
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
