"""Damage that a resend shows: what was said to be there already is read, and mended if it is not what it should be.

``put_batch`` says of a key that it is there, and the bytes that were received are about to be dropped for it. So
they are compared first. It is the content that must be the same, not the file: its File Meta Information is the
sender's (see :func:`vna.ingest.filemeta.content_digest`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import structlog

from vna.domain.errors import IntegrityError, NotFoundError, UnsupportedError
from vna.domain.identity import metadata_key
from vna.ingest import damage
from vna.ingest.damage import Wrong, stored_digest
from vna.ingest.document import VERSION, parse_metadata
from vna.ports.objects import ObjectStore, Put

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Proved:
    """An instance that was to be put and was said to be there already.

    Attributes
    ----------
    put
        As it was given to the store.
    digest
        Digest of its content, 64 hex digits, which the key follows from.
    """

    put: Put
    digest: str


def mend_instances(objects: ObjectStore, proved: Sequence[Proved]) -> list[str]:
    """Compare instances that are there with those that were received; mend what differs; return the keys mended.

    Each is read whole. What lies in a class that cannot be read is believed. Every mending is a fact.

    Raises
    ------
    IntegrityError
        The bytes received are not those of their checksum any more.
    UnavailableError, OutOfResourcesError
        The store failed; calling again is safe.
    """
    mended = []
    for each in proved:
        key = each.put.key
        text = _instance_trouble(objects, key, each.digest)
        if text:
            _mend(objects, each.put, Wrong.DAMAGED, text)
            mended.append(key)
    return mended


def _instance_trouble(objects: ObjectStore, key: str, digest: str) -> str:
    try:
        found, size = stored_digest(objects, key)
    except NotFoundError:
        return "it was gone"
    except IntegrityError as error:
        return str(error)
    except UnsupportedError as error:
        log.info("a duplicate cannot be compared", key=key, error=str(error))
        return ""
    return "" if found == digest else f"{size} bytes with the digest {found}"


def mend_document(objects: ObjectStore, put: Put, digest: str) -> bool:
    """Put a metadata document over one that cannot be read or is of other bytes; return whether that was so.

    Parameters
    ----------
    objects
        The object store.
    put
        The document, with the key of the document.
    digest
        Digest of the instance's content.
    """
    try:
        data = objects.get(put.key)
        if _of_another_version(data):
            return False
        found = parse_metadata(data)
        if metadata_key(found.key) == put.key and found.digest == digest:
            return False
        text = f"it is of {found.key}, digest {found.digest}"
    except NotFoundError:
        text = "it was gone"
    except IntegrityError as error:
        text = str(error)
    _mend(objects, put, Wrong.DOCUMENT, text)
    return True


def _of_another_version(data: bytes) -> bool:
    """Whether another version of the archive wrote a document, which is that version's to judge."""
    try:
        return bool(orjson.loads(data)["version"] != VERSION)
    except (ValueError, KeyError, TypeError):
        return False


def _mend(objects: ObjectStore, put: Put, wrong: Wrong, text: str) -> None:
    found = damage.note(objects, put.key, wrong, text)
    kept = objects.mend(put)
    damage.end(objects, found, "mended", kept)
