"""One connection, in a thread of its own: TLS, the A-ASSOCIATE-RQ, who serves it, until it ends."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

from vna.config import DimseSettings
from vna.gateways.dimse import audited, stats
from vna.gateways.dimse.access import AccessPolicy
from vna.gateways.dimse.contexts import Supported
from vna.gateways.dimse.handover import hand_over
from vna.gateways.dimse.negotiation import (
    AssociateRequest,
    accept,
    check_protocol,
    parse_request,
)
from vna.gateways.dimse.pdu import ABORT_NO_REASON, USER, PduError, PduStream, PeerClosedError, encode_abort
from vna.gateways.dimse.rejection import Rejection, reject_limit
from vna.gateways.dimse.storage import StorageAssociation
from vna.gateways.dimse.tls import HandshakeError, secure
from vna.ingest.receive import Receiver
from vna.security.audit import NoTrail, Recorder
from vna.security.tls_peer import PeerCertificate

log = logging.getLogger(__name__)

_BUFFER = 1 << 20


class Services(Protocol):
    """The services that pynetdicom serves."""

    @property
    def ae(self) -> ApplicationEntity:
        """The application entity, its contexts and limits."""

    @property
    def handlers(self) -> Sequence[tuple[Any, ...]]:
        """Event handlers, as ``start_server`` takes them."""


class Admission:
    """Counts associations, and admits no more than a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.open = 0

    def enter(self) -> bool:
        """Count one more, unless the limit is reached."""
        with self._lock:
            if self.open >= self._limit:
                return False
            self.open += 1
        stats.OPEN.inc()
        return True

    def leave(self) -> None:
        """Count one less."""
        with self._lock:
            self.open -= 1
        stats.OPEN.dec()


@dataclass(frozen=True, slots=True)
class Parts:
    """What every connection of a process shares."""

    settings: DimseSettings
    policy: AccessPolicy
    supported: Supported
    receiver: Receiver
    admission: Admission
    services: Services | None = None
    tls: ssl.SSLContext | None = None
    served_elsewhere: frozenset[str] = field(default=frozenset())
    audit: Recorder = field(default_factory=NoTrail)


class Connection(threading.Thread):
    """Serves one connection.

    Parameters
    ----------
    parts
        What the process has.
    connection
        The accepted socket; belongs to this from now on.
    address
        Address of the peer as ``socket.accept`` gave it.
    """

    def __init__(self, parts: Parts, connection: socket.socket, address: tuple[Any, ...]) -> None:
        super().__init__(name="dimse", daemon=True)
        self._parts = parts
        self._connection = connection
        self._address = address
        self._peer = str(address[0]) if address else ""
        self._storage: StorageAssociation | None = None
        self._handed: Association | None = None
        self._stopping = False

    def stop(self) -> None:
        """End soon: after the instance under way."""
        self._stopping = True
        if self._storage is not None:
            self._storage.stop()
        elif self._handed is not None:
            self._handed.abort(block=False)
        else:
            self.cut()

    def cut(self) -> None:
        """End now."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def run(self) -> None:
        """Serve until the connection ends."""
        try:
            self._serve()
        except PeerClosedError as error:
            # Whoever asks whether the port answers does this, every few seconds.
            log.debug("%s: %s", self._peer, error)
        except Exception:
            # The last line of defence: one connection's fault is not another's.
            log.exception("%s: the association failed", self._peer)
            with contextlib.suppress(OSError):
                self._connection.sendall(encode_abort(USER, ABORT_NO_REASON))
        finally:
            with contextlib.suppress(OSError):
                self._connection.close()

    def _serve(self) -> None:
        parts, settings = self._parts, self._parts.settings
        certificate: PeerCertificate | None = None
        if parts.tls is not None:
            try:
                self._connection, certificate = secure(self._connection, parts.tls, settings.artim_seconds)
            except HandshakeError as error:
                log.log(logging.WARNING if error.alert else logging.INFO, "%s: no TLS: %s", self._peer, error)
                if error.alert:
                    audited.distrusted(parts.audit, self._peer, settings.ae_title, str(error))
                return
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        stream = PduStream(self._connection, settings.max_pdu)
        try:
            pdu = stream.read_request(settings.artim_seconds)
            request = parse_request(pdu)
        except PduError as error:
            # PS3.8 table 9-9, AA-1: before there is an association, the service user aborts.
            stream.finish(1.0, encode_abort(USER, ABORT_NO_REASON))
            log.warning("%s: no association: %s", self._peer, error)
            return
        rejection = check_protocol(request) or parts.policy.check(request, self._peer, certificate)
        if rejection is None and not parts.admission.enter():
            rejection = reject_limit(f"{settings.max_associations} associations are open")
        if rejection is not None:
            self._reject(stream, request, rejection)
            return
        try:
            if parts.services is not None and self._is_for_services(request):
                self._hand_over(parts.services, request, pdu)
            else:
                self._receive(stream, request)
        finally:
            parts.admission.leave()

    def _is_for_services(self, request: AssociateRequest) -> bool:
        """Whether something is proposed that the services serve and the receive path does not.

        What nobody serves, a vendor's own SOP classes say, must not push an
        association off the receive path.
        """
        return any(context.abstract_syntax in self._parts.served_elsewhere for context in request.contexts)

    def _reject(self, stream: PduStream, request: AssociateRequest, rejection: Rejection) -> None:
        stats.REJECTED.labels(f"{rejection.result}.{rejection.source}.{rejection.reason}").inc()
        log.warning("%s %s: rejected: %s", self._peer, request.calling, rejection.why)
        audited.refused(self._parts.audit, request, self._peer, rejection)
        stream.finish(min(self._parts.settings.artim_seconds, 5.0), rejection.encode())

    def _receive(self, stream: PduStream, request: AssociateRequest) -> None:
        settings = self._parts.settings
        answer, contexts = accept(request, self._parts.supported, settings.max_pdu)
        stream.set_silence(settings.idle_seconds)
        storage = StorageAssociation(
            stream,
            request,
            contexts,
            self._parts.receiver,
            address=self._peer,
            max_object_bytes=settings.max_object_bytes,
            close_seconds=settings.artim_seconds,
        )
        stream.send(answer)
        self._storage = storage
        if self._stopping:
            storage.stop()
        stats.ASSOCIATIONS.labels("storage").inc()
        begin = time.monotonic()
        how = storage.run()
        audited.stored(
            self._parts.audit, request, self._peer, how, instances=storage.instances, not_taken=storage.refused
        )
        if how != "released":
            stats.ABORTED.labels(how.partition(":")[0]).inc()
        log.info(
            "%s %s: %s; %d stored, %d refused in %.1f s",
            self._peer,
            request.calling,
            how,
            storage.instances,
            storage.refused,
            time.monotonic() - begin,
        )

    def _hand_over(self, services: Services, request: AssociateRequest, pdu: bytes) -> None:
        stats.ASSOCIATIONS.labels("services").inc()
        begin = time.monotonic()
        self._handed = hand_over(services.ae, services.handlers, self._connection, self._address, pdu)
        if self._stopping:
            self._handed.abort(block=False)
        self._handed.join()
        seconds = time.monotonic() - begin
        log.info("%s %s: query and retrieve association ended after %.1f s", self._peer, request.calling, seconds)
