"""The indices behind the aliases: made on first use, built anew beside the live ones, swapped, dropped."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any

from elasticsearch import BadRequestError, NotFoundError

from vna.config import IndexSettings
from vna.domain.errors import ConflictError, UnavailableError
from vna.index.elastic_client import Connection
from vna.index.elastic_errors import body_of, vendor_errors
from vna.index.elastic_mapping import KINDS, STATE, Names, definition, generation_of, index_name
from vna.index.elastic_marker import Marker, write_marker


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
            missing = [kind for kind in (*KINDS, STATE) if f"{self.prefix}-{kind}" not in aliases]
            for kind in missing:
                self._create(kind, 1, f"{self.prefix}-{kind}")
            if missing:
                self._wait([f"{self.prefix}-{kind}" for kind in missing])
            if STATE in missing:
                self._first_marker()
            self._ensured_by = os.getpid()

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
        with vendor_errors("read the mapping"):
            answer = body_of(self._connection.client.indices.get_mapping(index=self.live.studies), "read the mapping")
        return min(int(entry["mappings"].get("_meta", {}).get("layout", 0)) for entry in answer.values())

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

    def swap(self, old: int, new: int) -> None:
        """Let the live aliases point to a new generation, all at one moment."""
        actions: list[dict[str, Any]] = []
        for kind in KINDS:
            before, after = index_name(self.prefix, kind, old), index_name(self.prefix, kind, new)
            actions += [
                {"remove": {"index": before, "alias": self.live.of(kind), "must_exist": True}},
                {"add": {"index": after, "alias": self.live.of(kind)}},
                {"remove": {"index": after, "alias": self.building.of(kind)}},
            ]
        with vendor_errors("swap aliases"):
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

    def _wait(self, names: list[str]) -> None:
        answer = self._connection.client.cluster.health(index=names, wait_for_status="yellow", timeout="30s")
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
