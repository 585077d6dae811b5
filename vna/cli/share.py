"""``vna share``: links to a study for somebody without an account."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Column, Table

from vna.cli.open_archive import open_archive
from vna.domain.errors import NotFoundError
from vna.domain.query import AnyOf, Level, Query


@click.group("share", short_help="Make and revoke links to a study for somebody without an account.")
def command() -> None:
    """Make and revoke links to a study for somebody without an account."""


@command.command("add")
@click.argument("study", metavar="STUDY_INSTANCE_UID")
@click.option("--days", type=click.IntRange(1, 365), default=7, show_default=True, help="Days until it ends.")
@click.option("--pictures-only", is_flag=True, help="Show pictures without the patient's details.")
@click.option("--note", default="", help="For whom, for your own record.")
def add(study: str, days: int, pictures_only: bool, note: str) -> None:
    """Make a link and print it; it is told this once and not kept."""
    with open_archive() as archive:
        if not archive.index.query(Query(Level.STUDY, (AnyOf("0020000D", (study,)),), 1)):
            raise NotFoundError(f"the archive has no study {study}")
        _share, token = archive.shares.add(study, getpass.getuser(), days=days, note=note, hide_patient=pictures_only)
        http = archive.settings.http
        scheme = "https" if http.tls.certificate else "http"
        click.echo(f"{http.base_url or f'{scheme}://{http.host}:{http.port}'}/ui/open/{token}")


@command.command("list")
def show() -> None:
    """List what is shared."""
    with open_archive() as archive:
        shares = sorted(archive.shares.list(), key=lambda share: share.created)
    if not shares:
        click.echo("nothing is shared; to share a study: vna share add STUDY_INSTANCE_UID")
        return
    # What does not fit goes on in the next line: an id that is cut off is of no use.
    others = (Column(name, overflow="fold") for name in ("study", "by", "ends", "shows", "for"))
    table = Table(Column("id", no_wrap=True), *others, box=None, pad_edge=False)
    for share in shares:
        ends = datetime.fromtimestamp(share.expires, UTC).strftime("%Y-%m-%d %H:%M UTC")
        shows = "pictures" if share.hide_patient else "everything"
        table.add_row(share.id, share.study, share.by, ends, shows, share.note)
    Console().print(table)


@command.command("revoke")
@click.argument("identity", metavar="ID")
def revoke(identity: str) -> None:
    """Revoke a link; gateways refuse it within two seconds."""
    with open_archive() as archive:
        archive.shares.remove(identity)
    click.echo(f"{identity} opens nothing any more")
