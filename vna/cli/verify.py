"""``vna verify``: whether what is stored is what was received."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from vna.cli.open_archive import open_archive
from vna.domain.errors import NotFoundError
from vna.domain.origin import iso_utc
from vna.domain.quantities import size
from vna.lifecycle.scrub import last_round
from vna.lifecycle.verify import Verifier, troubles

_NAMED = 1000


@click.command("verify", short_help="Compare what is stored with what was received.")
@click.option("--all", "everything", is_flag=True, help="Read all that is stored now, as fast as it can be read.")
@click.option("--study", metavar="UID", help="Read one study now, by its Study Instance UID.")
def command(everything: bool, study: str | None) -> None:
    """Compare what is stored with what was received, and with the index.

    Without an option: what is known from the slow verification that the workers
    do all the time (VNA_STORE__VERIFY_BYTES_SECOND), and what earlier runs found
    wrong. What is wrong is listed by its key, and written down in the object
    store. Exit code 1 if anything is wrong.
    """
    if everything and study:
        raise click.UsageError("--all and --study cannot be given together")
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.fields[read]}"), BarColumn(), TimeElapsedColumn())
    with open_archive() as archive:
        if not everything and not study:
            found = last_round(archive.objects)
            if found is None:
                click.echo("no verification of everything has ended yet")
            else:
                click.echo(
                    f"{found.objects} instances, {size(found.bytes)}, were read from {iso_utc(found.began_us)} "
                    f"to {iso_utc(found.ended_us)}" + _unread(found.unread)
                )
            wrong = troubles(archive.objects)
        else:
            started = time.monotonic()
            with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
                verifier = Verifier(archive.objects, archive.index, _shown(progress))
                report = verifier.study(study) if study else verifier.everything()
            seconds = time.monotonic() - started
            if study and not report.objects and not report.wrong:
                raise NotFoundError(f"there is no study {study}")
            click.echo(
                f"{report.objects} instances, {size(report.bytes)}, read in {seconds:.1f} s" + _unread(report.unread)
            )
            wrong = report.wrong
    for each in wrong[:_NAMED]:
        click.echo(f"{each.wrong.value}: {each.key}: {each.text}")
    if wrong:
        click.echo(f"{len(wrong)} wrong")
        sys.exit(1)


def _unread(count: int) -> str:
    return f"; {count} lie in a class that cannot be read now" if count else ""


def _shown(progress: Progress) -> Callable[[int], None]:
    task = progress.add_task("verifying", total=None, read="")
    total = 0

    def add(count: int) -> None:
        nonlocal total
        total += count
        progress.update(task, read=size(total))

    return add
