"""``vna audit``: read, check and export the audit trail."""

from __future__ import annotations

import getpass
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import click

from vna.bootstrap import Archive
from vna.cli.open_archive import open_archive
from vna.domain.audit import AuditEvent, Kind, Outcome, Participant, to_record
from vna.domain.origin import iso_utc, now_us
from vna.security.audit_events import audit_log_used
from vna.security.audit_filter import AuditFilter
from vna.security.audit_search import AuditEntry
from vna.security.audit_state import note
from vna.security.audit_verify import verify as verify_chains
from vna.security.audit_xml import to_xml

_AGE = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Return a time as microseconds since 1970; where no zone is given it is UTC."""
    if not value:
        return None
    found = _AGE.fullmatch(value)
    if found:
        return now_us() - int(timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds() * 1e6)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is neither a time such as 2026-11-24T10:00Z nor an age such as 2h"
        ) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)


def _filters(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.option(
                "--since", callback=_moment, help="From this time on: 2026-11-24T10:00Z, or an age: 30m, 2h, 7d."
            ),
            click.option("--until", callback=_moment, help="Before this time."),
            click.option("--patient", default="", help="Patient ID."),
            click.option("--study", default="", help="Study Instance UID."),
            click.option("--user", default="", help="User, AE title or address of somebody who took part."),
            click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="What happened."),
            click.option("--failed/--succeeded", default=None, help="What did not go well, or what did."),
        )
    ):
        function = option(function)
    return function


def _wanted(options: dict[str, Any]) -> AuditFilter:
    kind = options["kind"]
    return AuditFilter(
        options["since"],
        options["until"],
        options["patient"],
        options["study"],
        options["user"],
        Kind(kind) if kind else None,
        options["failed"],
    )


def _used(archive: Archive, what: str) -> None:
    who, process = Participant(getpass.getuser(), requestor=True), Participant(f"vna audit {what}")
    archive.audit.record(audit_log_used(who, process, f"file://{archive.settings.audit_path}"))


@click.group("audit", short_help="Read, check and export the audit trail.")
def command() -> None:
    """Read, check and export the audit trail: who saw, sent, changed or deleted what."""


@command.command("list")
@_filters
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most lines printed, the newest first."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(limit: int, as_json: bool, **options: Any) -> None:
    """List events, the newest first, whether they are sealed already or not."""
    with open_archive() as archive:
        page = archive.audit_reader.page(_wanted(options), limit)
        _used(archive, "list")
    for entry in page.entries:
        if as_json:
            where = {"chain": entry.chain, "sequence": entry.sequence}
            click.echo(json.dumps(where | to_record(entry.event), ensure_ascii=False))
        else:
            click.echo(_line(entry))
    if page.next and not as_json:
        click.echo(f"more than {limit}; raise --limit or narrow the search", err=True)


def _line(entry: AuditEntry) -> str:
    event = entry.event
    outcome = "" if event.outcome is Outcome.SUCCESS else f" ({event.outcome.name.lower().replace('_', ' ')})"
    people = " > ".join(_name(event, place) for place in range(len(event.participants)))
    studies = "; ".join(
        f"study {study.uid} of {study.patient_id or 'unknown'}" + (f", {study.instances}" if study.instances else "")
        for study in event.studies
    )
    asked = event.query.target if event.query else event.target
    where = str(entry.sequence) if entry.sequence else "-"
    rest = " | ".join(part for part in (people, studies, asked, event.detail) if part)
    return f"{iso_utc(event.when_us)}  {where:>8}  {event.action} {event.kind}{outcome}  {rest}"


def _name(event: AuditEvent, place: int) -> str:
    who = event.participants[place]
    return f"{who.user}@{who.address}" if who.address else who.user


@command.command()
def verify() -> None:
    """Check every chain: nothing removed, altered or moved. Exit code 1 names the places that are not as written."""
    with open_archive() as archive:
        reports = verify_chains(archive.objects, archive.audit_sealer.head())
        note(archive.objects, reports, getpass.getuser())
    bad = False
    for report in reports:
        if report.chain:
            sequence, digest = report.end
            click.echo(
                f"{report.chain}: {report.segments} segments, {report.records} records, ends {sequence} {digest}"
            )
        for problem in report.problems:
            bad = True
            click.echo(f"  {problem}")
    if not reports:
        click.echo("nothing is sealed yet")
    sys.exit(1 if bad else 0)


@command.command()
@_filters
@click.option("--output", type=click.File("wb"), default="-", help="File; standard output if none is given.")
def export(output: BinaryIO, **options: Any) -> None:
    """Write events as DICOM audit messages (PS3.15 A.5), one XML element a line, the oldest of each chain first."""
    with open_archive() as archive:
        settings = archive.settings
        entries = archive.audit_reader.all(_wanted(options))
        source, site = settings.host_id, settings.audit.site
        output.writelines(to_xml(entry.event, entry.chain or source, site) + b"\n" for entry in entries)
        _used(archive, "export")


@command.command()
def seal() -> None:
    """Seal what is in the local audit log now, and send it on if an audit repository is configured."""
    with open_archive() as archive:
        sealed = archive.audit_sealer.seal()
        sent = archive.audit_forwarder.forward() if archive.audit_forwarder is not None else 0
    if sealed is None:
        click.echo("another process is at it")
    else:
        click.echo(f"{sealed.records} records in {sealed.segments} segments; {sent} sent")
