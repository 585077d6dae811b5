"""Rebuild the index from the object store, beside the old one, without reading pixel data.

What counts as an instance is a pair: the bytes and their metadata document. They
lie beside each other in key order. A document without bytes is no instance (a
crash came between two puts, and the spool entry will bring the bytes): it is
reported and left out. Bytes without a document are read once, and the document
is made. A document that cannot be read is made anew from its bytes for the
index, and reported.

One object never stands in the way of the others: what it does to its reader, or
why the index does not take it, is reported, and the rest goes on. A service that
is away is waited for; when it stays away the rebuild ends, the old index is still
in use, and what was repaired stays repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from vna.domain.errors import ArchiveError, IntegrityError
from vna.lifecycle.patience import Patience
from vna.lifecycle.reindex_read import Read, Reader, bounded, is_of_service
from vna.lifecycle.reindex_report import ReindexReport
from vna.ports.index import Index, Outcome
from vna.ports.objects import ObjectInfo, ObjectStore

__all__ = ["ReindexReport", "reindex"]

log = structlog.get_logger(__name__)

# The store's clock and ours may differ by so much.
_CLOCKS = timedelta(minutes=15)


def reindex(
    objects: ObjectStore,
    index: Index,
    progress: Callable[[int], None] = lambda _done: None,
    *,
    batch: int = 500,
    temporary: Path | None = None,
    patience_seconds: float = 600.0,
) -> ReindexReport:
    """Build a new index from the object store and put it in the place of the old one.

    Parameters
    ----------
    objects, index
        The store to read, and the index to rebuild.
    progress
        Called with the number of instances done, after each batch.
    batch
        Instances of one upsert.
    temporary
        Folder for the copy of an object whose metadata document is missing; none: the system's.
    patience_seconds
        How long the store or the index may be away at a time.

    Raises
    ------
    ConflictError
        Another reindex is under way.
    UnavailableError, OutOfResourcesError
        The store or the index failed; the old index is still the one in use.
    IntegrityError
        The index took nothing of what is stored; the old one is still in use.
    """
    work = _Reindex(objects, progress, batch, temporary, patience_seconds)
    begin = datetime.now(UTC)
    with index.rebuild() as fresh:
        work.run(fresh, None)
        if work.report.refused.total and not work.report.instances:
            key, reason = work.report.refused[0]
            raise IntegrityError(f"the index takes nothing of what is stored: {key}: {reason}")
    # A worker that knew nothing of the rebuild may have written to the old index alone: look again at what is new.
    work.run(index, begin - _CLOCKS)
    return work.report


class _Reindex:
    def __init__(
        self,
        objects: ObjectStore,
        progress: Callable[[int], None],
        batch: int,
        temporary: Path | None,
        seconds: float,
    ) -> None:
        self.report = ReindexReport()
        self._reader = Reader(objects, Patience(objects.check, seconds=seconds), self.report, temporary)
        self._progress = progress
        self._batch = batch
        self._seconds = seconds

    def run(self, index: Index, since: datetime | None) -> None:
        """Add what was stored since a time; ``None`` is the first pass, over everything."""
        patience = Patience(index.check, seconds=self._seconds)
        orphans: list[ObjectInfo] = []
        for listed in bounded(self._reader.documents(since, orphans), self._batch):
            self._add(index, patience, self._reader.read(listed), late=since is not None)
        for info in orphans:
            self._add(index, patience, self._reader.repair(info), late=since is not None)

    def _add(self, index: Index, patience: Patience, found: Sequence[Read], *, late: bool) -> None:
        if found:
            self._upsert(index, patience, found, late=late)
            self._progress(self.report.instances)

    def _upsert(self, index: Index, patience: Patience, found: Sequence[Read], *, late: bool) -> None:
        """Index a batch; if the index does not take it, each half, down to the instance that it does not take."""
        try:
            outcomes = patience.call(lambda: index.upsert([read.instance for read in found]))
        except Exception as error:
            if is_of_service(error):
                raise
            patience.ask()  # before anything is blamed
            if len(found) > 1:
                middle = len(found) // 2
                for half in (found[:middle], found[middle:]):
                    self._upsert(index, patience, half, late=late)
                return
            reason = str(error) if isinstance(error, ArchiveError) else f"{type(error).__name__}: {error}"
            log.warning("the index does not take an instance", key=found[0].key, error=reason)
            self.report.refused.note((found[0].key, reason))
            return
        # Of the first pass each is one that was listed, whoever indexed it before; later, one that nobody had.
        new = sum(one.outcome is not Outcome.DUPLICATE for one in outcomes) if late else len(found)
        self.report.instances += new
        if late:
            self.report.late += new
