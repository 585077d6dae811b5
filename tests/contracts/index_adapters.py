"""The adapters of the index port, by name.

A test asks for ``index`` (empty, its own), ``loaded`` (filled with
``index_data.collection``, for reading only) or ``index_spec`` (where an index
is, so that another process can open it by :func:`open_index`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contracts.index_data import collection
from tests.support.elasticsearch import drop_indices
from vna.config import IndexSettings
from vna.ports.index import Index

ADAPTERS = ("sqlite", "elasticsearch")


@dataclass(frozen=True)
class IndexSpec:
    """Where an index is: a file, or the URL and prefix of a service. Can be pickled."""

    adapter: str
    where: str
    prefix: str = ""


def open_index(spec: IndexSpec) -> Index:
    """Open an index, as one process of an archive does."""
    if spec.adapter == "elasticsearch":
        from vna.index.elastic import ElasticIndex

        return ElasticIndex(IndexSettings(kind="elasticsearch", hosts=(spec.where,), prefix=spec.prefix))
    from vna.index.sqlite import SqliteIndex

    return SqliteIndex(Path(spec.where))


def new_spec(adapter: str, folder: Path, request: pytest.FixtureRequest) -> IndexSpec:
    """Say where a new, empty index shall be."""
    if adapter == "elasticsearch":
        url: str = request.getfixturevalue("elasticsearch_url")
        return IndexSpec(adapter, url, f"t{secrets.token_hex(6)}")
    return IndexSpec(adapter, str(folder / "index.sqlite"))


def drop(spec: IndexSpec) -> None:
    """Remove what a test left in a service; a file goes with its folder."""
    if spec.adapter == "elasticsearch":
        drop_indices(spec.where, spec.prefix)


@pytest.fixture(params=ADAPTERS)
def index_spec(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexSpec]:
    spec = new_spec(request.param, tmp_path, request)
    yield spec
    drop(spec)


@pytest.fixture
def index(index_spec: IndexSpec) -> Iterator[Index]:
    opened = open_index(index_spec)
    yield opened
    opened.close()


@pytest.fixture(params=ADAPTERS, scope="module")
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    spec = new_spec(request.param, tmp_path_factory.mktemp("index"), request)
    opened = open_index(spec)
    opened.upsert(collection())
    opened.refresh()
    yield opened
    opened.close()
    drop(spec)
