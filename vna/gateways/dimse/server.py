"""The listener of the DIMSE gateway: one process, or several that share the port."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from vna import observability
from vna.bootstrap import Archive
from vna.config import DimseSettings, Settings
from vna.domain.errors import ArchiveError, ConfigurationError
from vna.gateways.dimse.access import AccessPolicy
from vna.gateways.dimse.connection import Admission, Connection, Parts, Services
from vna.gateways.dimse.contexts import Supported
from vna.gateways.dimse.processes import parent_lives, supervise
from vna.ingest.receive import Receiver
from vna.ports.queue import Queue
from vna.security.audit import NoTrail, Recorder
from vna.security.audit_events import application_activity
from vna.security.tls import server_context
from vna.stopping import Stop

log = logging.getLogger(__name__)

STOP_SECONDS = 10.0
"""How long associations have to finish the instance under way when the gateway stops."""

# Connections that have not yet said what they want, beyond the associations that are admitted.
_WAITING = 50
# A receive loop gives the interpreter away at each system call: another thread that computes, the one that tells the
# queue say, must not keep it for the usual 5 ms each time.
_SWITCH_SECONDS = 0.0005


def open_listener(settings: DimseSettings) -> socket.socket:
    """Return a listening socket; raises ``ConfigurationError`` when the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.processes > 1:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Set before listen, so that the window scale of each connection fits it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listener.bind((settings.host, settings.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        message = f"VNA_DIMSE__HOST, VNA_DIMSE__PORT: cannot listen on {settings.host}:{settings.port}: {error}"
        raise ConfigurationError(message) from error
    return listener


def _tls(settings: DimseSettings) -> ssl.SSLContext | None:
    """Return the context of the listener, ``None`` while TLS is off; raises ``ConfigurationError``."""
    bound = [title for title, peer in settings.peers.items() if peer.certificates]
    if bound and (settings.tls.certificate is None or settings.tls.client_ca is None):
        log.warning("without VNA_DIMSE__TLS__CLIENT_CA no certificate is seen here: %s may not call", ", ".join(bound))
    return server_context(settings.tls.files("DIMSE")) if settings.tls.certificate is not None else None


class Gateway:
    """Accepts connections of one process and serves each in a thread.

    Parameters
    ----------
    settings
        The gateway's settings.
    receiver
        The way into the archive.
    services
        What serves associations for other services than storage; without it they are not accepted.
    audit
        Where to tell who called.
    """

    def __init__(
        self,
        settings: DimseSettings,
        receiver: Receiver,
        services: Services | None = None,
        audit: Recorder | None = None,
    ) -> None:
        supported = Supported.configured(settings.private_sop_classes, settings.private_transfer_syntaxes)
        elsewhere: frozenset[str] = frozenset()
        if services is not None:
            proposed = {str(context.abstract_syntax) for context in services.ae.supported_contexts}
            elsewhere = frozenset(uid for uid in proposed if not supported.receives(uid))
        self._parts = Parts(
            settings,
            AccessPolicy.configured(settings),
            supported,
            receiver,
            Admission(settings.max_associations),
            services,
            _tls(settings),
            elsewhere,
            audit or NoTrail(),
        )
        self._most = settings.max_associations + _WAITING
        self._connections: set[Connection] = set()
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def open(self) -> int:
        """Associations open now."""
        return self._parts.admission.open

    def start(self, listener: socket.socket) -> None:
        """Accept connections on a listening socket, in a thread."""
        self._listener = listener
        self._parts.receiver.prepare()
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), name="dimse-accept", daemon=True)
        self._acceptor.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, address = listener.accept()
            except OSError as error:
                if self._stopping.is_set():
                    return
                # No handles, or a connection that went before it was accepted: the next may do.
                log.warning("accept: %s", error)
                time.sleep(0.05)
                continue
            self._start(connection, address)

    def _start(self, connection: socket.socket, address: tuple[Any, ...]) -> None:
        self._connections = {served for served in self._connections if served.is_alive()}
        if len(self._connections) >= self._most:
            log.warning("%s: closed at once: %d connections are open", address[0], len(self._connections))
            connection.close()
            return
        served = Connection(self._parts, connection, address)
        try:
            served.start()
        except RuntimeError as error:
            log.warning("%s: closed at once: %s", address[0], error)
            connection.close()
            return
        self._connections.add(served)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Accept no more, let associations finish the instance under way, then end them."""
        self._stopping.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        if self._acceptor is not None:
            self._acceptor.join()
        until = time.monotonic() + seconds
        for served in self._connections:
            served.stop()
        for served in self._connections:
            served.join(max(0.0, until - time.monotonic()))
        for served in self._connections:
            if served.is_alive():
                served.cut()
                served.join(1.0)


def _warm(queue: Queue) -> None:
    """Load the queue's client and meet the broker now: the first instances need not share the processor with that."""
    # The broker may be down: instances are received all the same.
    with contextlib.suppress(ArchiveError):
        queue.check()


def run_process(settings: Settings, keep_on: Callable[[], bool] = lambda: True) -> None:
    """Run the gateway in this process until SIGTERM or SIGINT, or until ``keep_on`` says no."""
    stop = Stop().on_signals()
    sys.setswitchinterval(_SWITCH_SECONDS)
    archive = Archive(settings)
    # pynetdicom is loaded by whoever serves, and not by whoever supervises.
    from vna.gateways.dimse.services import make_ae

    services = make_ae(archive)
    try:
        gateway = Gateway(settings.dimse, archive.receiver, services, archive.audit)
        gateway.start(open_listener(settings.dimse))
        threading.Thread(target=_warm, args=(archive.queue,), name="warm-queue", daemon=True).start()
        archive.audit.record(application_activity("vna-dimse", start=True, ae_title=settings.dimse.ae_title))
        log.info("DIMSE: %s listens on %s:%d", settings.dimse.ae_title, settings.dimse.host, settings.dimse.port)
        while not stop.wait(1.0) and keep_on():
            pass
        gateway.stop()
        archive.audit.record(application_activity("vna-dimse", start=False, ae_title=settings.dimse.ae_title))
    finally:
        services.close()
        archive.close()


def _run_child(settings: Settings) -> None:
    observability.configure(settings.log)
    run_process(settings, parent_lives())


def serve(settings: Settings) -> None:
    """Run the DIMSE gateway until SIGTERM or SIGINT.

    With ``dimse.processes`` above one this process starts that many, which
    share the port, and starts another for one that dies.

    Raises
    ------
    ConfigurationError
        A setting is wrong; the message names it.
    """
    if settings.dimse.processes == 1:
        run_process(settings)
        return
    # Wrong settings end the gateway here, where a person sees it, and not in each child again and again.
    AccessPolicy.configured(settings.dimse)
    _tls(settings.dimse)
    open_listener(settings.dimse).close()
    supervise(_run_child, settings, settings.dimse.processes)
