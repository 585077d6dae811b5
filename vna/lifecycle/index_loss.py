"""Whether the index was lost: made anew, and empty, beside an object store that was not.

An index that is missing is made anew by whoever needs it, so that what comes in
is found at once; what was in it is found no more until it is rebuilt. The index
knows that it is new, but not of the object store. So whoever puts the first
instance looks before (:func:`settle`), and a new archive is never taken for one
that lost its index.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from vna.domain.identity import OBJECT_PREFIX
from vna.domain.query import Level, Query
from vna.lifecycle import tiers
from vna.ports.index import Index
from vna.ports.objects import ObjectStore

_COMPARED = 1000
"""Instances that are looked up one by one: a store that has more, and an index that was not there before them."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How many instances there are in the object store, at least, that an index ought to have."""

    objects: int
    more: bool = False

    def __str__(self) -> str:
        number = f"more than {self.objects}" if self.more else str(self.objects)
        return f"the index was lost: {number} objects in the store, run `vna reindex`"


def settle(objects: ObjectStore, index: Index) -> None:
    """Mark a new index as built if there is nothing that it could lack: to be called before anything is put.

    Raises the errors of the object store and the index.
    """
    if not index.built() and next(objects.list(OBJECT_PREFIX), None) is None:
        index.mark_built()


def find_loss(objects: ObjectStore, index: Index) -> Loss | None:
    """Return what the index lacks if it was lost, ``None`` if it was not.

    Raises the errors of the object store and the index.
    """
    if index.built():
        return None
    # Each instance is two objects: bytes and metadata.
    listed = islice(objects.list(OBJECT_PREFIX), 2 * _COMPARED + 1)
    keys = [info.key for info in listed if info.key.endswith(".dcm")]
    if len(keys) > _COMPARED:
        counted = tiers.last_count(objects)
        if counted is not None and counted.instances > len(keys):
            return Loss(counted.instances)
        return Loss(_COMPARED, more=True)
    if not _are_found(keys, index):
        return Loss(len(keys))
    index.mark_built()
    return None


def _are_found(keys: list[str], index: Index) -> bool:
    """Say whether instances are in the index, with their series and studies."""
    if not keys:
        return True
    index.refresh()
    # instances/<2 hex>/<study id>/<series id>/<instance id>-<32 hex of digest>.dcm
    parts = [key.removesuffix(".dcm").split("/")[2:] for key in keys]
    if any(len(each) != len(("study", "series", "instance")) for each in parts):
        return False
    for level, identities in (
        (Level.STUDY, {study for study, _, _ in parts}),
        (Level.SERIES, {series for _, series, _ in parts}),
    ):
        if not identities <= {hit.id for hit in index.scroll(Query(level))}:
            return False
    names = [name.partition("-")[::2] for _, _, name in parts]
    known = index.versions([instance for instance, _ in names])
    return all(any(found.startswith(digest) for found in known.get(instance, ())) for instance, digest in names)
