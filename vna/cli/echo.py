"""``vna echo``: C-ECHO (PS3.4 A) to this archive or to any application entity, as plain DICOM or over TLS."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vna.cli.network import reachable
from vna.config import PeerSettings, Settings, TlsSettings, ae_title, load_settings
from vna.domain.errors import UnavailableError

if TYPE_CHECKING:
    from vna.peers.destination import Destination

_FILE = click.Path(dir_okay=False, exists=True, path_type=Path)

# What to do about a rejection, by result, source and reason (PS3.8 table 9-21).
_ADVICE: Mapping[tuple[int, ...], str] = {
    (1, 1, 3): "it has no {calling!r} that may call from here, or has it bound to another certificate than was shown",
    (1, 1, 7): "it has another AE title than {called!r}",
    (2, 3, 1): "it is busy: try again",
    (2, 3, 2): "it serves as many associations as it may: try again",
}


def echo(destination: Destination, calling: str, seconds: float) -> float:
    """Associate, send one C-ECHO, release.

    Returns
    -------
    float
        Seconds from the first packet to the answer.

    Raises
    ------
    UnavailableError
        No connection, a rejection (with its reason, PS3.8 9.3.4), or no success status.
    ConfigurationError
        A certificate, key or authority of this side cannot be used.
    """
    from vna.dicom.elements import EXPLICIT_LITTLE, IMPLICIT_LITTLE
    from vna.peers.association import RejectedError
    from vna.peers.dimse import VERIFICATION, StoreAssociation

    proposals = [(VERIFICATION, (IMPLICIT_LITTLE, EXPLICIT_LITTLE))]
    started = time.perf_counter()
    try:
        with StoreAssociation(destination, calling, proposals, timeout=seconds, connect_timeout=seconds) as association:
            status = association.echo()
            took = time.perf_counter() - started
    except RejectedError as error:
        advice = _ADVICE.get(error.code, "its log says why").format(calling=calling, called=destination.ae_title)
        raise UnavailableError(f"{destination.where}: rejected ({error.reason}): {advice}") from error
    except UnavailableError as error:
        message = str(error).removeprefix(f"{destination.ae_title}: ")
        raise UnavailableError(
            message if destination.where in message else f"{destination.where}: {message}"
        ) from error
    if status != 0x0000:
        raise UnavailableError(f"{destination.where}: answers with status {status:04X}")
    return took


@dataclass(frozen=True, slots=True)
class _Options:
    """What the command line says of TLS."""

    tls: bool | None
    ca: Path | None
    name: str
    certificate: Path | None
    key: Path | None


def _destination(settings: Settings, peer: str | None, options: _Options) -> Destination:
    from vna.peers.destination import Destination

    dimse = settings.dimse
    pinned: Path | None = None
    if peer and "@" in peer:
        called, _, address = peer.partition("@")
        host, _, number = address.rpartition(":")
        port = int(number) if number.isdecimal() else 0
        if not host or not called or not 0 < port < 65536:
            raise click.BadParameter("write AETITLE@HOST:PORT", param_hint="PEER")
        # An IPv6 address has brackets.
        known = PeerSettings(host=host.removeprefix("[").removesuffix("]"), port=port)
    elif peer:
        found = dimse.peers.get(peer)
        if found is None or not found.host:
            names = ", ".join(dimse.peers) or "none"
            raise click.BadParameter(f"no peer {peer} with a host is configured (known: {names})", param_hint="PEER")
        called, known = peer, found
    else:
        called = dimse.ae_title
        known = PeerSettings(host=reachable(dimse.host), port=dimse.port, tls=dimse.tls.certificate is not None)
        # Its own certificate is known, and need not name an address of this host's.
        pinned = None if options.ca or options.name else dimse.tls.certificate
    try:
        called = ae_title(called)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    given = bool(options.ca or options.name or options.certificate)
    if options.tls is False and given:
        raise click.UsageError("--ca, --name, --certificate and --key go with TLS")
    changes = {
        "tls": known.tls if options.tls is None and not given else options.tls is not False,
        "ca": options.ca or known.ca,
        "tls_name": options.name or known.tls_name,
    }
    shown = dimse.tls
    if options.certificate:
        key = options.key or options.certificate
        shown = TlsSettings(certificate=options.certificate, key=key, client_ca=dimse.tls.client_ca)
    return Destination(called, known.model_copy(update=changes), shown, pinned)


@click.command("echo", short_help="Ask an application entity whether it answers (C-ECHO).")
@click.argument("peer", required=False)
@click.option("--calling", default="", help="Calling AE title; this archive's own if not given.")
@click.option("--timeout", default=5.0, show_default=True, help="Longest wait, seconds.")
@click.option("--tls/--no-tls", default=None, help="Speak TLS or plain DICOM; as configured if not given.")
@click.option("--ca", type=_FILE, help="Its certificate is of a CA in this PEM file.")
@click.option("--name", default="", help="Name that its certificate must bear, if that is not its host.")
@click.option("--certificate", type=_FILE, help="Show this certificate (PEM), not this archive's.")
@click.option("--key", type=_FILE, help="Private key of --certificate, if it is not in the same file.")
def command(
    *,
    peer: str | None,
    calling: str,
    timeout: float,
    tls: bool | None,
    ca: Path | None,
    name: str,
    certificate: Path | None,
    key: Path | None,
) -> None:
    """Send a C-ECHO to PEER and say how long it took.

    PEER is the AE title of a configured peer, or AETITLE@HOST:PORT; without it,
    this archive's own DIMSE gateway is asked. Whether TLS is spoken, with which
    CA, is as configured for the peer or the gateway, unless said otherwise. To
    call as a modality would: --calling with its title, --certificate with its own.
    """
    settings = load_settings()
    try:
        calling = ae_title(calling or settings.dimse.ae_title)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    destination = _destination(settings, peer, _Options(tls, ca, name, certificate, key))
    seconds = echo(destination, calling, timeout)
    how = " over TLS" if destination.peer.tls else ""
    click.echo(f"{destination.where} answers{how} ({seconds * 1000:.0f} ms)")
