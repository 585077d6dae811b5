"""Verification: what is stored is read and compared with what its key, its metadata document and the index say.

Instances are read in the order of their keys; then the index is gone through for rows whose objects are not
there. Each finding is a fact (:mod:`vna.ingest.damage`); a finding that is not met again is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from vna.domain.batches import batches
from vna.domain.errors import IntegrityError, NotFoundError, UnsupportedError
from vna.domain.identity import OBJECT_PREFIX, instance_key, metadata_key, object_key, study_prefix
from vna.domain.query import Hit, Level, Query, Selector
from vna.ingest import damage
from vna.ingest.damage import Damage, Wrong, stored_digest
from vna.ingest.document import parse_metadata
from vna.ports.index import Index
from vna.ports.objects import ObjectInfo, ObjectStore

STUDY_UID = "0020000D"
# What is younger may be on its way: stored and not indexed yet.
YOUNG = timedelta(minutes=15)
_BATCH = 50
# Studies that may have been removed from the index between two steps and before their place.
_MOVED = 1000


@dataclass(slots=True)
class Verified:
    """What was looked at, and what is wrong.

    Attributes
    ----------
    objects, bytes
        Instances that were read, and their bytes.
    unread
        Instances in a storage class that cannot be read now.
    wrong
        What was found.
    """

    objects: int = 0
    bytes: int = 0
    unread: int = 0
    wrong: list[Damage] = field(default_factory=list)


class Verifier:
    """Compares what is stored.

    Parameters
    ----------
    objects, index
        The store and the index.
    on_read
        Told how many bytes were read, after each instance.
    now
        The time, for what is too young to be judged.
    """

    def __init__(
        self,
        objects: ObjectStore,
        index: Index,
        on_read: Callable[[int], None] = lambda _count: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._objects = objects
        self._index = index
        self._on_read = on_read
        self._old = now() - YOUNG
        self._known = {each.key: each for each in damage.damages(objects) if not each.ended}
        self._buffer = memoryview(bytearray(1 << 20))
        self.report = Verified()

    def everything(self) -> Verified:
        """Read and compare all that is stored.

        Raises
        ------
        UnavailableError
            The store or the index does not answer. What was found is written down.
        """
        for _ in self.instances(OBJECT_PREFIX):
            pass
        for _ in self.rows():
            pass
        self.end_gone()
        return self.report

    def study(self, uid: str) -> Verified:
        """Read and compare one study; raises as :meth:`everything`."""
        prefix = study_prefix(uid)
        for _ in self.instances(prefix):
            pass
        self._rows_of(uid)
        self.end_gone(prefix)
        return self.report

    def instances(self, prefix: str, after: str = "") -> Iterator[str]:
        """Read instances below a prefix in the order of their keys; yield the last key of each piece."""
        for infos in batches(self._pairs(prefix, after), _BATCH):
            present = [bytes_info for bytes_info, _ in infos if bytes_info is not None]
            rows = self._index.versions([instance_id(info.key) for info in present]) if present else {}
            for bytes_info, document in infos:
                if bytes_info is None:
                    assert document is not None
                    self._without_bytes(document)
                    continue
                self._instance(bytes_info, document, rows)
                # A large one takes its time: so each is a piece of its own.
                yield (document or bytes_info).key
            last = infos[-1]
            yield (last[1] or last[0]).key  # type: ignore[union-attr]  # of a pair, one is there

    def _pairs(self, prefix: str, after: str) -> Iterator[tuple[ObjectInfo | None, ObjectInfo | None]]:
        """Yield instances with their documents, which follow them in the order of keys."""
        held: ObjectInfo | None = None
        for info in self._objects.list(prefix, after):
            if info.key.endswith(".dcm"):
                if held is not None:
                    yield held, None
                held = info
            elif held is not None and instance_key(info.key) == held.key:
                yield held, info
                held = None
            else:
                if held is not None:
                    yield held, None
                held = None
                yield None, info
        if held is not None:
            yield held, None

    def _instance(self, info: ObjectInfo, document: ObjectInfo | None, rows: dict[str, list[str]]) -> None:
        key = info.key
        short = short_digest(key)
        try:
            digest, size = stored_digest(self._objects, key, self._buffer)
        except NotFoundError:  # deleted meanwhile
            return
        except UnsupportedError:
            self.report.unread += 1
            return
        except IntegrityError as error:
            self._wrong(key, Wrong.DAMAGED, str(error))
            self._on_read(info.size)
            return
        self.report.objects += 1
        self.report.bytes += size
        if digest[:32] != short:
            self._wrong(key, Wrong.DAMAGED, f"{size} bytes with the digest {digest}")
        elif document is None and self._is_old(info):
            if self._objects.head(metadata_key(key)) is None:
                self._wrong(key, Wrong.NO_DOCUMENT, f"{size} bytes without a metadata document")
        elif not any(known.startswith(short) for known in rows.get(instance_id(key), ())) and self._is_old(info):
            self._wrong(key, Wrong.NO_ROW, "the index does not know it")
        else:
            self._well(key)
        if document is not None:
            self._document(document.key, key, short)
        self._on_read(size)

    def _document(self, key: str, instance: str, short: str) -> None:
        try:
            found = parse_metadata(self._objects.get(key))
        except NotFoundError:
            return
        except IntegrityError as error:
            self._wrong(key, Wrong.DOCUMENT, str(error))
            return
        if found.key == instance and found.digest[:32] == short:
            self._well(key)
        else:
            self._wrong(key, Wrong.DOCUMENT, f"it is of {found.key}, digest {found.digest}")

    def _without_bytes(self, document: ObjectInfo) -> None:
        # The listing may have passed the place of the bytes before they were put.
        if self._is_old(document) and self._objects.head(instance_key(document.key)) is None:
            self._wrong(document.key, Wrong.NO_BYTES, "a metadata document without an instance")

    def rows(self, after: str = "", at: int = 0) -> Iterator[tuple[str, int]]:
        """Look for rows whose objects are not there, study by study; yield the identity and the place of each.

        Parameters
        ----------
        after
            Identity of the last study that was looked at.
        at
            Its place among all. It may have moved since, and spares going through all before it.
        """
        at = max(at - _MOVED, 0)
        if at and next((hit.id for hit in self._studies(at)), "~") > after:
            at = 0
        for place, hit in enumerate(self._studies(at), at):
            if hit.id > after:
                self._rows_of(hit.first(STUDY_UID))
                yield hit.id, place

    def _studies(self, at: int) -> Iterator[Hit]:
        return self._index.scroll(Query(Level.STUDY, by_identity=True, offset=at))

    def _rows_of(self, uid: str) -> None:
        present = {info.key for info in self._objects.list(study_prefix(uid))}
        for found in batches(self._index.locate(Selector(studies=(uid,))), 500):
            uids = {location.uids.instance_id: location.uids for location in found}
            for name, digests in self._index.versions(list(uids)).items():
                for digest in digests:
                    key = object_key(uids[name], digest)
                    # It may have come since the listing began.
                    if key not in present and self._objects.head(key) is None:
                        self._wrong(key, Wrong.NO_OBJECT, f"the index knows it: instance {uids[name].sop}")

    def end_gone(self, prefix: str = "") -> None:
        """End the facts about keys below a prefix that nothing is stored under any more, and that no row tells of."""
        for key, known in list(self._known.items()):
            if key.startswith(prefix) and self._objects.head(key) is None and not self._has_row(key):
                damage.end(self._objects, known, "gone")
                del self._known[key]

    def _has_row(self, key: str) -> bool:
        name = instance_id(key)
        rows = self._index.versions([name]).get(name, ()) if key.endswith(".dcm") else ()
        return any(digest.startswith(short_digest(key)) for digest in rows)

    def _is_old(self, info: ObjectInfo) -> bool:
        return info.modified < self._old

    def _wrong(self, key: str, wrong: Wrong, text: str) -> None:
        self.report.wrong.append(damage.note(self._objects, key, wrong, text))

    def _well(self, key: str) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            damage.end(self._objects, known, "well")


def instance_id(key: str) -> str:
    """Return the identity of the instance that a key is of."""
    return key.rpartition("/")[2].partition("-")[0]


def short_digest(key: str) -> str:
    """Return what the key of an instance holds of the digest of its content."""
    return key.removesuffix(".dcm").rpartition("-")[2]


def troubles(objects: ObjectStore) -> list[Damage]:
    """Return what is wrong with what is stored, as far as it is known."""
    return [each for each in damage.damages(objects) if not each.ended]
