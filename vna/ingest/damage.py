"""What is wrong with what is stored: written down as facts in the object store, one for each key.

A fact stays when the trouble is over, with how it ended: damage that was mended is a sign of a disk to look at.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, cast

import orjson
import structlog

from vna.domain.identity import FACT_PREFIX, identity
from vna.domain.origin import iso_utc, now_us
from vna.ingest.filemeta import content_digest
from vna.ports.objects import ObjectReader, ObjectStore

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = structlog.get_logger(__name__)
_PREFIX = f"{FACT_PREFIX}damage/"


class Wrong(StrEnum):
    """What may be wrong with what is stored under a key."""

    DAMAGED = "damaged"
    """The bytes are not those of the key, or cannot be read."""
    DOCUMENT = "document"
    """The metadata document cannot be read, or is of other bytes."""
    NO_BYTES = "no bytes"
    """There is a metadata document without an instance."""
    NO_DOCUMENT = "no document"
    """There is an instance without a metadata document: a reindex makes it."""
    NO_ROW = "no row"
    """The index does not know the instance: a reindex adds it."""
    NO_OBJECT = "no object"
    """The index knows an instance that is not there."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A fact about one key.

    Attributes
    ----------
    key
        Of the object, or of the metadata document.
    wrong
        What is wrong with it.
    text
        The same, for a person.
    found
        When it was seen last, ISO 8601 in UTC.
    ended
        When it was seen to be over; empty while it is not.
    how
        How it ended: ``mended``, ``well``, or ``gone`` when nothing is under the key any more.
    kept
        Key of the damaged bytes, if they were kept.
    """

    key: str
    wrong: Wrong
    text: str
    found: str
    ended: str = ""
    how: str = ""
    kept: str = ""


def fact_key(key: str) -> str:
    """Return the key of the fact about a key."""
    return f"{_PREFIX}{identity('damage', key)}.json"


def note(objects: ObjectStore, key: str, wrong: Wrong, text: str) -> Damage:
    """Write down that something is wrong; return the fact."""
    damage = Damage(key, wrong, text[:1000], iso_utc(now_us()))
    _write(objects, damage)
    log.error("what is stored is not as it should be", key=key, wrong=wrong.value, text=text)
    return damage


def end(objects: ObjectStore, damage: Damage, how: str, kept: str = "") -> None:
    """Write down that a trouble is over."""
    _write(objects, replace(damage, ended=iso_utc(now_us()), how=how, kept=kept or damage.kept))
    log.warning("what was wrong is over", key=damage.key, wrong=damage.wrong.value, how=how, kept=kept)


def damages(objects: ObjectStore) -> Iterator[Damage]:
    """Yield every fact, those of troubles that are over included. One that cannot be read is passed over."""
    keys = [info.key for info in objects.list(_PREFIX)]
    for _, data in objects.get_many(keys):
        with suppress(ValueError, TypeError, KeyError):
            if data is not None:
                found = orjson.loads(data)
                del found["kind"]
                yield Damage(**(found | {"wrong": Wrong(found["wrong"])}))


def _write(objects: ObjectStore, damage: Damage) -> None:
    document = {"kind": "damage"} | asdict(damage)
    objects.replace(fact_key(damage.key), orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))


def stored_digest(objects: ObjectReader, key: str, buffer: memoryview | None = None) -> tuple[str, int]:
    """Return the content digest and the length of a stored instance, read whole.

    Raises
    ------
    IntegrityError
        The store itself knows that the bytes are damaged, or cannot read them.
    NotFoundError
        There is none.
    UnsupportedError
        It lies in a class that cannot be read now.
    """
    with as_file(objects.stream(key)) as file:
        return content_digest(file, buffer)


def as_file(pieces: Iterator[bytes]) -> BinaryIO:
    """Return pieces as a file that fills the buffers it is given."""
    return cast("BinaryIO", io.BufferedReader(_Pieces(pieces)))


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
