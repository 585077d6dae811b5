"""What the commands share: an opened archive."""

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
