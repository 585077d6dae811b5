"""The index: what is searched. It can be dropped and rebuilt from the object store.

Entities
    Instances are keyed by ``uids.instance_id``, series by ``uids.series_id``,
    studies by ``uids.study_id``; patients are the distinct
    :func:`vna.domain.identity.patient_identity` of the studies.

Which content is current
    Of several contents under one instance identity the one with the smallest
    ``precedence`` is current: only it is found. The outcome does not depend on
    the order of the upserts.

Representatives
    A series or study takes its attributes (those of
    :data:`vna.domain.levels` at its level and above) from its current instance
    with the smallest ``(received_us, instance_id)``. Again the order of upserts
    does not matter.

Order of results
    PATIENT: folded name, patient identity. STUDY: StudyDate descending (missing
    last), StudyTime descending, study id; where asked for, study id alone. SERIES: study id, SeriesNumber
    (numeric, missing last), series id. INSTANCE: study id, series id,
    InstanceNumber (numeric, missing last), instance id. The same query on
    unchanged data gives the same order.

Which attributes can be matched
    At INSTANCE level every path of ``terms``; at SERIES and STUDY level the
    paths whose attribute is of that level or above, and ModalitiesInStudy
    (0008,0061) and SOPClassesInStudy (0008,0062) at STUDY. A path
    that is not there matches nothing, except by an empty value. At PATIENT level
    the paths of the patient: a patient matches by any of its studies. ``Words``
    are those of the representatives of a study's series, of a series its own, of
    an instance those of its series. ``SomeInstance`` looks at every current
    instance of a study; what was indexed by a version of the archive that did not
    know it matches none until the index is rebuilt.

Errors: ``UnavailableError`` when the service is down, slow, or answers 429 or
5xx, or refuses anything for another reason than its content (also for a part of
a bulk request: the rest may be stored, calling again is safe);
``InvalidQueryError`` for a query it refuses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum

from vna.domain.query import Criterion, Facet, Hit, Level, Query, Selector, State
from vna.domain.records import IndexedInstance, Location

LAYOUT = 2
"""Which one of the layouts of an index this is: raised when what is kept there, or how a term is made, changes so that
searches are not answered rightly by what was indexed before. Adapters write it down with each index that they make."""


class Outcome(StrEnum):
    """What an upsert found."""

    CREATED = "created"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Upserted:
    """Outcome for one instance.

    ``current`` says whether the instance given is the one found when the call
    returns. ``other_digest`` is, for a conflict, the digest of the other content
    under the same UIDs; also for a duplicate that has one, so that a conflict
    whose handling was cut short is seen again.
    """

    outcome: Outcome
    current: bool = True
    other_digest: str = ""


@dataclass(frozen=True, slots=True)
class IndexCounts:
    """How many entities the index finds."""

    patients: int
    studies: int
    series: int
    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Total:
    """How much is stored that has a value: studies, series, instances and their bytes."""

    value: str
    studies: int
    series: int
    instances: int
    bytes: int


class IndexReader(ABC):
    """Searches."""

    @abstractmethod
    def query(self, query: Query) -> list[Hit]:
        """Return a page of results in the level's order."""

    @abstractmethod
    def count(self, query: Query) -> int:
        """Return how many entities match, ``limit`` and ``offset`` set aside."""

    @abstractmethod
    def scroll(self, query: Query, page: int = 1000) -> Iterator[Hit]:
        """Yield every match in the level's order, each once, and every one that was there all the while.

        Nothing is held in the index between two of them, however slowly they are taken.
        """

    @abstractmethod
    def facets(
        self, query: Query, paths: Sequence[str], top: int = 20, *, studies: bool = False
    ) -> dict[str, list[Facet]]:
        """Return for each path its most frequent values among the matches, largest first, then by value.

        With ``studies``, a query for series or instances counts the studies
        that they are of; beyond 40,000 such a count may be estimated.
        """

    @abstractmethod
    def locate(self, selector: Selector, criteria: Sequence[Criterion] = ()) -> Iterator[Location]:
        """Yield the current instances of a selection that meet all criteria, in INSTANCE order.

        An empty selector yields none.
        """

    @abstractmethod
    def check(self) -> None:
        """Write and read something of no meaning; raise ``UnavailableError`` if an upsert or a query would fail now.

        Nothing that searches find is touched. When it passes, a refusal is about what was to be indexed.
        """


class Index(IndexReader):
    """Search and state."""

    @abstractmethod
    def upsert(self, instances: Sequence[IndexedInstance]) -> list[Upserted]:
        """Make instances findable, with their series and studies, in one batch.

        Idempotent; safe against any number of workers at once. The instances of
        one call may repeat. Outcomes come in the order given. Raises
        ``InvalidInputError``, which names them, if some are such that they can
        never be indexed; the others are, or will be by another call.
        """

    @abstractmethod
    def refresh(self) -> None:
        """Make all that was upserted before this call visible to queries."""

    @abstractmethod
    def totals(self, path: str, top: int = 20) -> list[Total]:
        """Return what is stored by the values of an attribute, the most bytes first, then by value.

        What has no value is told under the empty one; what has several, under
        each. An attribute of the series or above is that of the instance, or of
        the one that represents its series, where those differ. Beyond 40,000
        the numbers of studies and series may be estimated.
        """

    @abstractmethod
    def versions(self, instance_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return for each known instance identity the digests of all its contents, current first."""

    @abstractmethod
    def remove(self, instance_ids: Sequence[str]) -> int:
        """Forget instances with all their contents, and series and studies that are left empty; return how many.

        Representatives and sets (ModalitiesInStudy) are derived anew.
        """

    @abstractmethod
    def counts(self) -> IndexCounts:
        """Return how much there is."""

    @abstractmethod
    def outdated(self) -> bool:
        """Say whether an earlier version made the index, of another :data:`LAYOUT`: then it is to be rebuilt."""

    @abstractmethod
    def built(self) -> bool:
        """Say whether the index began with all that the object store held.

        A missing index, or part of one, is made anew and empty, and is not built
        until a rebuild has ended well or :meth:`mark_built` was called. One of an
        earlier version, which kept no such mark, is built if anything is in it.
        """

    @abstractmethod
    def mark_built(self) -> None:
        """Note that the index has all that the object store holds: for who has seen that, an empty store above all."""

    @abstractmethod
    def get_state(self, key: str) -> State | None:
        """Return a versioned value, ``None`` if there is none."""

    @abstractmethod
    def put_state(self, key: str, value: dict[str, object], expected: str | None) -> State:
        """Store a value if its version is still ``expected`` (``None``: if there is none yet).

        Raises ``ConflictError`` if somebody was faster.
        """

    @abstractmethod
    def rebuild(self) -> AbstractContextManager[Index]:
        """Build a second, empty index beside this one, and swap it in when the block ends well.

        Searches go on in the old one. While a rebuild is under way, upserts and
        removals of every process go to both. When the block raises, the new one
        is dropped. State is kept. The new index is :meth:`built`. A rebuild that a crash left behind is dropped
        by the next one. Raises ``ConflictError`` if one is under way elsewhere
        and alive.
        """

    def close(self) -> None:
        """Release connections. The default does nothing."""


__all__ = ["Facet", "Hit", "Index", "IndexCounts", "IndexReader", "Level", "Outcome", "Total", "Upserted"]
