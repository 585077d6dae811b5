"""``vna reindex``: the index, anew, from the object store."""

from __future__ import annotations

import sys
import time

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from vna.cli.open_archive import open_archive
from vna.lifecycle.reindex import ReindexReport, reindex

_NAMED = 20


@click.command("reindex", short_help="Rebuild the index from the object store.")
def command() -> None:
    """Rebuild the index from the object store, without reading pixel data.

    Searches go on in the old index meanwhile, and what arrives is in both. The
    new index takes the old one's place at the end. Exit code 1 if something in
    the store could not be indexed, or is not as it was received; it is named.
    """
    started = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:.0f} instances"), TimeElapsedColumn())
    with open_archive() as archive, Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reindexing", total=None)
        report = reindex(archive.objects, archive.index, lambda count: progress.update(task, completed=count))
    seconds = time.monotonic() - started
    click.echo(f"{report.instances} instances indexed in {seconds:.1f} s ({report.late} of them arrived meanwhile)")
    _tell(report)
    if not report.whole:
        sys.exit(1)


def _tell(report: ReindexReport) -> None:
    for key in report.repaired[:_NAMED]:
        click.echo(f"repaired: {key} had no metadata document; it is made")
    reasoned = {
        "unreadable": report.unreadable,
        "refused by the index": report.refused,
        "of a newer version": report.newer,
        "damaged": report.differing,
    }
    for what, notes in reasoned.items():
        for key, reason in notes[:_NAMED]:
            click.echo(f"{what}: {key}: {reason}")
    for key in report.without_bytes[:_NAMED]:
        click.echo(f"without bytes: {key}")
    totals = {what: notes.total for what, notes in reasoned.items()} | {"without bytes": report.without_bytes.total}
    if not report.whole:
        click.echo(", ".join(f"{number} {what}" for what, number in totals.items() if number))
