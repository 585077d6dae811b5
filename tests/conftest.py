"""Fixtures of every suite come from the modules of ``tests.support``."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no fault of the code: what must be quick is measured where that is the point.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

pytest_plugins = (
    "tests.support.s3",
    "tests.support.elasticsearch",
    "tests.support.valkey",
    "tests.support.certificates",
)
