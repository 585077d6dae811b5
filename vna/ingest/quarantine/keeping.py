"""The quarantine: entries go in, are listed, and are taken out, back to the spool or away for good."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from vna.domain.errors import (
    ArchiveError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from vna.domain.identity import FACT_PREFIX
from vna.domain.origin import iso_utc, now_us
from vna.files import make_durable_folder, remove_unlocked, sync_folder
from vna.ingest.journal import Journal
from vna.ingest.quarantine.alike import Alike
from vna.ingest.quarantine.copies import Copies
from vna.ingest.quarantine.copying import Copied, copy, parts_of
from vna.ingest.quarantine.departures import Departures
from vna.ingest.quarantine.intake import Intake
from vna.ingest.quarantine.item import REASON, Quarantined, as_received, encode, read_item
from vna.ingest.spool import Spool, SpoolEntry
from vna.ports.objects import ObjectStore

log = structlog.get_logger(__name__)

# Age at which what a process left behind is nobody's any more.
_LEFT_SECONDS = 3600.0


class Quarantine:
    """The quarantine of one spool.

    Parameters
    ----------
    spool
        The spool.
    journal
        Its journal: attempts are forgotten when an entry leaves.
    objects
        Where copies are kept.
    on_put
        Told of each entry that was put here.
    """

    def __init__(
        self,
        spool: Spool,
        journal: Journal,
        objects: ObjectStore,
        on_put: Callable[[Quarantined], None] = lambda _item: None,
    ) -> None:
        self._spool = spool
        self._journal = journal
        self._objects = objects
        self._copies = Copies(objects)
        self._on_put = on_put
        self.path = spool.path / "quarantine"
        self._alike = Alike(self.path / "alike")
        self._departures = Departures(spool.path / "quarantine.lock", self.path / "leaving")
        self._intake = Intake(spool, self.path, self._copies, self._alike, self._departures)
        with suppress(OSError):  # a full disk keeps no worker from its work; it is made when it is needed
            make_durable_folder(self.path)

    # Into quarantine.

    def put(self, entry: SpoolEntry, reason: str, error: str, attempts: int = 0) -> Quarantined:
        """Move an entry here. Idempotent; a crash at any point leaves the entry here or in the spool.

        If the same bytes wait here for the same reason already, the entry is dropped, and that one is returned.
        What cannot be read of the bytes is zeros here, and the reason says so.

        Raises
        ------
        UnavailableError, OutOfResourcesError
            The object store did not take the copy; the entry is where it was.
        FileNotFoundError
            The entry has left the spool meanwhile.
        OSError
            The bytes cannot be written here; the entry is where it was.
        """
        item = self._intake.take(entry, reason, error, attempts)
        self._journal.forget(entry.name)
        self._on_put(item)
        return item

    # What is in it.

    def list(self) -> Iterator[Quarantined]:
        """Yield what is here, longest here by time of arrival first."""
        for name in sorted(self._names()):
            with suppress(FileNotFoundError):  # dropped or retried meanwhile
                yield read_item(self.path, name)

    def count(self) -> int:
        """Return how many there are."""
        return sum(1 for _ in self._names())

    def _names(self) -> Iterator[str]:
        with suppress(FileNotFoundError), os.scandir(self.path) as found:
            for item in found:
                # A file that somebody else has laid here is none of ours.
                if item.name.endswith(".dcm") and _is_entry(item.name):
                    yield item.name

    def show(self, prefix: str) -> Quarantined:
        """Return the one entry whose id starts so.

        Raises
        ------
        NotFoundError
            None does.
        InvalidInputError
            Several do; the message lists them.
        """
        wanted = prefix.strip().lower()
        names = [name for name in self._names() if wanted and name[15:27].startswith(wanted)]
        if len(names) > 1:
            ids = ", ".join(sorted(name[15:27] for name in names)[:10])
            raise InvalidInputError(f"{len(names)} ids in quarantine start with {prefix!r}: {ids}")
        with suppress(FileNotFoundError):
            if names:
                return read_item(self.path, names[0])
        raise NotFoundError(f"nothing in quarantine has an id that starts with {prefix!r}")

    def file(self, item: Quarantined) -> Path:
        """Return the path of an entry's bytes."""
        return self.path / item.name

    # Out of quarantine.

    def retry(self, prefix: str, *, force: bool = False) -> SpoolEntry:
        """Give an entry back to the spool with its attempts reset, and return the entry that it is there.

        It is a suspect still, so it is committed alone. The sweeper takes it
        up; a caller may tell the queue at once. If the bytes here are not those
        that were received and the copy in the object store has them, that is given back.

        Parameters
        ----------
        prefix
            Start of its id.
        force
            Give it back even if its bytes are not those that were received: a person has looked at them.

        Raises
        ------
        IntegrityError
            Its bytes are not those that were received, neither here nor in the object store. It stays.
        NotFoundError, InvalidInputError
            As :meth:`show`.
        ConflictError
            Somebody else takes it out just now.
        UnavailableError, OutOfResourcesError
            The spool does not take it, or the disk or the object store does not do its part.
        """
        with self._departing(prefix) as item:
            entry = SpoolEntry.parse(item.name)
            again = self._give_back(entry, item, force=force)
            self._journal.suspect(again.name)
            # After a crash in the middle of put it is there still. What is damaged stands for no other.
            if not force and self._spool.waits(entry):
                self._spool.finish([entry])
        return again

    def _give_back(self, entry: SpoolEntry, item: Quarantined, *, force: bool) -> SpoolEntry:
        wanted: list[Callable[[Copied], bool]] = [lambda copied: as_received(entry, copied, item)]
        if force:
            wanted += [lambda copied: copied.digest == item.digest, lambda _copied: True]
        for accepts in wanted:
            for there in (False, True):
                with suppress(NotFoundError, IntegrityError), self._spool.begin(entry.origin) as file:
                    parts = self._copies.parts(item.name) if there else parts_of(self.path / item.name)
                    if accepts(copy(parts, file)):
                        return file.seal(entry.received_us)
        raise IntegrityError(
            f"{item.id}: the bytes are not those that were received, neither here nor in the object store;"
            " look at them, and force it back as it is, or drop it"
        )

    def drop(self, prefix: str, reason: str, by: str) -> Quarantined:
        """Destroy an entry for good, and keep the fact: what it was, who dropped it, when and why.

        Its copy in the object store goes at once, or with a later sweep if the store does not answer.
        Raises what :meth:`retry` does, but ``IntegrityError``.
        """
        with self._departing(prefix) as item:
            fact: dict[str, Any] = {
                "kind": "quarantine-drop",
                "by": by,
                "when": iso_utc(now_us()),
                "why": reason,
                "digest": copy(parts_of(self.path / item.name)).digest,
                "entry": asdict(item),
            }
            self._objects.replace(f"{FACT_PREFIX}quarantine/{item.id}.json", encode(fact))
            entry = SpoolEntry.parse(item.name)
            if self._spool.waits(entry):
                self._spool.finish([entry])
        return item

    @contextmanager
    def _departing(self, prefix: str) -> Iterator[Quarantined]:
        """Have nobody count on an entry any more, and remove it when the block is done with it."""
        try:
            name = self.show(prefix).name
            with self._departures.taking(name):
                try:
                    yield self.show(name[15:27])
                except BaseException:
                    with suppress(OSError):
                        self._departures.settle(name)
                    raise
                self._remove(name)
        except OSError as error:
            raise UnavailableError(f"quarantine: {error}") from error

    def _remove(self, name: str) -> None:
        with self._departures.locked():
            with suppress(FileNotFoundError):
                self._alike.forget(read_item(self.path, name).digest, name)
            # The bytes last: what is listed can be acted upon again after a crash.
            (self.path / (name + REASON)).unlink(missing_ok=True)
            (self.path / name).unlink(missing_ok=True)
            sync_folder(self.path)
        self._remove_copies(name)

    def _remove_copies(self, name: str) -> None:
        # Last of all: while anything is here, the object store has it as well.
        try:
            self._copies.remove(name)
        except ArchiveError as error:
            log.warning("a copy of what has left quarantine is removed later", entry=name, error=str(error))
        else:
            self._departures.settle(name)

    # Order.

    def clean(self) -> None:
        """Finish what processes that died, or an object store that was away, left half done; raises ``OSError``."""
        for name in self._departures.marked():
            with suppress(ConflictError), self._departures.taking(name):
                if (self.path / name).exists():
                    self._departures.settle(name)
                else:
                    self._remove_copies(name)
        before = time.time() - _LEFT_SECONDS
        with suppress(FileNotFoundError), os.scandir(self.path) as found:
            for item in found:
                with suppress(OSError):
                    if item.stat(follow_symlinks=False).st_mtime >= before:
                        continue
                    if item.name.startswith(".") and item.is_file(follow_symlinks=False):
                        remove_unlocked(Path(item.path))
                    elif item.name.endswith(REASON):
                        self._remove_orphan(Path(item.path))

    def _remove_orphan(self, note: Path) -> None:
        """Remove a note without bytes: a crash came between the two, and the entry is in the spool."""
        if not self.path.joinpath(note.name.removesuffix(REASON)).exists():
            with self._departures.locked():
                if not self.path.joinpath(note.name.removesuffix(REASON)).exists():
                    note.unlink()


def _is_entry(name: str) -> bool:
    try:
        SpoolEntry.parse(name)
    except ValueError:
        return False
    return True
