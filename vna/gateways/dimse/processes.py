"""Several processes of one gateway: start them, start another for one that dies, stop them together."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import TypeVar

from vna.stopping import Stop

log = logging.getLogger(__name__)

# A child that dies at once must not be started again at full speed.
_RESTART_SECONDS = 1.0
_STOP_SECONDS = 15.0

Argument = TypeVar("Argument")


def parent_lives() -> Callable[[], bool]:
    """Return a function that tells whether the process that started this one is still there."""
    parent = os.getppid()
    return lambda: os.getppid() == parent


def supervise(target: Callable[[Argument], None], argument: Argument, count: int) -> None:
    """Keep ``count`` processes running ``target(argument)`` until SIGTERM or SIGINT; then end them."""
    stop = Stop().on_signals()
    context = multiprocessing.get_context("spawn")

    def start(number: int) -> BaseProcess:
        process = context.Process(target=target, args=(argument,), name=f"dimse-{number}")
        process.start()
        return process

    children = [start(number) for number in range(count)]
    started = [time.monotonic()] * count
    while not stop.wait(0.2):
        for number, child in enumerate(children):
            if child.is_alive() or time.monotonic() - started[number] < _RESTART_SECONDS:
                continue
            log.warning("DIMSE process %s ended with %s; starting another", child.pid, child.exitcode)
            children[number] = start(number)
            started[number] = time.monotonic()
    for child in children:
        child.terminate()
    until = time.monotonic() + _STOP_SECONDS
    for child in children:
        child.join(max(0.0, until - time.monotonic()))
        if child.is_alive():
            child.kill()
            child.join()
