"""``vna deletion``: what was asked to be deleted, and taking such a request back."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict

import click

from vna.cli.open_archive import open_archive
from vna.lifecycle.deletion import REQUESTED, Deletions


@click.group("deletion", short_help="List and withdraw requests to delete.")
def command() -> None:
    """List and withdraw requests to delete. Nothing is deleted by a request alone."""


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that were withdrawn, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(everything: bool, as_json: bool) -> None:
    """List the requests there are."""
    with open_archive() as archive:
        empty = True
        for each in Deletions(archive.objects).list():
            if not everything and each.state != REQUESTED:
                continue
            empty = False
            if as_json:
                click.echo(json.dumps(asdict(each), ensure_ascii=False))
                continue
            last = each.steps[-1]
            what = each.instance or each.series or each.study
            click.echo(f"{each.id[:12]}  {last.when[:19]}  {each.state}  {each.instances:>6}  {last.who}  {what}")
            if each.limits:
                click.echo(f"    of what has {' and '.join(each.limits)} alone")
            if last.reason:
                click.echo(f"    {last.reason}")
        if empty and not as_json:
            click.echo("nothing was asked to be deleted")


@command.command()
@click.argument("request", metavar="ID")
@click.option("--reason", required=True, help="Why; it is kept.")
def withdraw(request: str, reason: str) -> None:
    """Take a request back, by the start of its id."""
    with open_archive() as archive:
        found = Deletions(archive.objects).withdraw(request, getpass.getuser(), reason)
        click.echo(f"{found.id} is withdrawn")
