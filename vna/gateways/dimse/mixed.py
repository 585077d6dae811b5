"""Storage on an association that proposes other services too, and so is pynetdicom's.

What belongs to a C-STORE is taken out of the stream before pynetdicom collects
it, and goes the way of the receive path: fragment by fragment to the spool,
durable before it is acknowledged. pynetdicom would hold each data set whole.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from typing import Any

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext

from vna.config import DimseSettings
from vna.gateways.dimse import audited
from vna.gateways.dimse.command import MAX_COMMAND
from vna.gateways.dimse.negotiation import AssociateRequest, Context
from vna.gateways.dimse.pdu import PduError
from vna.gateways.dimse.storage import StorageAssociation
from vna.ingest.receive import Receiver
from vna.peers.commands import C_STORE_RQ, Command
from vna.security.audit import Recorder

log = logging.getLogger(__name__)


class _Replies:
    """Sends responses in the reactor's own thread, which is the one that reads: nothing else is sent meanwhile."""

    def __init__(self, assoc: Association) -> None:
        self._dul: Any = assoc.dul

    def send(self, data: bytes) -> None:
        """Send a whole PDU."""
        self._dul.socket.send(data)


class MixedStorage:
    """Takes the C-STORE requests of one association.

    Parameters
    ----------
    assoc
        An association that is established, as acceptor.
    contexts
        Its presentation contexts for storage.
    receiver
        The way into the archive.
    settings
        Own AE title and limits.
    """

    def __init__(
        self, assoc: Association, contexts: Sequence[PresentationContext], receiver: Receiver, settings: DimseSettings
    ) -> None:
        self._dul: Any = assoc.dul
        self._dimse: Any = assoc.dimse
        self._usual = self._dimse.receive_primitive
        self._held: list[tuple[int, bytes]] = []
        self._storing = False
        requestor = assoc.requestor
        request = AssociateRequest(
            1, settings.ae_title, str(requestor.ae_title).strip(), b"", max_length=requestor.maximum_length or 0
        )
        accepted = [
            Context(int(one.context_id or 0), str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in contexts
        ]
        stream: Any = _Replies(assoc)
        self._storage = StorageAssociation(
            stream,
            request,
            {one.id: one for one in accepted},
            receiver,
            address=requestor.address or "",
            max_object_bytes=settings.max_object_bytes,
            close_seconds=settings.artim_seconds,
        )
        self._request = request
        self._address = requestor.address or ""
        self._told = False
        self._dimse.receive_primitive = self.receive  # type: ignore[method-assign]  # there is no hook for it

    def receive(self, primitive: P_DATA) -> None:
        """Take the values of a P-DATA indication that belong to a C-STORE, and pass on the others."""
        try:
            for context_id, data in primitive.presentation_data_value_list:
                self._take(context_id, data)
        except (PduError, ValueError) as error:
            log.warning("association broken off: %s", error)
            self.close()
            self._dul.event_queue.put("Evt19")  # invalid PDU: pynetdicom aborts

    def _take(self, context_id: int, data: bytes) -> None:
        command, last = data[0] & 1, data[0] & 2
        if not command:
            if not self._storing:
                self._pass_on(context_id, data)
                return
            self._storing = not last
            self._store(context_id, data)
            return
        # Whose message it is shows when its command is whole.
        self._held.append((context_id, data))
        if sum(len(piece) for _, piece in self._held) > MAX_COMMAND:
            raise ValueError("command set is too long")
        if not last:
            return
        held, self._held = self._held, []
        whole = Command.decode(b"".join(piece[1:] for _, piece in held))
        mine = whole.field == C_STORE_RQ
        self._storing = mine and whole.has_data_set
        for number, piece in held:
            if mine:
                self._store(number, piece)
            else:
                self._pass_on(number, piece)

    def _store(self, context_id: int, data: bytes) -> None:
        value = struct.pack(">IBB", len(data) + 1, context_id, data[0]) + data[1:]
        self._storage._data(memoryview(value))  # noqa: SLF001 - the values of a PDU, as the receive path takes them

    def _pass_on(self, context_id: int, data: bytes) -> None:
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, data))
        self._usual(primitive)

    def tell(self, audit: Recorder, how: str) -> None:
        """Tell the audit trail what was received, once."""
        if not self._told:
            self._told = True
            storage = self._storage
            audited.stored(
                audit, self._request, self._address, how, instances=storage.instances, not_taken=storage.refused
            )

    def close(self) -> None:
        """Leave nothing of a data set that is not complete."""
        self._storing = False
        self._storage._discard()  # noqa: SLF001 - as above
