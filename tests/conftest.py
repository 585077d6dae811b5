"""Fixtures of every suite come from the modules of ``tests.support``."""

from __future__ import annotations

from importlib.util import find_spec

_SUPPORT = ("tests.support.s3", "tests.support.elasticsearch", "tests.support.valkey")
pytest_plugins = [name for name in _SUPPORT if find_spec(name) is not None]
