"""Quarantine: entries that cannot be committed, kept with the reason until a person decides.

The bytes lie in ``quarantine/`` of the spool, with the reason beside them. An
acknowledged instance must outlive this host, so its bytes and its reason are
put into the object store as well, below ``quarantine/``, before the entry is
dropped; there they are a backup that only this class touches. A torn file
(shorter than its name says, as the first format of the spool could leave one)
was never acknowledged and stays local.

The same bytes that come again for the same reason are one entry: a person has
one decision to make, however often a sender tries.

An entry is known by twelve hex digits of its name, or as many of them as make
it unique.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vna.domain.errors import ConflictError, InvalidInputError, NotFoundError
from vna.domain.file_range import FileRange
from vna.domain.identity import FACT_PREFIX
from vna.domain.origin import iso_utc, now_us
from vna.files import make_durable_folder, sync_folder, write_durably
from vna.ingest.filemeta import peek
from vna.ingest.journal import Journal
from vna.ingest.spool import Spool, SpoolEntry
from vna.ports.objects import ObjectStore, Put

QUARANTINE_PREFIX = "quarantine/"
TORN = "TornFile"
_REASON = ".reason.json"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One entry in quarantine.

    Attributes
    ----------
    id
        What a person types to mean it.
    name
        Name of the spool entry.
    reason, error
        Why it is here, a sentence; and the type of the error.
    when, received
        Since when it is here, and when it had arrived; ISO 8601 in UTC.
    attempts
        How often it was tried.
    size
        Length in bytes.
    origin
        Who sent it: protocol, calling, called, address.
    digest
        SHA-256 of the bytes; empty in notes of earlier versions.
    meta
        SOP class, SOP instance and transfer syntax of its File Meta Information, if readable.
    """

    id: str
    name: str
    reason: str
    error: str
    when: str
    received: str
    attempts: int
    size: int
    origin: dict[str, str] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    digest: str = ""


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
        self._on_put = on_put
        self.path = spool.path / "quarantine"
        self._alike = Alike(self.path / "alike")
        make_durable_folder(self.path)

    def put(self, entry: SpoolEntry, reason: str, error: str, attempts: int = 0) -> Quarantined:
        """Move an entry here. Idempotent; a crash at any point leaves the entry here or in the spool.

        If the same bytes wait here for the same reason already, the entry is dropped, and that one is returned.

        Raises
        ------
        UnavailableError, OutOfResourcesError
            The object store did not take the copy; the entry is where it was.
        FileNotFoundError
            The entry has left the spool meanwhile.
        """
        # Damaged or not, what is there is kept: a person may know what to do with it.
        source = replace(self._spool.source(entry), checksum=None)
        size, digest = _digest(source)
        known = self._known(entry, digest, reason)
        if known is not None:
            self._leave(entry, known)
            return known
        item = Quarantined(
            id=entry.nonce,
            name=entry.name,
            reason=reason,
            error=error,
            when=iso_utc(now_us()),
            received=iso_utc(entry.received_us),
            attempts=attempts,
            size=size,
            origin=asdict(entry.origin),
            meta=peek(source),
            digest=digest,
        )
        document = _encode(asdict(item))
        if error != TORN:
            self._objects.put_batch([Put(_key(entry.name), source, "application/dicom")])
            self._objects.replace(_key_of_reason(entry.name), document)
        write_durably(self.path / (entry.name + _REASON), document)
        self._copy(source, entry.name)
        self._alike.add(digest, entry.name)
        self._leave(entry, item)
        return item

    def _copy(self, source: FileRange, name: str) -> None:
        """Copy an entry's bytes here, durably."""
        draft = self.path / f".{os.getpid()}-{os.urandom(4).hex()}"
        try:
            with source.open() as read, draft.open("wb") as file:
                shutil.copyfileobj(read, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self.path / name)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(self.path)

    def _leave(self, entry: SpoolEntry, item: Quarantined) -> None:
        self._spool.finish([entry])
        self._journal.forget(entry.name)
        self._on_put(item)

    def _known(self, entry: SpoolEntry, digest: str, reason: str) -> Quarantined | None:
        """Return what is here with the same bytes for the same reason."""
        for name in self._alike.names(digest):
            if name == entry.name:
                continue
            with suppress(FileNotFoundError):  # dropped or retried meanwhile
                found = self._read(name)
                if found.reason == reason and found.digest == digest:
                    return found
        return None

    def list(self) -> Iterator[Quarantined]:
        """Yield what is here, longest here by time of arrival first."""
        for name in sorted(self._names()):
            with suppress(FileNotFoundError):  # dropped or retried meanwhile
                yield self._read(name)

    def count(self) -> int:
        """Return how many there are."""
        return sum(1 for _ in self._names())

    def _names(self) -> Iterator[str]:
        with os.scandir(self.path) as found:
            for item in found:
                if item.name.endswith(".dcm") and not item.name.startswith("."):
                    yield item.name

    def _read(self, name: str) -> Quarantined:
        size = (self.path / name).stat().st_size
        try:
            return Quarantined(**json.loads((self.path / (name + _REASON)).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            entry = SpoolEntry.parse(name)
            return Quarantined(
                id=entry.nonce,
                name=name,
                reason="the note of the reason is missing or unreadable",
                error="",
                when="",
                received=iso_utc(entry.received_us),
                attempts=0,
                size=size,
                origin=asdict(entry.origin),
                meta=peek(self.path / name),
            )

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
        if not names:
            raise NotFoundError(f"nothing in quarantine has an id that starts with {prefix!r}")
        if len(names) > 1:
            ids = ", ".join(sorted(name[15:27] for name in names)[:10])
            raise InvalidInputError(f"{len(names)} ids in quarantine start with {prefix!r}: {ids}")
        return self._read(names[0])

    def file(self, item: Quarantined) -> Path:
        """Return the path of an entry's bytes."""
        return self.path / item.name

    def retry(self, prefix: str) -> SpoolEntry:
        """Give an entry back to the spool with its attempts reset, and return the entry that it is there.

        It is a suspect still, so it is committed alone. The sweeper takes it
        up; a caller may tell the queue at once. Raises ``OutOfResourcesError``
        if the spool does not take it.
        """
        item = self.show(prefix)
        entry = SpoolEntry.parse(item.name)
        path = self.path / item.name
        with self._spool.begin(entry.origin) as file, path.open("rb") as kept:
            while piece := kept.read(1 << 20):
                file.write(piece)
            again = file.seal(entry.received_us)
        self._journal.suspect(again.name)
        self._remove(item)
        return again

    def drop(self, prefix: str, reason: str, by: str) -> Quarantined:
        """Destroy an entry for good, and keep the fact: what it was, who dropped it, when and why."""
        item = self.show(prefix)
        _size, digest = _digest(whole(self.path / item.name))
        fact: dict[str, Any] = {
            "kind": "quarantine-drop",
            "by": by,
            "when": iso_utc(now_us()),
            "why": reason,
            "digest": digest,
            "entry": asdict(item),
        }
        self._objects.replace(f"{FACT_PREFIX}quarantine/{item.id}.json", _encode(fact))
        self._remove(item)
        return item

    def _remove(self, item: Quarantined) -> None:
        for key in (_key(item.name), _key_of_reason(item.name)):
            with suppress(ConflictError):  # a store that retains everything keeps its copy, which does no harm
                self._objects.delete(key)
        # The bytes last: what is listed can be acted upon again after a crash.
        (self.path / (item.name + _REASON)).unlink(missing_ok=True)
        (self.path / item.name).unlink(missing_ok=True)
        self._alike.forget(item.digest, item.name)
        sync_folder(self.path)


def _key(name: str) -> str:
    return QUARANTINE_PREFIX + name


def _key_of_reason(name: str) -> str:
    return QUARANTINE_PREFIX + name.removesuffix(".dcm") + ".json"


def _digest(source: FileRange) -> tuple[int, str]:
    """Return length and SHA-256 of what there is."""
    sha = hashlib.sha256()
    size = 0
    with source.open() as file:
        while piece := file.read(1 << 20):
            sha.update(piece)
            size += len(piece)
    return size, sha.hexdigest()


def whole(path: Path) -> FileRange:
    """Return all bytes of a file as a range."""
    return FileRange(path, 0, path.stat().st_size)


def torn_size(entry: SpoolEntry, source: FileRange) -> int | None:
    """Return the size of a file that is not as long as its name says; ``None`` for what is whole."""
    if entry.checksum is not None:
        return None
    size = source.path.stat().st_size
    return None if size == entry.length else size


def torn(entry: SpoolEntry, size: int) -> str:
    """Return the reason why a torn file is in quarantine."""
    return f"torn: {size} bytes of {entry.length}; such a file was never acknowledged"


class Alike:
    """Which entries have the same bytes: a folder for each digest, an empty file in it for each entry.

    A hint: without it the same bytes are listed twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self, digest: str) -> list[str]:
        """Return the entries of a digest."""
        try:
            return os.listdir(self._folder(digest))
        except FileNotFoundError:
            return []

    def add(self, digest: str, name: str) -> None:
        """Note an entry."""
        folder = self._folder(digest)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()

    def forget(self, digest: str, name: str) -> None:
        """Forget an entry."""
        with suppress(OSError):
            folder = self._folder(digest)
            (folder / name).unlink()
            folder.rmdir()

    def _folder(self, digest: str) -> Path:
        return self._path / digest[:2] / digest[2:]


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True).encode("utf-8", "backslashreplace")
