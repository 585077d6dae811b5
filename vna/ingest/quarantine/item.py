"""What is known of one entry in quarantine, and how it is written down."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vna.domain.file_range import FileRange
from vna.domain.origin import iso_utc
from vna.ingest.filemeta import peek
from vna.ingest.quarantine.copying import Copied
from vna.ingest.spool import SpoolEntry

QUARANTINE_PREFIX = "quarantine/"
TORN = "TornFile"
REASON = ".reason.json"
_DAMAGED = (TORN, "IntegrityError")


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


def read_item(folder: Path, name: str) -> Quarantined:
    """Return what is known of an entry by its name; raises ``FileNotFoundError`` if its bytes are not there."""
    path = folder / name
    size = path.stat().st_size
    entry = SpoolEntry.parse(name)
    with suppress(OSError, ValueError, TypeError):
        found = Quarantined(**json.loads((folder / (name + REASON)).read_bytes()))
        return replace(found, name=name, id=entry.nonce)
    meta: dict[str, str] = {}
    with suppress(OSError):
        meta = peek(path)
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
        meta=meta,
    )


def as_received(entry: SpoolEntry, copied: Copied, item: Quarantined | None = None) -> bool:
    """Whether bytes are, as far as anybody can tell, those that were received under an entry's name."""
    if copied.unreadable or copied.size != entry.length:
        return False
    if entry.checksum is not None:
        return copied.checksum == entry.checksum
    if item is None:
        return True
    return item.error not in _DAMAGED and item.digest in {"", copied.digest}


def key_of(name: str) -> str:
    """Return the key of the copy of an entry's bytes in the object store."""
    return QUARANTINE_PREFIX + name


def key_of_reason(name: str) -> str:
    """Return the key of the copy of an entry's reason in the object store."""
    return QUARANTINE_PREFIX + name.removesuffix(".dcm") + ".json"


def encode(document: dict[str, Any]) -> bytes:
    """Return a document as it is written down."""
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True).encode("utf-8", "backslashreplace")


def torn_size(entry: SpoolEntry, source: FileRange) -> int | None:
    """Return the size of a file that is not as long as its name says; ``None`` for what is whole."""
    if entry.checksum is not None:
        return None
    size = source.path.stat().st_size
    return None if size == entry.length else size


def torn(entry: SpoolEntry, size: int) -> str:
    """Return the reason why a torn file is in quarantine."""
    return f"torn: {size} bytes of {entry.length}; such a file was never acknowledged"
