"""``vna key``: API keys for machines."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table

from vna.cli.open_archive import open_archive
from vna.cli.user import ONLY
from vna.security.limits import Limits
from vna.security.principals import Role
from vna.security.tls_files import fingerprint


@click.group("key", short_help="Make and remove API keys for machines.")
def command() -> None:
    """Make and remove API keys for machines.

    A client sends its key with each request: Authorization: Bearer KEY.
    """


@command.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What it may do.")
@click.option("--days", type=click.IntRange(min=0), default=0, help="Days until it ends; 0 for never.")
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="The key is good with this client certificate (PEM) alone; needs VNA_HTTP__TLS__CLIENT_CA.",
)
@ONLY
def add(name: str, role: str, days: int, certificate: Path | None, only: tuple[str, ...]) -> None:
    """Make a key and print it; it is told this once and not kept."""
    bound = fingerprint(certificate) if certificate is not None else ""
    with open_archive() as archive:
        click.echo(archive.accounts.add_key(name, Role(role), days, Limits.parse(only), bound))


@command.command("list")
def show() -> None:
    """List the keys, without what is secret of them."""
    with open_archive() as archive:
        keys = sorted(archive.accounts.keys(), key=lambda key: key.name)
    if not keys:
        click.echo("there is no API key; to make one: vna key add NAME --role viewer")
        return
    # What does not fit goes on in the next line: an id that is cut off is of no use.
    others = (Column(name, overflow="fold") for name in ("name", "role", "only", "certificate", "ends"))
    table = Table(Column("id", no_wrap=True), *others, box=None, pad_edge=False)
    for key in keys:
        ends = datetime.fromtimestamp(key.expires, UTC).strftime("%Y-%m-%d %H:%M UTC") if key.expires else "never"
        table.add_row(key.id, key.name, key.role, "\n".join(key.limits.texts), key.certificate[:16], ends)
    Console().print(table)


@command.command("remove")
@click.argument("identity", metavar="ID")
def remove(identity: str) -> None:
    """End a key; gateways refuse it within 15 seconds."""
    with open_archive() as archive:
        archive.accounts.remove_key(identity)
    click.echo(f"{identity} is removed")
