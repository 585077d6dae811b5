"""``vna quarantine``: what could not be stored, why, and what to do with it."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict

import click

from vna.cli.open_archive import open_archive
from vna.domain.audit import Participant
from vna.domain.errors import IntegrityError
from vna.domain.origin import iso_utc
from vna.domain.quantities import size
from vna.ingest.audited import dropped, given_back
from vna.ingest.backlog import hint
from vna.ingest.journal import Journal
from vna.ingest.spool import SpoolEntry


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
@click.option("--damaged", is_flag=True, help="Even if the bytes are not those that were received; not with --all.")
def retry(entries: tuple[str, ...], everything: bool, damaged: bool) -> None:
    """Give entries back to be stored, for instance after an upgrade that reads them.

    One whose bytes are not those that were received, neither here nor in the object store, stays: look at it first.
    """
    if bool(entries) == everything:
        raise click.UsageError("name at least one ID, or --all")
    if damaged and everything:
        raise click.UsageError("--damaged is for entries that somebody has looked at: name each ID")
    with open_archive() as archive:
        back = []
        refused = 0
        who = Participant(getpass.getuser(), requestor=True)
        for prefix in [item.id for item in archive.quarantine.list()] if everything else entries:
            item = archive.quarantine.show(prefix)
            try:
                back.append(archive.quarantine.retry(item.id, force=damaged))
            except IntegrityError as error:
                click.echo(str(error), err=True)
                refused += 1
                continue
            archive.audit.record(given_back(who, archive.process, item))
            click.echo(f"{prefix} is in the spool again")
        if not hint(archive.queue, archive.settings.spool.id, back):
            click.echo("the broker does not answer; the sweeper will find them")
        if refused:
            raise click.exceptions.Exit(1)


@command.command()
@click.option("--release", is_flag=True, help="Try them again; what is refused then goes to quarantine.")
def held(release: bool) -> None:
    """List the entries that were refused and are held back in the spool.

    When so many instances of one sender are refused in a row that the archive itself may be at fault, those that
    follow are not put in quarantine: they wait in the spool until a person has looked, or another version of the
    archive runs (VNA_SPOOL__MOST_REFUSALS).
    """
    with open_archive() as archive:
        journal = Journal(archive.spool)
        names = sorted(journal.held())
        for name in names:
            entry = SpoolEntry.parse(name)
            known = journal.get(name)
            sender = f"{entry.origin.calling or '-'}@{entry.origin.address or 'local'}"
            reason = known.error if known else ""
            click.echo(f"{entry.nonce}  {iso_utc(entry.received_us)[:19]}  {sender}\n    {reason}")
        if not names:
            click.echo("nothing is held back")
        if release:
            archive.brake.release()
            entries = [SpoolEntry.parse(name) for name in journal.release()]
            told = hint(archive.queue, archive.settings.spool.id, entries)
            click.echo(f"{len(entries)} are tried again" + ("" if told else " when the sweeper finds them"))


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
