"""The adapters of the objects port, by name.

A test asks for ``objects`` (empty, its own) or ``objects_spec`` (where a store
is, so that another process can open it by :func:`open_objects`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.s3 import S3Service, service_names
from vna.config import StoreSettings
from vna.ports.objects import ObjectStore

DATA = random.Random(7).randbytes((3 << 20) + 17)
ADAPTERS = ("folder", *service_names())


@dataclass(frozen=True)
class ObjectsSpec:
    """Where a store is, and what of the optional it can do. Can be pickled."""

    adapter: str
    settings: StoreSettings
    # versitygw keeps no storage class; of an unknown service nothing is expected.
    keeps_classes: bool


def open_objects(spec: ObjectsSpec) -> ObjectStore:
    """Open a store, as one process of an archive does."""
    if spec.settings.kind == "s3":
        from vna.store.s3 import S3Store

        return S3Store(spec.settings)
    from vna.store.folder import FolderStore

    assert spec.settings.path is not None
    return FolderStore(spec.settings.path)


def new_objects_spec(adapter: str, folder: Path, request: pytest.FixtureRequest) -> ObjectsSpec:
    """Say where a new, empty store shall be."""
    keeps = adapter in {"folder", "minio"}
    if adapter == "folder":
        return ObjectsSpec(adapter, StoreSettings(path=folder / "objects"), keeps)
    service: S3Service = request.getfixturevalue("minio" if adapter == "external" else adapter)
    return ObjectsSpec(adapter, service.settings(multipart_bytes=5 << 20), keeps)


@pytest.fixture(params=ADAPTERS)
def objects_spec(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectsSpec:
    return new_objects_spec(request.param, tmp_path, request)


@pytest.fixture
def objects(objects_spec: ObjectsSpec) -> Iterator[ObjectStore]:
    with closing(open_objects(objects_spec)) as store:
        store.check()
        yield store


@pytest.fixture(scope="module", params=ADAPTERS)
def read_only(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Give a store with one object, :data:`DATA` under ``data``, that no test changes."""
    spec = new_objects_spec(request.param, tmp_path_factory.mktemp("objects"), request)
    with closing(open_objects(spec)) as store:
        store.check()
        store.put("data", DATA)
        yield store
