"""``vna spool``: what is received but not yet stored."""

from __future__ import annotations

import click

from vna.cli.open_archive import open_archive
from vna.domain.origin import iso_utc, now_us
from vna.domain.quantities import age, size
from vna.ingest.journal import Journal


@click.command("spool", short_help="List what is received but not yet stored.")
@click.option("--limit", default=50, show_default=True, help="Most lines printed, the oldest first.")
@click.option("--seen", is_flag=True, help="Forget that the disk failed: somebody has looked.")
def command(limit: int, seen: bool) -> None:
    """List what is received and acknowledged but not yet stored and searchable.

    Entries leave by themselves; one that stays for minutes has a reason, which
    its attempts tell, or the object store, the index or the workers are away.
    """
    with open_archive() as archive:
        if seen:
            archive.spool.forget_trouble()
        entries = sorted(archive.spool.entries(), key=lambda entry: entry.received_us)
        journal = Journal(archive.spool)
        suspects = journal.suspects()
        now = now_us()
        for entry in entries[:limit]:
            attempts = journal.get(entry.name) if entry.name in suspects else None
            failed = f"  failed {attempts.count} times: {attempts.error}" if attempts and attempts.count else ""
            failed = f"  held back: {attempts.error}" if attempts and attempts.held else failed
            origin = entry.origin
            sender = f"{origin.protocol} {origin.calling or '-'}@{origin.address or 'local'}"
            waits = age((now - entry.received_us) / 1e6) if now >= entry.received_us else "future"
            click.echo(f"{iso_utc(entry.received_us)}  {waits:>7}  {size(entry.length):>10}  {sender}{failed}")
        total = size(sum(entry.length for entry in entries))
        more = f" ({len(entries) - limit} more are not shown)" if len(entries) > limit else ""
        click.echo(f"{len(entries)} entries, {total}{more}")
