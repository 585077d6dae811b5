"""A modality, played by pynetdicom: it stores, asks for storage commitment, and listens for what becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel

from tests.support.ports import free_port

INSTANCE = "1.2.840.10008.1.20.1.1"


@dataclass(frozen=True)
class Told:
    """An N-EVENT-REPORT: its event type, transaction, and instances with their failure reasons."""

    event_type: int
    transaction: str
    committed: tuple[str, ...]
    failed: dict[str, int]
    retrieve: str
    same: bool


class Modality:
    """An application entity with one listener."""

    def __init__(self, title: str = "CT01", **roles: bool) -> None:
        self.title = title
        self.port = free_port()
        self.told: list[Told] = []
        self.status = 0x0000
        self.more = threading.Event()
        self._roles = roles
        self._server: Any = None

    @property
    def peer(self) -> dict[str, Any]:
        """The archive's settings for it."""
        return {self.title: {"host": "127.0.0.1", "port": self.port}}

    def listen(self) -> None:
        ae = AE(self.title)
        ae.add_supported_context(StorageCommitmentPushModel, **self._roles)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._take, [False])]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def deaf(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _take(self, event: Any, same: bool) -> tuple[int, None]:
        info = event.event_information
        committed = tuple(str(item.ReferencedSOPInstanceUID) for item in info.get("ReferencedSOPSequence", ()))
        failed = {
            str(item.ReferencedSOPInstanceUID): int(item.FailureReason) for item in info.get("FailedSOPSequence", ())
        }
        found = Told(event.event_type, str(info.TransactionUID), committed, failed, str(info.RetrieveAETitle), same)
        self.told.append(found)
        self.more.set()
        return self.status, None

    @contextmanager
    def associate(self, port: int, *contexts: str) -> Iterator[Association]:
        """Associate for storage commitment and further classes."""
        ae = AE(self.title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        for context in (StorageCommitmentPushModel, *contexts):
            ae.add_requested_context(context, [ExplicitVRLittleEndian])
        handlers = [(evt.EVT_N_EVENT_REPORT, self._take, [True])]
        assoc = ae.associate("127.0.0.1", port, ae_title="VNA", evt_handlers=handlers)
        assert assoc.is_established
        try:
            yield assoc
        finally:
            if assoc.is_established:
                assoc.release()

    def store(self, assoc: Association, *files: bytes) -> None:
        for data in files:
            assert assoc.send_c_store(dcmread(DicomBytesIO(data))).Status == 0x0000

    def ask(self, assoc: Association, references: Sequence[tuple[str, str]], transaction: str = "", **odd: Any) -> str:
        """Send an N-ACTION that must succeed; return its Transaction UID."""
        transaction = transaction or str(generate_uid())
        assert self.status_of(assoc, references, transaction, **odd) == 0x0000
        return transaction

    def status_of(
        self,
        assoc: Association,
        references: Sequence[tuple[str, str]],
        transaction: str = "1.2.3",
        *,
        action: int = 1,
        instance: str = INSTANCE,
    ) -> int:
        info = action_information(references, transaction)
        status, _ = assoc.send_n_action(info, action, StorageCommitmentPushModel, instance)
        return int(status.Status)

    def wait(self, count: int = 1, seconds: float = 30) -> list[Told]:
        """Return what it was told, when there is so much."""
        from tests.support.ports import wait_until

        wait_until(lambda: len(self.told) >= count, seconds, f"{count} reports arrive")
        return list(self.told)


def action_information(references: Sequence[tuple[str, str]], transaction: str) -> Dataset:
    info = Dataset()
    if transaction:
        info.TransactionUID = transaction
    info.ReferencedSOPSequence = []
    for sop_class, uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        info.ReferencedSOPSequence.append(item)
    return info


def ct(*uids: str) -> list[tuple[str, str]]:
    """Return references to CT images."""
    return [(str(CTImageStorage), uid) for uid in uids]


@contextmanager
def modality(title: str = "CT01", *, listening: bool = True, **roles: bool) -> Iterator[Modality]:
    """Run a modality for a block; ``scu_role`` and ``scp_role`` are what it agrees that others be."""
    found = Modality(title, **(roles or {"scu_role": False, "scp_role": True}))
    if listening:
        found.listen()
    try:
        yield found
    finally:
        found.deaf()
