"""``vna status``: what runs, what waits, what is stored."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from vna.bootstrap import Archive
from vna.cli.network import reachable
from vna.cli.open_archive import open_archive
from vna.domain.errors import ArchiveError
from vna.domain.origin import iso_utc
from vna.domain.quantities import age, size
from vna.ingest import backlog
from vna.lifecycle.index_loss import find_loss
from vna.lifecycle.scrub import last_round
from vna.lifecycle.verify import troubles


def _listening(host: str, port: int) -> dict[str, Any]:
    try:
        socket.create_connection((reachable(host), port), timeout=2).close()
    except OSError as error:
        return {"ok": False, "text": f"{host}:{port} does not answer ({error.strerror or error})"}
    return {"ok": True, "text": f"{host}:{port} answers"}


def _broker(archive: Archive) -> dict[str, Any]:
    waiting = backlog.queued(archive.queue, archive.settings.spool.id)
    return {
        "ok": True,
        "text": "messages waiting: " + ", ".join(f"{name} {n}" for name, n in waiting.items()),
        "waiting": waiting,
    }


def _keeper(archive: Archive) -> dict[str, Any]:
    """Tell of the worker that sweeps and seals: beat sends it an order every some seconds."""
    beat = backlog.heartbeat(archive.settings.run_path, backlog.KEEPER)
    if beat is None:
        return {"ok": False, "text": "no heartbeat yet: no keeper and beat have run on this data folder"}
    text = f"last heartbeat through beat, broker and keeper {age(beat.seconds)} ago, on {beat.host}"
    return {"ok": beat.alive, "text": text, "heartbeat_seconds": beat.seconds}


def _workers(archive: Archive, part: str) -> dict[str, Any]:
    """Tell of the workers of ingest: they give a sign with each batch, and when the keeper asks."""
    beat = backlog.heartbeat(archive.settings.run_path, part)
    busy = backlog.large_in_hand(archive.spool) if part == backlog.LARGE else 0
    text = f"{busy} in work; " if busy else ""
    if beat is None:
        return {"ok": bool(busy), "text": text + "no sign of life yet: none has run on this data folder"}
    text += f"last sign of life {age(beat.seconds)} ago, on {beat.host}"
    return {"ok": beat.alive or bool(busy), "text": text, "heartbeat_seconds": beat.seconds}


def _spool(archive: Archive) -> dict[str, Any]:
    found = backlog.spooled(archive.spool)
    text = f"{found.entries} entries, {size(found.bytes)}"
    text += f", oldest {age(found.oldest_seconds)}" if found.entries else ""
    text += f", {size(found.free_bytes)} free"
    text += "".join(f"\n{fault}" for fault in found.faults)
    numbers = {
        "entries": found.entries,
        "bytes": found.bytes,
        "oldest_seconds": found.oldest_seconds,
        "free_bytes": found.free_bytes,
        "faults": found.faults,
    }
    return {"ok": not found.faults, "text": text} | numbers


def _quarantine(archive: Archive) -> dict[str, Any]:
    count = archive.quarantine.count()
    return {
        "ok": not count,
        "text": f"{count} entries" + ("; see `vna quarantine list`" if count else ""),
        "entries": count,
    }


def _objects(archive: Archive) -> dict[str, Any]:
    archive.objects.check()
    settings = archive.settings
    where = f"bucket {settings.store.bucket}" if settings.store.kind == "s3" else str(settings.objects_path)
    return {"ok": True, "text": f"{where} takes objects"}


def _index(archive: Archive) -> dict[str, Any]:
    archive.index.check()
    counts = archive.index.counts()
    text = (
        f"{counts.patients} patients, {counts.studies} studies, {counts.series} series, "
        f"{counts.instances} instances, {size(counts.bytes)}"
    )
    loss = find_loss(archive.objects, archive.index)
    if loss is not None:
        text = f"{loss}; found are {text}"
    outdated = archive.index.outdated()
    text += "; an earlier version made it: run `vna reindex`" if outdated else ""
    names = ("patients", "studies", "series", "instances", "bytes")
    ok = not outdated and loss is None
    return {"ok": ok, "text": text, "lost": loss is not None} | {name: getattr(counts, name) for name in names}


def _verified(archive: Archive) -> dict[str, Any]:
    found, wrong = last_round(archive.objects), troubles(archive.objects)
    text = f"{found.objects} instances read, until {iso_utc(found.ended_us)}" if found else "not all has been read yet"
    text += f"; {len(wrong)} wrong, see `vna verify`" if wrong else ""
    return {"ok": not wrong, "text": text, "wrong": len(wrong)}


def look(archive: Archive) -> dict[str, dict[str, Any]]:
    """Return what each part says of itself: ``ok``, ``text``, and its numbers."""
    settings = archive.settings
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "dimse": lambda: _listening(settings.dimse.host, settings.dimse.port),
        "http": lambda: _listening(settings.http.host, settings.http.port),
        "broker": lambda: _broker(archive),
        "keeper": lambda: _keeper(archive),
        "workers": lambda: _workers(archive, backlog.INGEST),
        "large": lambda: _workers(archive, backlog.LARGE),
        "spool": lambda: _spool(archive),
        "quarantine": lambda: _quarantine(archive),
        "objects": lambda: _objects(archive),
        "index": lambda: _index(archive),
        "verified": lambda: _verified(archive),
    }
    found = {}
    for name, ask in parts.items():
        try:
            found[name] = ask()
        except (ArchiveError, OSError, ValueError) as error:
            found[name] = {"ok": False, "text": str(error) or type(error).__name__}
    return found


@click.command("status", short_help="Show what runs, what waits and what is stored.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for a machine.")
def command(as_json: bool) -> None:
    """Show what runs, what waits and what is stored.

    Exit code 1 if a part does not work, or something is in quarantine.
    """
    with open_archive() as archive:
        found = look(archive)
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, part in found.items():
            table.add_row(name, "[green]ok[/]" if part["ok"] else "[red]look[/]", part["text"])
        Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
    if not all(part["ok"] for part in found.values()):
        sys.exit(1)
