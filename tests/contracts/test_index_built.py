"""What every index says of whether it began with all that the object store held, and of whether it takes writes."""

from __future__ import annotations

import pytest

from tests.contracts import index_data as d
from tests.contracts.index_adapters import IndexSpec, open_index
from vna.domain.query import Level, Query
from vna.ports.index import Index, IndexCounts


def test_a_new_index_is_not_built_until_somebody_says_so(index_spec: IndexSpec, index: Index) -> None:
    assert not index.built()
    index.upsert([d.instance()])
    assert not index.built()
    index.mark_built()
    other = open_index(index_spec)
    assert other.built()
    assert not other.outdated()
    other.close()


def test_an_index_is_built_when_its_rebuild_ended_well(index: Index) -> None:
    def fail() -> None:
        with index.rebuild() as new:
            new.upsert([d.instance()])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not index.built()
    with index.rebuild():
        assert not index.built()
    assert index.built()
    with index.rebuild():
        assert index.built()
    assert index.built()


def test_a_check_leaves_nothing_that_is_found(index: Index) -> None:
    index.check()
    index.refresh()
    assert index.counts() == IndexCounts(0, 0, 0, 0, 0)
    index.upsert([d.instance()])
    with index.rebuild() as new:
        new.check()
        new.refresh()
        assert new.counts() == IndexCounts(0, 0, 0, 0, 0)
        index.check()
    index.refresh()
    for level in Level:
        assert index.query(Query(level)) == []
