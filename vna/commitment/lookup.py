"""Looking instances up for a commitment: every content that the index knows, and the object store's word on each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from vna.commitment.decision import Fact, Held
from vna.domain.identity import object_key
from vna.domain.query import Selector
from vna.domain.records import Location
from vna.ports.index import Index
from vna.ports.objects import ObjectReader

_CHUNK = 500
_THREADS = 8


class Lookup:
    """Finds what there is under SOP Instance UIDs.

    Parameters
    ----------
    index, objects
        What is asked. Neither answer is enough alone: the index has a row where the object may be gone.
    """

    def __init__(self, index: Index, objects: ObjectReader) -> None:
        self._index = index
        self._objects = objects

    def refresh(self) -> None:
        """Have the index show what was stored before this call."""
        self._index.refresh()

    def find(self, instances: Sequence[str], step: Callable[[], None]) -> dict[str, list[Fact]]:
        """Return every content by SOP Instance UID; one that has none is left out.

        ``step`` is called now and then: what it raises ends the search.

        Raises
        ------
        UnavailableError
            The index or the store does not answer: nothing is known.
        """
        wanted = list(dict.fromkeys(instances))
        found: dict[str, list[Fact]] = {}
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="commitment") as threads:
            for start in range(0, len(wanted), _CHUNK):
                step()
                contents = list(self._contents(wanted[start : start + _CHUNK]))
                for (location, _key, _size), held in zip(contents, threads.map(self._held, contents), strict=True):
                    fact = Fact(location.sop_class, location.uids.study, held)
                    found.setdefault(location.uids.sop, []).append(fact)
        return found

    def _contents(self, instances: Sequence[str]) -> Iterator[tuple[Location, str, int | None]]:
        """Yield each content with its key, and its size where the index has that: of the current ones."""
        locations = list(self._index.locate(Selector(instances=tuple(instances))))
        versions = self._index.versions([location.uids.instance_id for location in locations])
        for location in locations:
            yield location, location.key, location.size
            for digest in _others(location, versions.get(location.uids.instance_id, ())):
                yield location, object_key(location.uids, digest), None

    def _held(self, content: tuple[Location, str, int | None]) -> Held:
        _location, key, size = content
        info = self._objects.head(key)
        if info is None:
            return Held.GONE
        return Held.WHOLE if size is None or info.size == size else Held.DAMAGED


def _others(location: Location, digests: Iterable[str]) -> list[str]:
    return [digest for digest in digests if digest != location.digest]
