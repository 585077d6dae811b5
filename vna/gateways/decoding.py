"""The child processes that decode for a gateway, within the limits that the settings give."""

from __future__ import annotations

from vna.config import HttpSettings
from vna.retrieve.limited import LimitedPool, Limits


def make_pool(settings: HttpSettings, *, wait_seconds: float | None = None) -> LimitedPool:
    """Return child processes that are started when they are first needed.

    Parameters
    ----------
    settings
        Their limits.
    wait_seconds
        How long a job waits for a child to get free; as long as a job may take, if not given.
    """
    return LimitedPool(
        Limits(
            settings.picture_processes,
            settings.picture_memory_bytes,
            settings.picture_seconds,
            settings.picture_max_pixels,
            wait_seconds=wait_seconds or settings.picture_seconds,
        )
    )
