"""Documents that change, in a store of objects that do not: each revision is an object of its own, put if absent.

Who changes a document reads its last revision and puts the next. Of several
who do so at once, in whatever process and on whatever host, one succeeds, and
the others read again. So nothing is locked, nothing is overwritten, and the
history is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from vna.domain.errors import NotFoundError
from vna.ports.objects import ObjectStore

PREFIX = "workitems/"
_MOST_KNOWN = 20_000
ITEMS, SUBSCRIBERS = "items", "subscribers"


class Chains:
    """The documents of the worklist.

    Parameters
    ----------
    objects
        Where they are kept.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        # Revisions that there are, so that a document with many is not listed each time.
        self._known: dict[tuple[str, str], int] = {}

    def read(self, kind: str, name: str, revision: int) -> bytes | None:
        """Return a revision, ``None`` if there is none yet."""
        try:
            return self._objects.get(_key(kind, name, revision))
        except NotFoundError:
            return None

    def last(self, kind: str, name: str) -> bytes | None:
        """Return the last revision, ``None`` if there is no such document."""
        revision = self._known.get((kind, name), 0)
        found = self.read(kind, name, revision) if revision else None
        if found is None:
            keys = [info.key for info in self._objects.list(_folder(kind, name))]
            if not keys:
                return None
            revision = _revision(keys[-1])
            found = self.read(kind, name, revision)
        # Somebody may have put the next since it was known or listed.
        while (newer := self.read(kind, name, revision + 1)) is not None:
            found, revision = newer, revision + 1
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[kind, name] = revision
        return found

    def add(self, kind: str, name: str, revision: int, data: bytes) -> bool:
        """Put a revision, and return when it is durable; ``False`` if somebody else has put it."""
        return self._objects.put(_key(kind, name, revision), data, "application/json")

    def all_last(self, kind: str) -> Iterator[bytes]:
        """Yield the last revision of each document there is, in no order."""
        last: dict[str, str] = {}
        for info in self._objects.list(f"{PREFIX}{kind}/"):
            last[info.key.rpartition("/")[0]] = info.key
        for _key_of, data in self._objects.get_many(list(last.values())):
            if data is not None:
                yield data

    def drop_before(self, kind: str, name: str, revision: int) -> None:
        """Remove the revisions before one."""
        for info in list(self._objects.list(_folder(kind, name))):
            if _revision(info.key) < revision:
                self._objects.delete(info.key)


def _folder(kind: str, name: str) -> str:
    return f"{PREFIX}{kind}/{name[:2]}/{name}/"


def _key(kind: str, name: str, revision: int) -> str:
    return f"{_folder(kind, name)}{revision:08d}.json"


def _revision(key: str) -> int:
    return int(key.rpartition("/")[2].removesuffix(".json"))
