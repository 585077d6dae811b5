"""``vna echo``: C-ECHO (PS3.4 A) to this archive or to any application entity."""

from __future__ import annotations

import time

import click

from vna.config import ae_title, load_settings
from vna.domain.errors import UnavailableError


def echo(host: str, port: int, called: str, calling: str, seconds: float) -> float:
    """Associate, send one C-ECHO, release.

    Returns
    -------
    float
        Seconds from the first packet to the answer.

    Raises
    ------
    UnavailableError
        No connection, a rejection (with its reason, PS3.8 9.3.4), or no success status.
    """
    from pynetdicom import AE, evt
    from pynetdicom.pdu import A_ASSOCIATE_RJ
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import time

    rejections: list[str] = []

    def on_pdu(event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            rejections.append(f"{event.pdu.result_str}, {event.pdu.source_str}: {event.pdu.reason_str}")

    entity = AE(ae_title=calling)
    entity.add_requested_context(Verification)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = seconds
    started = time.perf_counter()
    association = entity.associate(host, port, ae_title=called, evt_handlers=[(evt.EVT_PDU_RECV, on_pdu)])
    if not association.is_established:
        reason = (
            f"rejected ({rejections[0]})"
            if rejections
            else "no connection: nobody listens there, or the association was aborted"
        )
        raise UnavailableError(f"{called} at {host}:{port}: {reason}")
    try:
        status = association.send_c_echo()
    finally:
        association.release()
    if "Status" not in status or status.Status != 0x0000:
        raise UnavailableError(f"{called} at {host}:{port}: no success status in the answer")
    return time.perf_counter() - started


@click.command("echo", short_help="Ask an application entity whether it answers (C-ECHO).")
@click.argument("peer", required=False)
@click.option("--calling", default="", help="Calling AE title; this archive's own if not given.")
@click.option("--timeout", default=5.0, show_default=True, help="Longest wait, seconds.")
def command(peer: str | None, calling: str, timeout: float) -> None:
    """Send a C-ECHO to PEER and say how long it took.

    PEER is the AE title of a configured peer, or AETITLE@HOST:PORT; without it,
    this archive's own DIMSE gateway is asked.
    """
    settings = load_settings()
    host, port, called = settings.dimse.host, settings.dimse.port, settings.dimse.ae_title
    if peer and "@" in peer:
        called, _, address = peer.partition("@")
        host, _, number = address.rpartition(":")
        port = int(number) if number.isdecimal() else 0
        if not host or not called or not 0 < port < 65536:
            raise click.BadParameter("write AETITLE@HOST:PORT", param_hint="PEER")
        host = host.removeprefix("[").removesuffix("]")  # an IPv6 address
    elif peer:
        found = settings.dimse.peers.get(peer)
        if found is None or not found.host:
            known = ", ".join(settings.dimse.peers) or "none"
            raise click.BadParameter(f"no peer {peer} with a host is configured (known: {known})", param_hint="PEER")
        host, port, called = found.host, found.port, peer
    try:
        called, calling = ae_title(called), ae_title(calling or settings.dimse.ae_title)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    seconds = echo(host, port, called, calling, timeout)
    click.echo(f"{called} at {host}:{port} answers ({seconds * 1000:.0f} ms)")
