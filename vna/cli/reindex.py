"""``vna reindex``: the index, anew, from the object store."""

from __future__ import annotations

import sys
import time

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from vna.cli.open_archive import open_archive
from vna.lifecycle.reindex import reindex

_NAMED = 20


@click.command("reindex", short_help="Rebuild the index from the object store.")
def command() -> None:
    """Rebuild the index from the object store, without reading pixel data.

    Searches go on in the old index meanwhile, and what arrives is in both. The
    new index takes the old one's place at the end. Exit code 1 if something in
    the store could not be indexed; it is named.
    """
    started = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:.0f} instances"), TimeElapsedColumn())
    with open_archive() as archive, Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reindexing", total=None)
        report = reindex(archive.objects, archive.index, lambda count: progress.update(task, completed=count))
    seconds = time.monotonic() - started
    click.echo(f"{report.instances} instances indexed in {seconds:.1f} s ({report.late} of them arrived meanwhile)")
    for key in report.repaired[:_NAMED]:
        click.echo(f"repaired: {key} had no metadata document; it is made")
    for key, reason in report.unreadable[:_NAMED]:
        click.echo(f"unreadable: {key}: {reason}")
    for key in report.without_bytes[:_NAMED]:
        click.echo(f"without bytes: {key}")
    if report.unreadable or report.without_bytes:
        click.echo(f"{len(report.unreadable)} unreadable, {len(report.without_bytes)} without bytes")
        sys.exit(1)
