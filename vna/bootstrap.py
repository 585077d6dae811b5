"""Joins ports and adapters as the configuration says. The only place that knows both."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from vna.config import Settings

# A gateway needs no parser and a client no committer: what is not used is not imported.
if TYPE_CHECKING:
    from vna.ingest.commit import Committer
    from vna.ingest.quarantine import Quarantine
    from vna.ingest.receive import Receiver
    from vna.ingest.spool import Spool
    from vna.ingest.sweep import Sweeper
    from vna.ports.index import Index
    from vna.ports.objects import ObjectStore
    from vna.ports.queue import Queue


class Archive:
    """The parts of one archive, each made when it is first asked for. Nothing connects before that."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store."""
        if self.settings.store.kind == "s3":
            from vna.store.s3 import S3Store

            return S3Store(self.settings.store)
        from vna.store.folder import FolderStore

        return FolderStore(self.settings.objects_path)

    @cached_property
    def index(self) -> Index:
        """The index."""
        if self.settings.index.kind == "elasticsearch":
            from vna.index.elastic import ElasticIndex

            return ElasticIndex(self.settings.index)
        from vna.index.sqlite import SqliteIndex

        return SqliteIndex(self.settings.index_path)

    @cached_property
    def queue(self) -> Queue:
        """The queue."""
        from vna.queue.celery_queue import CeleryQueue

        return CeleryQueue(self.settings.broker_url, self.settings.queue)

    @cached_property
    def spool(self) -> Spool:
        """The spool."""
        from vna.ingest.spool import Spool

        spool = self.settings.spool
        return Spool(self.settings.spool_path, spool.min_free_bytes, spool.log_bytes)

    @cached_property
    def receiver(self) -> Receiver:
        """The way in, for gateways."""
        from vna.ingest.receive import Hints, Receiver
        from vna.observability import hints_dropped_total

        spool = self.settings.spool
        hints = Hints(
            self.queue,
            spool.id,
            batch=spool.batch_instances,
            seconds=spool.batch_seconds,
            on_drop=hints_dropped_total.inc,
        )
        return Receiver(self.spool, hints)

    @cached_property
    def quarantine(self) -> Quarantine:
        """The quarantine of the spool."""
        from vna.ingest.journal import Journal
        from vna.ingest.quarantine import Quarantine

        return Quarantine(self.spool, Journal(self.spool), self.objects)

    def committer(self, interrupts: tuple[type[Exception], ...] = ()) -> Committer:
        """Return a new committer with a journal note of its own, for one worker process or thread."""
        from vna.ingest.commit import Committer
        from vna.ingest.journal import Journal

        return Committer(
            self.spool,
            self.objects,
            self.index,
            Journal(self.spool),
            self.quarantine,
            max_attempts=self.settings.spool.max_attempts,
            interrupts=interrupts,
        )

    @cached_property
    def sweeper(self) -> Sweeper:
        """The sweeper of the spool."""
        from vna.ingest.journal import Journal
        from vna.ingest.sweep import Sweeper

        spool = self.settings.spool
        return Sweeper(
            self.spool,
            spool.id,
            self.queue,
            Journal(self.spool),
            self.quarantine,
            age_seconds=spool.sweep_age_seconds,
            batch=spool.batch_instances,
            ready=self._ready,
        )

    def _ready(self) -> None:
        self.objects.check()
        self.index.check()

    def close(self) -> None:
        """Close what was opened."""
        for name in ("receiver", "spool", "queue", "index", "objects"):
            part = self.__dict__.pop(name, None)
            if part is not None:
                part.close()
