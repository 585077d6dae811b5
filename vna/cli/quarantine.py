"""``vna quarantine``: what could not be stored, why, and what to do with it."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict

import click

from vna.cli.open_archive import open_archive
from vna.domain.audit import Participant
from vna.domain.quantities import size
from vna.ingest.audited import dropped, given_back
from vna.ingest.backlog import hint


@click.group("quarantine", short_help="List, show, retry or drop what could not be stored.")
def command() -> None:
    """List, show, retry or drop what could not be stored.

    An ID is the start of an entry's id, as long as it is the only one that starts so.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(as_json: bool) -> None:
    """List what is in quarantine, with its reasons."""
    with open_archive() as archive:
        empty = True
        for item in archive.quarantine.list():
            empty = False
            if as_json:
                click.echo(json.dumps(asdict(item), ensure_ascii=False))
                continue
            sender = f"{item.origin.get('calling') or '-'}@{item.origin.get('address') or 'local'}"
            click.echo(f"{item.id}  {item.received[:19]}  {size(item.size):>10}  {sender}\n    {item.reason}")
        if empty and not as_json:
            click.echo("nothing is in quarantine")


@command.command()
@click.argument("entry", metavar="ID")
def show(entry: str) -> None:
    """Show everything that is known of one entry, and where its bytes are."""
    with open_archive() as archive:
        item = archive.quarantine.show(entry)
        click.echo(json.dumps(asdict(item), indent=1, ensure_ascii=False))
        click.echo(f"bytes: {archive.quarantine.file(item)}")


@command.command()
@click.argument("entries", metavar="ID...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every entry.")
def retry(entries: tuple[str, ...], everything: bool) -> None:
    """Give entries back to be stored, for instance after an upgrade that reads them."""
    if bool(entries) == everything:
        raise click.UsageError("name at least one ID, or --all")
    with open_archive() as archive:
        back = []
        who = Participant(getpass.getuser(), requestor=True)
        for prefix in [item.id for item in archive.quarantine.list()] if everything else entries:
            item = archive.quarantine.show(prefix)
            back.append(archive.quarantine.retry(item.id))
            archive.audit.record(given_back(who, archive.process, item))
            click.echo(f"{prefix} is in the spool again")
        if not hint(archive.queue, archive.settings.spool.id, back):
            click.echo("the broker does not answer; the sweeper will find them")


@command.command()
@click.argument("entry", metavar="ID")
@click.option("--reason", required=True, help="Why; it is kept.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(entry: str, reason: str, yes: bool) -> None:
    """Destroy one entry for good; what it was, who dropped it, when and why is kept."""
    with open_archive() as archive:
        item = archive.quarantine.show(entry)
        if not yes:
            click.confirm(f"Destroy {item.id} ({size(item.size)}, {item.reason})?", abort=True)
        archive.quarantine.drop(item.id, reason, getpass.getuser())
        who = Participant(getpass.getuser(), requestor=True)
        archive.audit.record(dropped(who, archive.process, item, reason))
        click.echo(f"{item.id} is dropped")
