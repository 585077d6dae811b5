"""Joins ports and adapters as the configuration says. The only place that knows both."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from vna.config import Settings
from vna.files import write_durably

# A gateway needs no parser and a client no committer: what is not used is not imported.
if TYPE_CHECKING:
    from vna.commitment.commitments import Commitments
    from vna.commitment.deliver import Deliverer
    from vna.deidentify.dataset import Deidentifier
    from vna.deidentify.patients import PatientLookup
    from vna.domain.audit import Participant
    from vna.ingest.brake import RefusalBrake
    from vna.ingest.commit import Committer
    from vna.ingest.quarantine import Quarantine
    from vna.ingest.receive import Receiver
    from vna.ingest.spool import Spool
    from vna.ingest.sweep import Sweeper
    from vna.peers.oidc import OpenIdProvider
    from vna.ports.index import Index, IndexReader
    from vna.ports.objects import ObjectStore
    from vna.ports.queue import Queue
    from vna.retrieve.deidentified import DeidentifiedObjects
    from vna.security.accounts import Accounts
    from vna.security.audit import Recorder
    from vna.security.audit_forward import Forwarder
    from vna.security.audit_patients import Patients
    from vna.security.audit_seal import Sealer
    from vna.security.audit_search import AuditReader
    from vna.security.sessions import Sessions
    from vna.security.shares import Shares
    from vna.security.views import View, Views
    from vna.workitems.worklist import Worklist


# What waits when a worker starts has most likely been waiting for it.
_FIRST_AGE_SECONDS = 2.0


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

        # Remembered on the disk of the archive's own folder: that of the objects may be another, and be missing.
        path, note = self.settings.objects_path, self.settings.data / "objects.path"
        made = str(path.resolve())
        with suppress(OSError):
            if note.read_text() == made:
                return FolderStore(path, create=False)
        store = FolderStore(path)
        with suppress(OSError):
            write_durably(note, made.encode())
        return store

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
        return Spool(
            self.settings.spool_path,
            spool.min_free_bytes,
            spool.log_bytes,
            allow_volatile=spool.allow_volatile,
            create=spool.create,
        )

    @cached_property
    def receiver(self) -> Receiver:
        """The way in, for gateways."""
        from vna.ingest.hints import Hints
        from vna.ingest.receive import Receiver
        from vna.observability import hints_dropped_total

        spool = self.settings.spool
        hints = Hints(
            self.queue,
            spool.id,
            batch=spool.batch_instances,
            seconds=spool.batch_seconds,
            on_drop=hints_dropped_total.inc,
        )
        wait = spool.stored_seconds if spool.acknowledge == "stored" else 0.0
        return Receiver(self.spool, hints, stored_seconds=wait)

    @cached_property
    def quarantine(self) -> Quarantine:
        """The quarantine of the spool."""
        from vna.ingest.audited import note_quarantined
        from vna.ingest.journal import Journal
        from vna.ingest.quarantine import Quarantine

        on_put = note_quarantined(self.audit, self.process)
        return Quarantine(self.spool, Journal(self.spool), self.objects, on_put)

    def committer(self, interrupts: tuple[type[Exception], ...] = ()) -> Committer:
        """Return a new committer with a journal note of its own, for one worker process or thread."""
        from vna.ingest.audited import note_committed
        from vna.ingest.commit import Committer
        from vna.ingest.journal import Journal
        from vna.lifecycle.index_loss import settle

        return Committer(
            self.spool,
            self.objects,
            self.index,
            Journal(self.spool),
            self.quarantine,
            max_attempts=self.settings.spool.max_attempts,
            interrupts=interrupts,
            on_committed=note_committed(self.audit, self.process),
            brake=self.brake,
            before_first=lambda: settle(self.objects, self.index),
        )

    @property
    def brake(self) -> RefusalBrake:
        """What holds back the refusals of one sender; a new one for each process or thread."""
        from vna import __version__
        from vna.ingest.brake import RefusalBrake

        spool = self.settings.spool
        return RefusalBrake(self.spool.path / "refusals.json", spool.most_refusals, __version__)

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
            first_age_seconds=_FIRST_AGE_SECONDS,
            batch=spool.batch_instances,
            ready=self._ready,
        )

    @cached_property
    def accounts(self) -> Accounts:
        """The users and API keys."""
        from vna.security.accounts import Accounts

        return Accounts(self.objects)

    @cached_property
    def sessions(self) -> Sessions:
        """The sessions of the pages."""
        from vna.security.sessions import Sessions

        return Sessions(self.objects, self.accounts)

    @cached_property
    def oidc(self) -> OpenIdProvider | None:
        """Who vouches for users, ``None`` if there is nobody."""
        if not self.settings.oidc.issuer:
            return None
        from vna.peers.oidc import OpenIdProvider

        return OpenIdProvider(self.settings.oidc)

    @cached_property
    def shares(self) -> Shares:
        """The links to studies."""
        from vna.security.shares import Shares

        return Shares(self.objects)

    @cached_property
    def views(self) -> Views:
        """What each principal sees."""
        from vna.security.views import Views

        return Views(self.index, self.objects, self._deidentified)

    @cached_property
    def deidentifier(self) -> Deidentifier:
        """What a researcher's data passes through."""
        from vna.deidentify.dataset import Deidentifier
        from vna.deidentify.options import Options
        from vna.deidentify.profile import Profile
        from vna.deidentify.pseudonyms import Pseudonyms

        settings = self.settings.deidentify
        options = Options(
            dates=settings.dates == "retain",
            descriptors=settings.descriptors == "retain",
            devices=settings.devices == "retain",
            patient=settings.patient_characteristics == "retain",
            private=settings.safe_private == "retain",
        )
        return Deidentifier(Profile(options), Pseudonyms(self.objects))

    @cached_property
    def _patients(self) -> PatientLookup:
        from vna.deidentify.patients import PatientLookup

        return PatientLookup(self.deidentifier.pseudonyms)

    @cached_property
    def _deidentified_objects(self) -> DeidentifiedObjects:
        from vna.retrieve.deidentified import DeidentifiedObjects

        return DeidentifiedObjects(self.objects, self.deidentifier)

    def _deidentified(self, index: IndexReader) -> View:
        from vna.deidentify.index import DeidentifiedIndex
        from vna.security.views import View

        objects = self._deidentified_objects
        return View(
            DeidentifiedIndex(index, self.deidentifier, self._patients),
            objects,
            deidentified=True,
            release=objects.release,
            matches=self.deidentifier.profile.is_matched,
        )

    @cached_property
    def worklist(self) -> Worklist:
        """The worklist (UPS)."""
        from vna.index.resemble import expressions
        from vna.workitems.worklist import Worklist

        return Worklist(self.objects, expressions)

    @cached_property
    def commitments(self) -> Commitments:
        """The transactions of storage commitment."""
        from vna.commitment.commitments import Commitments, Patience
        from vna.commitment.lookup import Lookup
        from vna.commitment.records import Records
        from vna.commitment.waiting import SpoolNotes

        settings = self.settings.commitment
        patience = Patience(3600.0 * settings.wait_hours, 86400.0 * settings.retry_days)
        lookup = Lookup(self.index, self.objects)
        return Commitments(Records(self.objects), lookup, SpoolNotes(self.objects), patience)

    @cached_property
    def commitment_deliverer(self) -> Deliverer:
        """What reports the results of storage commitment."""
        from vna.commitment.audited import note_ended
        from vna.commitment.deliver import Deliverer
        from vna.peers.commitment import CommitmentPeers

        settings = self.settings
        peers = CommitmentPeers(settings.dimse, settings.commitment.answer_seconds)
        on_end = note_ended(self.audit, self.process, self.audit_patients)
        return Deliverer(self.commitments, peers.connect, settings.dimse.ae_title, on_end)

    @cached_property
    def audit(self) -> Recorder:
        """The audit trail, to record in."""
        from vna.security.audit import AuditTrail, NoTrail

        if not self.settings.audit.enabled:
            return NoTrail()
        from vna.observability import audit_lost_total

        seconds = self.settings.audit.repeat_seconds
        return AuditTrail(self.settings.audit_path, audit_lost_total.inc, seconds=seconds)

    @cached_property
    def process(self) -> Participant:
        """The archive itself as a participant of audit events."""
        from vna.domain.audit import Participant

        return Participant("vna", address=self.settings.host_id, alternative=self.settings.dimse.ae_title)

    @cached_property
    def audit_patients(self) -> Patients:
        """Whose study it is, for the audit trail."""
        from vna.security.audit_patients import Patients

        return Patients(self.index)

    @cached_property
    def audit_reader(self) -> AuditReader:
        """The audit trail, to read."""
        from vna.security.audit_search import AuditReader

        return AuditReader(self.objects, self.settings.audit_path)

    @cached_property
    def audit_sealer(self) -> Sealer:
        """What puts the audit trail into the object store."""
        from vna.security.audit_seal import Sealer

        settings = self.settings
        return Sealer(settings.audit_path, self.objects, settings.spool.id, settings.audit.retention_days)

    @cached_property
    def audit_forwarder(self) -> Forwarder | None:
        """What sends the audit trail on; ``None`` if it is not to be sent."""
        settings = self.settings
        if settings.audit.syslog.transport == "off":
            return None
        from vna.peers.syslog import SyslogSender
        from vna.security.audit_forward import Forwarder

        sender = SyslogSender(settings.audit.syslog, settings.host_id, settings.audit.site)
        return Forwarder(settings.audit_path, self.objects, sender)

    def _ready(self) -> None:
        self.objects.check()
        self.index.check()

    def close(self) -> None:
        """Close what was opened."""
        for name in ("receiver", "spool", "queue", "audit", "index", "objects"):
            part = self.__dict__.pop(name, None)
            if part is not None:
                part.close()
