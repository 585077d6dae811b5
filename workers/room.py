"""A full broker: a worker makes room in it before it takes messages.

A broker that is full refuses what Celery itself writes when it takes a message,
so a worker cannot work the backlog down that fills it. What fills it are hints:
this spool's are dropped, and the sweeper sends again what is in the spool. What
is not this spool's is left alone; then the worker waits, and says so, until
somebody makes room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from celery.worker import state
from celery.worker.consumer import Consumer

from vna.domain.errors import ArchiveError, OutOfResourcesError
from vna.ports.queue import Queue

log = structlog.get_logger(__name__)

_FIRST_SECONDS = 1.0
_MOST_SECONDS = 30.0


def make_room(queue: Queue, disposable: Sequence[str], pause: Callable[[float], None]) -> None:
    """Return when the broker takes messages, or does not answer at all, which is Celery's own affair.

    Parameters
    ----------
    queue
        The broker.
    disposable
        Queues whose messages may be dropped.
    pause
        Waits for some seconds; raises to end the waiting.
    """
    wait = _FIRST_SECONDS
    while True:
        try:
            queue.check()
        except OutOfResourcesError as error:
            full = error
        except ArchiveError:
            return
        else:
            return
        try:
            dropped = sum(queue.discard(name) for name in disposable)
        except ArchiveError:
            return
        if dropped:
            log.warning("the broker was full of hints; the sweeper sends again what is in the spool", dropped=dropped)
            continue
        log.error(
            "the broker is full of what is not this spool's; received instances stay in the spool until there is room",
            error=str(full),
            next_try_seconds=wait,
        )
        pause(wait)
        wait = min(2 * wait, _MOST_SECONDS)


def pause(seconds: float) -> None:
    """Wait as long, unless the worker is told to end."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        state.maybe_shutdown()
        time.sleep(min(left, 0.5))


def consumer_class(queue: Queue, disposable: Sequence[str]) -> type[Consumer]:
    """Return what consumes in a worker: Celery's own, which makes room before it connects, and connects anew."""

    class RoomyConsumer(Consumer):
        """Makes room first: on a full broker to connect is refused already."""

        def connect(self) -> Any:
            """Return a connection to a broker that takes messages."""
            make_room(queue, disposable, pause)
            return super().connect()

    return RoomyConsumer
