"""The index port by Elasticsearch 9."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from vna.config import IndexSettings
from vna.domain.errors import UnavailableError
from vna.domain.query import Criterion, Facet, Hit, Level, Query, Selector, State
from vna.domain.records import IndexedInstance, Location
from vna.index.elastic_canary import try_writing
from vna.index.elastic_client import Body, Connection
from vna.index.elastic_derive import Removed, Remover
from vna.index.elastic_errors import MissingIndexError, body_of, vendor_errors
from vna.index.elastic_layout import Layout
from vna.index.elastic_mapping import KINDS, STATE, Names
from vna.index.elastic_marker import Marker
from vna.index.elastic_rebuild import Rebuild, clear_stale, drop_retired
from vna.index.elastic_search import Searcher
from vna.index.elastic_state import StateStore
from vna.index.elastic_upsert import Writer, Written
from vna.index.elastic_versions import read_versions
from vna.ports.index import LAYOUT, Index, IndexCounts, Total, Upserted

_SWAPS = 5
_READ_BATCH = 1000
_CHECK_SECONDS = 5.0

T = TypeVar("T")
W = TypeVar("W", Written, Removed)


class ElasticIndex(Index):
    """An index in an Elasticsearch cluster.

    Parameters
    ----------
    settings
        Where the cluster is, and the prefix of the indices. Nothing connects
        before the first call; indices are made on first use.
    """

    def __init__(self, settings: IndexSettings) -> None:
        self._settings = settings
        self._connection = Connection(settings)
        self._layout = Layout(self._connection, settings)
        self._state = StateStore(self._connection, settings.prefix)
        self._use(self._layout.live)

    def _use(self, names: Names) -> None:
        self._names = names
        self._searcher = Searcher(self._connection, names)
        self._writer = Writer(self._connection, names, self._settings.prefix)
        self._remover = Remover(self._connection, names, self._settings.prefix)

    def upsert(self, instances: Sequence[IndexedInstance]) -> list[Upserted]:
        """See :meth:`vna.ports.index.Index.upsert`."""
        if not instances:
            return []
        building = Writer(self._connection, self._layout.building, self._settings.prefix)
        written = self._write(lambda: self._writer.upsert(instances), lambda: building.upsert(instances))
        written.check()
        return written.outcomes

    def remove(self, instance_ids: Sequence[str]) -> int:
        """See :meth:`vna.ports.index.Index.remove`."""
        if not instance_ids:
            return 0
        building = Remover(self._connection, self._layout.building, self._settings.prefix)
        return self._write(lambda: self._remover.remove(instance_ids), lambda: building.remove(instance_ids)).count

    def _write(self, here: Callable[[], W], there: Callable[[], W]) -> W:
        """Write to the live generation and to the one being built, if any; again, if they were swapped meanwhile."""
        first: W | None = None
        for _ in range(_SWAPS):
            self._layout.ensure()
            marker: Marker | None = None
            try:
                written = here()
                first = first or written
                if self._names == self._layout.building or not written.generation:  # 0: nothing was written
                    return first
                marker = written.marker
                if marker.overdue:
                    drop_retired(self._connection, self._layout, marker)
                if marker.building not in (None, written.generation):
                    there()
                    return first
                if written.generation in (marker.generation, marker.building):
                    return first
            except MissingIndexError:
                self._layout.forget()
                if self._names == self._layout.building:
                    raise
                if marker is not None:
                    clear_stale(self._connection, self._layout, marker)
        raise UnavailableError("Elasticsearch: the indices kept changing while this was written")

    def refresh(self) -> None:
        """See :meth:`vna.ports.index.Index.refresh`."""
        self._layout.ensure()
        self._connection.refresh(",".join(self._names.of(kind) for kind in KINDS))

    def query(self, query: Query) -> list[Hit]:
        """See :meth:`vna.ports.index.Index.query`."""
        return self._read(lambda: self._searcher.page(query))

    def count(self, query: Query) -> int:
        """See :meth:`vna.ports.index.Index.count`."""
        return self._read(lambda: self._searcher.count(query))

    def scroll(self, query: Query, page: int = 1000) -> Iterator[Hit]:
        """See :meth:`vna.ports.index.Index.scroll`."""
        self._layout.ensure()
        return self._searcher.scroll(query, page)

    def facets(
        self, query: Query, paths: Sequence[str], top: int = 20, *, studies: bool = False
    ) -> dict[str, list[Facet]]:
        """See :meth:`vna.ports.index.Index.facets`."""
        return self._read(lambda: self._searcher.facets(query, paths, top, studies=studies))

    def totals(self, path: str, top: int = 20) -> list[Total]:
        """See :meth:`vna.ports.index.Index.totals`; a value is each instance's own."""
        return self._read(lambda: self._searcher.totals(path, top))

    def locate(self, selector: Selector, criteria: Sequence[Criterion] = ()) -> Iterator[Location]:
        """See :meth:`vna.ports.index.Index.locate`."""
        self._layout.ensure()
        return self._searcher.locate(selector, criteria)

    def versions(self, instance_ids: Sequence[str]) -> dict[str, list[str]]:
        """See :meth:`vna.ports.index.Index.versions`."""
        found: dict[str, list[str]] = {}
        for at in range(0, len(instance_ids), _READ_BATCH):
            for answer in self._read(partial(self._stored_versions, instance_ids[at : at + _READ_BATCH])):
                stored = answer["_source"].get("versions", ()) if answer.get("found") else ()
                if stored:
                    found[answer["_id"]] = [version.digest for version in sorted(read_versions(stored))]
        return found

    def _stored_versions(self, ids: Sequence[str]) -> list[Body]:
        return self._connection.get_many("versions", [(self._names.instances, key, ["versions"]) for key in ids])

    def counts(self) -> IndexCounts:
        """See :meth:`vna.ports.index.Index.counts`."""
        return self._read(self._searcher.counts)

    def get_state(self, key: str) -> State | None:
        """See :meth:`vna.ports.index.Index.get_state`."""
        return self._read(lambda: self._state.get(key))

    def put_state(self, key: str, value: dict[str, object], expected: str | None) -> State:
        """See :meth:`vna.ports.index.Index.put_state`."""
        self._layout.ensure()
        return self._state.put(key, value, expected)

    @contextmanager
    def rebuild(self) -> Iterator[Index]:
        """See :meth:`vna.ports.index.Index.rebuild`."""
        self._layout.ensure()
        rebuild = Rebuild(self._connection, self._layout)
        fresh = ElasticIndex(self._settings)
        fresh._use(self._layout.building)
        try:
            yield fresh
            rebuild.finish()
        except BaseException:
            rebuild.abandon()
            raise
        finally:
            fresh.close()

    def outdated(self) -> bool:
        """See :meth:`vna.ports.index.Index.outdated`."""
        self._layout.ensure()
        return self._layout.layout() != LAYOUT

    def built(self) -> bool:
        """See :meth:`vna.ports.index.Index.built`."""
        marked = self._read(self._layout.built)
        return self.count(Query(Level.INSTANCE)) > 0 if marked is None else marked

    def mark_built(self) -> None:
        """See :meth:`vna.ports.index.Index.mark_built`."""
        self._read(lambda: self._layout.mark_built(self._layout.live))

    def check(self) -> None:
        """See :meth:`vna.ports.index.Index.check`."""
        self._read(self._check)

    def _check(self) -> None:
        seconds = min(_CHECK_SECONDS, self._settings.timeout_seconds)
        aliases = [*(self._names.of(kind) for kind in KINDS), f"{self._settings.prefix}-{STATE}"]
        with vendor_errors("check"):
            client = self._connection.client.options(request_timeout=seconds, max_retries=0)
            health = body_of(client.cluster.health(index=aliases), "check")
        if health["status"] == "red":
            raise UnavailableError("Elasticsearch: shards of the index are missing (status red)")
        try_writing(self._connection, self._names, self._settings.prefix, seconds)

    def close(self) -> None:
        """Release connections."""
        self._connection.close()

    def _read(self, read: Callable[[], T]) -> T:
        """Read, and once more if the indices were swapped in the middle."""
        self._layout.ensure()
        try:
            return read()
        except MissingIndexError:
            self._layout.forget()
            self._layout.ensure()
            return read()
