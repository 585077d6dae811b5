"""``vna load``: every DICOM file below a folder into the archive."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vna.cli.open_archive import open_archive
from vna.domain.quantities import size
from vna.ingest.load import Loader, LoadReport, find_files
from vna.ingest.load import Progress as Done

_NAMED = 20


def _summary(report: LoadReport, seconds: float) -> None:
    files = report.stored + report.duplicates + report.conflicts
    rate = f", {files / seconds:.0f} files/s" if files and seconds > 0 else ""
    click.echo(
        f"{report.stored} stored, {report.duplicates} duplicate, {len(report.quarantined)} quarantined"
        f" ({size(report.bytes)} in {seconds:.1f} s{rate})"
    )
    if report.conflicts:
        click.echo(f"{report.conflicts} stored in conflict: other bytes are current under the same UIDs")
    if report.before:
        click.echo(f"{report.before} were done by an earlier run that was interrupted")
    for title, lines in (
        ("quarantined", [f"{path}: {reason}" for path, reason in report.quarantined]),
        ("DICOMDIR, skipped", [str(path) for path in report.directories]),
        ("not DICOM, skipped", [str(path) for path in report.skipped]),
    ):
        if lines:
            click.echo(f"{title}:")
            for line in lines[:_NAMED]:
                click.echo(f"  {line}")
            if len(lines) > _NAMED:
                click.echo(f"  … and {len(lines) - _NAMED} more")


@click.command("load", short_help="Take in every DICOM file below a folder.")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--again", is_flag=True, help="Forget what an interrupted run had done.")
def command(folder: Path, again: bool) -> None:
    """Take in every DICOM file below FOLDER (or one file).

    Works on this host's spool, whether the archive runs or not. Interrupted, the
    same command goes on where it was. Files that are not DICOM are skipped, and
    symbolic links are not followed; broken files go to quarantine with a reason,
    and the exit code is 1.
    """
    started = time.monotonic()
    columns = (TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with open_archive() as archive:
        done = Done(archive.settings.run_path / "loads", folder)
        if again:
            done.forget()
        total = sum(1 for _ in find_files(folder))
        if not total:
            click.echo(f"there is no regular file below {folder}; symbolic links are not followed", err=True)
        committer = archive.committer()
        try:
            with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
                task = progress.add_task("files", total=total)
                loader = Loader(archive.spool, committer, done)
                report = loader.load(folder, lambda count: progress.update(task, advance=count))
        finally:
            committer.close()
        archive.index.refresh()
        done.forget()
    _summary(report, time.monotonic() - started)
    if report.quarantined:
        sys.exit(1)
