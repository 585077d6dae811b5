"""Fixtures of every suite come from the modules of ``tests.support``."""

from __future__ import annotations

pytest_plugins = (
    "tests.support.s3",
    "tests.support.elasticsearch",
    "tests.support.valkey",
    "tests.support.loopback_certificate",
)
