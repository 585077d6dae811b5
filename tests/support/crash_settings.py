"""The settings of archives whose power is cut: small, quick, and the same for who writes and who comes after."""

from __future__ import annotations

import os
from pathlib import Path

from vna.config import Settings, load_settings

DATA = "data"
# What fills the disk beside the archive.
BALLAST = "ballast"
_SPOOL = {
    "min_free_bytes": 0,
    "log_bytes": 16 << 20,
    "sweep_seconds": 1,
    "sweep_age_seconds": 0.2,
    "batch_seconds": 0.05,
}


def crash_settings(data: Path, **spool: object) -> Settings:
    """Return the settings for a process that opens the archive itself."""
    broker = f"redis+socket://{data}/no-broker.sock"
    return load_settings(data=data, spool=_SPOOL | spool, queue={"broker": broker, "timeout_seconds": 0.5})


def crash_environment(data: Path) -> dict[str, str]:
    """Return the same for a program that is started."""
    return {
        **{f"VNA_SPOOL__{name.upper()}": str(value) for name, value in _SPOOL.items()},
        "VNA_QUEUE__BROKER": f"redis+socket://{data}/no-broker.sock",
        "VNA_QUEUE__TIMEOUT_SECONDS": "0.5",
    }


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VNA_")}
