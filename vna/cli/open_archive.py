"""What the commands share: an opened archive, sizes and ages for a person."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from vna.bootstrap import Archive
from vna.config import load_settings


@contextmanager
def open_archive() -> Iterator[Archive]:
    """Open the configured archive, its log lines below error held back: the command says what matters."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    archive = Archive(load_settings())
    try:
        yield archive
    finally:
        archive.close()


def size(count: int) -> str:
    """Return a number of bytes for a person: ``1.5 GiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def age(seconds: float) -> str:
    """Return a span of time for a person: ``12 s``, ``3 min``, ``2 h``, ``5 d``."""
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
