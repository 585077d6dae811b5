"""The indices behind the aliases: made on first use, built anew beside the live ones, swapped, dropped."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from elasticsearch import BadRequestError, NotFoundError

from vna.config import IndexSettings
from vna.domain.errors import ConflictError, UnavailableError
from vna.index.elastic_client import Connection
from vna.index.elastic_errors import body_of, vendor_errors
from vna.index.elastic_mapping import BUILT, KINDS, STATE, Names, definition, generation_of, index_name
from vna.index.elastic_marker import Marker, marker_request, parse_marker, write_marker


class Layout:
    """Knows which indices there are."""

    def __init__(self, connection: Connection, settings: IndexSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._lock = threading.Lock()
        self._ensured_by = 0
        self.prefix = settings.prefix
        self.live = Names.live(settings.prefix)
        self.building = Names.building(settings.prefix)

    def ensure(self) -> None:
        """Make what is missing, once in a process; any number of processes may do so at once."""
        if self._ensured_by == os.getpid():
            return
        with self._lock, vendor_errors("set up"):
            aliases = self._aliases()
            made = [] if f"{self.prefix}-{STATE}" in aliases else [STATE]
            if made:
                self._create(STATE, 1, f"{self.prefix}-{STATE}")
            missing = [kind for kind in KINDS if self.live.of(kind) not in aliases]
            if missing:
                self._wait([f"{self.prefix}-{STATE}"])
                generation = self._generation_missing(aliases)
                for kind in missing:
                    self._create(kind, generation, self.live.of(kind))
            made += missing
            if made:
                self._wait([f"{self.prefix}-{kind}" for kind in made])
                self._first_marker()
            self._ensured_by = os.getpid()

    def _generation_missing(self, aliases: Mapping[str, str]) -> int:
        """Return the generation of what is lost: that of the parts that are left, of the note, or the first."""
        left = [generation_of(aliases[self.live.of(kind)]) for kind in KINDS if self.live.of(kind) in aliases]
        if left:
            return max(left)
        [answer] = self._connection.get_many("set up", [marker_request(self.prefix)])
        return parse_marker(answer).generation if answer.get("found") else 1

    def forget(self) -> None:
        """Look again at the next call, after an index was found missing."""
        self._ensured_by = 0

    def live_generation(self) -> int:
        """Return the generation that the live aliases point to."""
        with vendor_errors("read aliases"):
            aliases = self._aliases()
        try:
            return generation_of(aliases[self.live.studies])
        except KeyError:
            raise UnavailableError(f"Elasticsearch: there is no alias {self.live.studies}") from None

    def layout(self) -> int:
        """Return the :data:`vna.ports.index.LAYOUT` that the live studies were made in, 0 before it was told."""
        return min(int(meta.get("layout", 0)) for meta in self._metas([self.live.studies]).values())

    def built(self) -> bool | None:
        """Return whether every live index is marked as built, ``None`` where an earlier version kept no mark."""
        marks = [meta.get(BUILT) for meta in self._metas([self.live.of(kind) for kind in KINDS]).values()]
        return False if False in marks else None if None in marks else True

    def mark_built(self, names: Names) -> None:
        """Mark the indices behind some aliases as built."""
        for index, meta in self._metas([names.of(kind) for kind in KINDS]).items():
            if meta.get(BUILT) is not True:
                self._write_meta(index, meta | {BUILT: True})

    def _metas(self, names: list[str]) -> dict[str, dict[str, Any]]:
        with vendor_errors("read the mapping"):
            answer = body_of(self._connection.client.indices.get_mapping(index=names), "read the mapping")
        return {index: entry["mappings"].get("_meta", {}) for index, entry in answer.items()}

    def _write_meta(self, index: str, meta: dict[str, Any]) -> None:
        with vendor_errors("write the mapping"):
            self._connection.client.indices.put_mapping(index=index, meta=meta)

    def create_generation(self, generation: int) -> None:
        """Make a new generation behind the building aliases."""
        with vendor_errors("create indices"):
            for kind in KINDS:
                self._create(kind, generation, self.building.of(kind))
            self._wait([self.building.of(kind) for kind in KINDS])

    def generations(self) -> set[int]:
        """Return every generation of which any index is there."""
        with vendor_errors("list indices"):
            found = body_of(self._connection.client.indices.get_alias(index=f"{self.prefix}-*"), "list indices")
        wanted = tuple(f"{self.prefix}-{kind}-" for kind in KINDS)
        names = [name for name in found if name.startswith(wanted) and name.rsplit("-", 1)[1].isdigit()]
        return {generation_of(name) for name in names if is_of_prefix(name, self.prefix)}

    def swap(self, new: int) -> None:
        """Let the live aliases point to a new generation, all at one moment."""
        actions: list[dict[str, Any]] = []
        with vendor_errors("swap aliases"):
            aliases = self._aliases()
            for kind in KINDS:
                live, after = self.live.of(kind), index_name(self.prefix, kind, new)
                if live in aliases:  # one that was lost is made anew by whoever misses it, but perhaps not yet
                    actions.append({"remove": {"index": aliases[live], "alias": live, "must_exist": True}})
                actions += [
                    {"add": {"index": after, "alias": live}},
                    {"remove": {"index": after, "alias": self.building.of(kind)}},
                ]
            self._connection.client.indices.update_aliases(actions=actions)

    def is_read(self, generation: int) -> bool:
        """Say whether a scroll still reads a generation."""
        names = [index_name(self.prefix, kind, generation) for kind in KINDS]
        with vendor_errors("read statistics"):
            answer = body_of(self._connection.client.indices.stats(index=names, metric="search"), "read statistics")
        return bool(answer["_all"]["total"]["search"]["open_contexts"])

    def drop(self, generations: Iterable[int]) -> None:
        """Delete generations; what is live stays, whatever was asked."""
        unwanted = set(generations) - {self.live_generation()}
        for generation in unwanted:
            for kind in KINDS:
                try:
                    with vendor_errors("delete an index"):
                        self._delete(index_name(self.prefix, kind, generation))
                except ConflictError as error:  # a snapshot of it is under way
                    raise UnavailableError(str(error)) from error

    def _delete(self, name: str) -> None:
        try:
            self._connection.client.indices.delete(index=name)
        except NotFoundError:
            return

    def _aliases(self) -> dict[str, str]:
        try:
            answer = body_of(self._connection.client.indices.get_alias(name=f"{self.prefix}-*"), "read aliases")
        except NotFoundError:
            return {}
        return {alias: index for index, entry in answer.items() for alias in entry.get("aliases", {})}

    def _create(self, kind: str, generation: int, alias: str) -> None:
        name = index_name(self.prefix, kind, generation)
        try:
            self._connection.client.indices.create(
                index=name, aliases={alias: {}}, **definition(kind, self._settings), wait_for_active_shards=1
            )
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise
            if alias not in self._aliases():
                # Somebody took the alias away, and nobody knows what was missed since.
                self._write_meta(name, next(iter(self._metas([name]).values())) | {BUILT: False})
                self._connection.client.indices.update_aliases(actions=[{"add": {"index": name, "alias": alias}}])

    def _wait(self, names: list[str]) -> None:
        # An index just made is yellow before its first shard is active, and cannot be read by then.
        answer = self._connection.client.cluster.health(
            index=names, wait_for_status="yellow", wait_for_active_shards=len(names), timeout="30s"
        )
        health = body_of(answer, "wait for indices")
        if health["timed_out"]:
            raise UnavailableError(f"Elasticsearch: {', '.join(names)} not ready in 30 s")

    def _first_marker(self) -> None:
        try:
            write_marker(self._connection, self.prefix, Marker(self.live_generation()))
        except ConflictError:
            return  # another process was faster


def is_of_prefix(name: str, prefix: str) -> bool:
    """Say whether a name is one that :func:`index_name` makes for this prefix."""
    kinds = {index_name(prefix, kind, generation_of(name)) for kind in KINDS}
    return name in kinds
