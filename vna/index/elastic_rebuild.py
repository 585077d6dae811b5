"""Builds a new generation of the indices beside the live one, under a lease with a heartbeat."""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from dataclasses import replace

from vna.domain.errors import ArchiveError, ConflictError, UnavailableError
from vna.domain.origin import now_us
from vna.index.elastic_client import Connection
from vna.index.elastic_layout import Layout
from vna.index.elastic_mapping import KINDS
from vna.index.elastic_marker import LEASE_SECONDS, Marker, read_marker, write_marker


class Rebuild:
    """One rebuild, from the claim to the swap."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection = connection
        self._layout = layout
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._lost = False
        self._marker = self._claim()
        self._beat = threading.Thread(target=self._heartbeat, name="index-rebuild-lease", daemon=True)
        live = self._marker.generation
        try:
            self._layout.drop(self._layout.generations() - {live})  # what a crash left behind
            self._new = max(self._layout.generations()) + 1
            self._layout.create_generation(self._new)
            # From here on every process writes to both.
            self._write(replace(self._marker, building=self._new))
        except BaseException:
            with suppress(ArchiveError):
                self._write(Marker(live))
            raise
        self._beat.start()

    def finish(self) -> None:
        """Swap the new generation in, and drop the old one."""
        for kind in KINDS:
            self._connection.refresh(self._layout.building.of(kind))
        self._layout.mark_built(self._layout.building)
        self._halt()
        if self._lost:
            raise ConflictError("another process took this rebuild over")
        self._write(replace(self._marker, heartbeat_us=now_us()))
        old = self._marker.generation
        try:
            self._layout.swap(self._new)
        except UnavailableError:
            # The answer may be lost, not the deed.
            if self._layout.live_generation() != self._new:
                raise
        with suppress(ArchiveError):  # it is done; what could not be tidied now the next rebuild tidies
            if self._layout.is_read(old):
                self._write(Marker(self._new, retired=old, retired_us=now_us()))
            else:
                self._write(Marker(self._new))
                self._layout.drop([old])

    def abandon(self) -> None:
        """Drop the new generation."""
        self._halt()
        if self._lost:
            return
        with suppress(ArchiveError):  # the lease ends by itself, and the next rebuild drops what is left
            self._write(Marker(self._layout.live_generation()))
            self._layout.drop([self._new])

    def _claim(self) -> Marker:
        marker = read_marker(self._connection, self._layout.prefix)
        if marker.alive:
            raise ConflictError("a rebuild of the index is under way elsewhere")
        claimed = Marker(self._layout.live_generation(), None, secrets.token_hex(8), now_us(), revision=marker.revision)
        return write_marker(self._connection, self._layout.prefix, claimed)

    def _write(self, marker: Marker) -> None:
        with self._lock:
            current = replace(marker, revision=self._marker.revision)
            self._marker = write_marker(self._connection, self._layout.prefix, current)

    def _halt(self) -> None:
        self._stop.set()
        if self._beat.is_alive():
            self._beat.join()

    def _heartbeat(self) -> None:
        while not self._stop.wait(LEASE_SECONDS / 6):
            try:
                self._write(replace(self._marker, heartbeat_us=now_us()))
            except ConflictError:
                self._lost = True
                return
            except ArchiveError:
                continue  # the next beat may reach the service; the lease is longer than several


def drop_retired(connection: Connection, layout: Layout, marker: Marker) -> None:
    """Delete a former generation that was kept for the scrolls that read it."""
    if marker.retired is None:
        return
    try:
        write_marker(connection, layout.prefix, replace(marker, retired=None))
    except ConflictError:
        return  # somebody else does it
    layout.drop([marker.retired])


def clear_stale(connection: Connection, layout: Layout, marker: Marker) -> None:
    """Forget a rebuild whose process and indices are both gone, so that writes need not reach it."""
    if marker.alive:
        return
    try:
        cleared = Marker(layout.live_generation(), revision=marker.revision)
        write_marker(connection, layout.prefix, cleared)
    except ConflictError:
        return  # somebody else put it right
