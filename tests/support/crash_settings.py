"""The settings of archives whose power is cut: small, quick, and the same for who writes and who comes after."""

from __future__ import annotations

import os
from pathlib import Path

from vna.config import Settings, load_settings
from vna.config.storage import SpoolSettings

DATA = "data"
# What fills the disk beside the archive.
BALLAST = "ballast"
# Those that are no settings of this archive are left out.
_SPOOL = {
    "min_free_bytes": 0,
    "log_bytes": 16 << 20,
    "sweep_seconds": 1,
    "sweep_age_seconds": 0.2,
    "batch_seconds": 0.05,
}


def spool_settings() -> dict[str, float]:
    return {name: value for name, value in _SPOOL.items() if name in SpoolSettings.model_fields}


def crash_settings(data: Path) -> Settings:
    """Return the settings for a process that opens the archive itself."""
    broker = f"redis+socket://{data}/no-broker.sock"
    return load_settings(data=data, spool=spool_settings(), queue={"broker": broker, "timeout_seconds": 0.5})


def crash_environment() -> dict[str, str]:
    """Return the same for a program that is started, save for its folder."""
    return {f"VNA_SPOOL__{name.upper()}": str(value) for name, value in spool_settings().items()}


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VNA_")}
