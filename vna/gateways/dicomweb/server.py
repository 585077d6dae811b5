"""Runs the HTTP gateway: one process, or several that share the port."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import uvicorn

from vna import observability
from vna.bootstrap import Archive
from vna.config import HttpSettings, Settings
from vna.domain.errors import ConfigurationError
from vna.gateways.dicomweb import ups_channel
from vna.gateways.dicomweb.app import build
from vna.gateways.dicomweb.protocol import GuardedProtocol
from vna.security.tls import server_context

_log = logging.getLogger(__name__)

_BACKLOG = 2048
# Requests under way when the gateway is told to stop have this long to end.
_GRACE_SECONDS = 20
_LEVELS = {"debug": "debug", "info": "warning", "warning": "warning", "error": "error"}


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first.

    Raises
    ------
    ConfigurationError
        The address cannot be listened on, or the TLS files cannot be read.
    """
    if settings.http.processes == 1:
        _serve_one(settings, share=False)
        return
    # Without SO_REUSEPORT, so that a port that somebody else shares is told from a free one.
    _listen(settings.http, share=False).close()
    _tls(settings.http)
    _supervise(settings)


class _Server(uvicorn.Server):
    """Ends with status 0 when told to stop; uvicorn would end by the signal."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close notification channels first: they end by themselves never."""
        await ups_channel.going_down()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        def stop(number: int, _frame: object) -> None:
            self.handle_exit(number, None)

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _log_to_stderr(settings: Settings) -> None:
    """Log to standard error, unless whoever started this process has said where to."""
    if not logging.getLogger().handlers:
        observability.configure(settings.log)


def _serve_one(settings: Settings, *, share: bool) -> None:
    _log_to_stderr(settings)
    http = settings.http
    listener = _listen(http, share=share)
    tls = _tls(http)
    config = uvicorn.Config(
        build(Archive(settings)),
        http=GuardedProtocol,
        loop="uvloop",
        ws="websockets-sansio",
        # Clients have nothing to say on a channel, and what they are told is too small to compress.
        ws_max_size=4096,
        ws_per_message_deflate=False,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        lifespan="on",
        log_config=None,
        log_level=_LEVELS[settings.log.level],
        access_log=False,
        server_header=False,
        # Off, so that nobody can claim another address by a header of his own.
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=None,
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )
    server = _Server(config)
    with listener:
        server.run(sockets=[listener])
    if not server.started:
        sys.exit(3)


def _listen(http: HttpSettings, *, share: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((http.host, http.port))
    except OSError as error:
        listener.close()
        message = f"VNA_HTTP__HOST, VNA_HTTP__PORT: cannot listen on {http.host} port {http.port}: {error.strerror}"
        raise ConfigurationError(message) from error
    listener.listen(_BACKLOG)
    return listener


def _tls(http: HttpSettings) -> ssl.SSLContext | None:
    """Return the context of the listener, ``None`` while TLS is off; raises ``ConfigurationError``."""
    return server_context(http.tls.files("HTTP"), alpn=("http/1.1",)) if http.tls.certificate is not None else None


def _child(settings: Settings) -> None:
    _serve_one(settings, share=True)


def _supervise(settings: Settings) -> None:
    """Keep the processes running; one that dies is replaced, each at most once a second."""
    _log_to_stderr(settings)
    # A folder that was given is shared with gateways and workers, whose metrics are then shown here, too.
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        folder = settings.run_path / "http-metrics"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder.resolve())
    context = multiprocessing.get_context("spawn")
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    def start() -> BaseProcess:
        child = context.Process(target=_child, args=(settings,), name="http-gateway")
        child.start()
        return child

    children = [start() for _ in range(settings.http.processes)]
    while not stopping:
        wait([child.sentinel for child in children], timeout=1)
        for place, child in enumerate(children):
            if not stopping and not child.is_alive():
                _log.error("an HTTP gateway process ended with status %s; another is started", child.exitcode)
                time.sleep(1)
                children[place] = start()
    for child in children:
        child.terminate()
    for child in children:
        child.join(_GRACE_SECONDS + 5)
        if child.is_alive():
            child.kill()
