"""Hands a connection, whose A-ASSOCIATE-RQ was read already, to pynetdicom.

The listener reads the request to see what is proposed. What is not storage is
served by pynetdicom, which wants to read the request itself: it is played back.
"""

from __future__ import annotations

import copy
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation, AssociationSocket

from vna.gateways.dimse.pdu import ABORT_INVALID_PARAMETER, MAX_REQUEST, PROVIDER, encode_abort

# What a peer may send beyond the maximum length announced: a few count the PDU header in.
_SLACK = 64


class _ReplaySocket(AssociationSocket):
    """pynetdicom's socket, which first yields what was read before, and caps the length of a PDU."""

    def __init__(self, assoc: Association, connection: socket.socket, read: bytes, limit: int) -> None:
        self._replay = memoryview(read)
        self._limit = limit
        super().__init__(assoc, client_socket=connection)

    @property
    def ready(self) -> bool:
        """Whether there is something to read."""
        return bool(self._replay) or bool(super().ready)

    def recv(self, nr_bytes: int) -> bytearray:
        """Return ``nr_bytes`` bytes, fewer at the end of the connection.

        Raises
        ------
        OSError
            The connection failed, or the peer announced a PDU over the limit.
        """
        out = bytearray(self._replay[:nr_bytes])
        self._replay = self._replay[nr_bytes:]
        if len(out) == nr_bytes:
            return out
        connection = self.socket
        if connection is None:
            return out
        if nr_bytes > self._limit:
            connection.sendall(encode_abort(PROVIDER, ABORT_INVALID_PARAMETER))
            message = f"PDU of {nr_bytes} bytes, more than the {self._limit} announced"
            raise OSError(message)
        got = len(out)
        out.extend(bytes(nr_bytes - got))
        with memoryview(out) as view:
            while got < nr_bytes:
                count = connection.recv_into(view[got:])
                if not count:
                    break
                got += count
        del out[got:]
        return out

    def send(self, bytestream: bytes) -> None:
        """Send all of it; a failure is the event of a closed connection (PS3.8 9.2, Evt17)."""
        connection = self.socket
        try:
            if connection is None:
                message = "connection closed"
                raise OSError(message)  # noqa: TRY301 - one handler for every way of failing
            connection.sendall(bytestream)
        except OSError:
            self.event_queue.put("Evt17")
            return
        evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})


def hand_over(
    ae: ApplicationEntity,
    handlers: Sequence[tuple[Any, ...]],
    connection: socket.socket,
    address: tuple[Any, ...],
    request: bytes,
) -> Association:
    """Start a pynetdicom acceptor association on a connection.

    Parameters
    ----------
    ae
        The application entity: its AE title, supported contexts, maximum PDU
        size (announced, and the cap of what is read), time-outs.
    handlers
        ``(event, handler)`` or ``(event, handler, args)``, as
        :meth:`pynetdicom.ae.ApplicationEntity.start_server` takes them.
    connection
        The connected socket, TLS or not. It belongs to the association from now on.
    address
        Address of the peer as ``socket.accept`` gave it.
    request
        The A-ASSOCIATE-RQ PDU that was read, header included.

    Returns
    -------
    pynetdicom.association.Association
        The association, its thread started. Calling and called AE titles were
        checked by the listener. The caller joins it and closes the connection.
    """
    assoc = Association(ae, MODE_ACCEPTOR)
    assoc.name = f"AcceptorThread@{datetime.now(UTC):%Y%m%d%H%M%S}"
    connection.settimeout(ae.network_timeout)
    if connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # 0 announces no limit; what is read is capped even so.
    limit = max(ae.maximum_pdu_size + _SLACK, MAX_REQUEST) if ae.maximum_pdu_size else 1 << 24
    assoc.set_socket(_ReplaySocket(assoc, connection, request, limit))
    assoc.acceptor.maximum_length = ae.maximum_pdu_size
    assoc.acceptor.ae_title = ae.ae_title
    local = connection.getsockname()
    if isinstance(local, tuple):
        assoc.acceptor.address_info = AddressInformation.from_tuple(local)
        assoc.requestor.address_info = AddressInformation.from_tuple(address)
    assoc.acceptor.implementation_class_uid = ae.implementation_class_uid
    assoc.acceptor.implementation_version_name = ae.implementation_version_name
    assoc.acceptor.supported_contexts = [copy.copy(context) for context in ae.supported_contexts]
    for event, handler, *args in handlers:
        assoc.bind(event, handler, *args)
    evt.trigger(assoc, evt.EVT_CONN_OPEN, {"address": address})
    assoc.start()
    return assoc
