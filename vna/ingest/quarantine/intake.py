"""Putting an entry in quarantine, so that whatever dies leaves it there or in the spool."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO

from vna.domain.origin import iso_utc, now_us
from vna.files import make_durable_folder, sync_folder, write_durably
from vna.ingest.filemeta import peek
from vna.ingest.quarantine.alike import Alike
from vna.ingest.quarantine.copies import Copies
from vna.ingest.quarantine.copying import Copied, copy, parts_of
from vna.ingest.quarantine.departures import Departures
from vna.ingest.quarantine.item import REASON, TORN, Quarantined, as_received, encode, read_item
from vna.ingest.spool import Spool, SpoolEntry


class Intake:
    """The way into a quarantine.

    Parameters
    ----------
    spool
        The spool.
    path
        Folder of the quarantine.
    copies, alike, departures
        Its copies in the object store, which entries have the same bytes, and which are leaving.
    """

    def __init__(self, spool: Spool, path: Path, copies: Copies, alike: Alike, departures: Departures) -> None:
        self.path = path
        self._spool = spool
        self._copies = copies
        self._alike = alike
        self._departures = departures

    def take(self, entry: SpoolEntry, reason: str, error: str, attempts: int) -> Quarantined:
        """Move an entry from the spool; see :meth:`vna.ingest.quarantine.Quarantine.put`."""
        # Damaged or not, what is there is kept: a person may know what to do with it.
        source = replace(self._spool.source(entry), checksum=None)
        make_durable_folder(self.path)
        with self._draft() as (draft, file):
            copied = copy(parts_of(source), file)
            file.flush()
            os.fsync(file.fileno())
            # If it does not wait any more, its place may have been another's while it was read.
            self._check_waits(entry)
            if copied.unreadable:
                reason += f"; {copied.unreadable} bytes cannot be read, and are zeros here"
            return self._join(entry, draft, copied, reason) or self._keep(
                entry,
                draft,
                copied,
                Quarantined(
                    id=entry.nonce,
                    name=entry.name,
                    reason=reason,
                    error=error,
                    when=iso_utc(now_us()),
                    received=iso_utc(entry.received_us),
                    attempts=attempts,
                    size=copied.size,
                    origin=asdict(entry.origin),
                    meta=peek(draft),
                    digest=copied.digest,
                ),
            )

    @contextmanager
    def _draft(self) -> Iterator[tuple[Path, BinaryIO]]:
        draft = self.path / f".{os.getpid()}-{os.urandom(4).hex()}"
        try:
            with draft.open("xb") as file:
                # For as long as the lock is held, nobody clears it away.
                fcntl.flock(file, fcntl.LOCK_EX)
                yield draft, file
        finally:
            draft.unlink(missing_ok=True)

    def _check_waits(self, entry: SpoolEntry) -> None:
        if not self._spool.waits(entry):
            raise FileNotFoundError(entry.name)

    def _join(self, entry: SpoolEntry, draft: Path, copied: Copied, reason: str) -> Quarantined | None:
        """Drop an entry whose bytes wait here for the same reason, whole; return what waits, ``None`` if nothing."""
        for name in self._alike.names(copied.digest):
            if name == entry.name:
                continue
            with suppress(FileNotFoundError, ValueError):  # dropped or retried meanwhile
                found = read_item(self.path, name)
                if found.reason != reason or found.digest != copied.digest:
                    continue
                # What is here is all that is left then: its note is no proof that it is whole.
                if copy(parts_of(self.path / name)).digest != copied.digest:
                    continue
                if found.error != TORN and not self._copies.there(name):
                    self._copies.ensure(SpoolEntry.parse(name), draft, copied)
                with self._departures.locked():
                    if (self.path / name).exists() and not self._departures.leaves(name):
                        self._spool.finish([entry])
                        return found
        return None

    def _keep(self, entry: SpoolEntry, draft: Path, copied: Copied, item: Quarantined) -> Quarantined:
        """Put a copy of an entry in place, here and in the object store, and be done with the entry."""
        target = self.path / entry.name
        better = None if as_received(entry, copied) else self._whole(entry)
        if better is not None:
            item = replace(item, size=better.size, digest=better.digest, meta=peek(target))
        document = encode(asdict(item))
        if item.error != TORN:
            self._copies.put(entry, draft, copied, document)
        with self._departures.locked():
            self._check_waits(entry)
            write_durably(self.path / (entry.name + REASON), document)
            if better is None or not target.exists():
                os.replace(draft, target)
            sync_folder(self.path)
            if not self._departures.leaves(entry.name):
                self._alike.add(item.digest, entry.name)
            self._spool.finish([entry])
        return item

    def _whole(self, entry: SpoolEntry) -> Copied | None:
        """Return which bytes are here already under the same name, if they are those that were received."""
        with suppress(FileNotFoundError):
            found = copy(parts_of(self.path / entry.name))
            return found if as_received(entry, found) else None
        return None
