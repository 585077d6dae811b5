"""``vna commitment``: who asked whether instances are kept, what it was told, and what is still to be told."""

from __future__ import annotations

import getpass
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, replace

import click

from vna.bootstrap import Archive
from vna.cli.open_archive import open_archive
from vna.commitment.decision import Result
from vna.commitment.request import Request
from vna.commitment.state import DECIDING, DROPPED, FAILED, REPORTING, State
from vna.domain.audit import Participant
from vna.domain.errors import ConflictError, NotFoundError
from vna.domain.origin import iso_utc, now_us
from vna.security import audit_events as events


@click.group("commitment", short_help="List, show, retry or drop storage commitments.")
def command() -> None:
    """List, show, retry or drop storage commitments.

    An ID is the start of a commitment's id or of its Transaction UID, as long as it is the only one that starts so.
    """


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that were reported or dropped, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(everything: bool, as_json: bool) -> None:
    """List what is open, and what was given up."""
    with open_archive() as archive:
        records = archive.commitments.records
        ended = (state for state in records.ended() if everything or state.phase == FAILED)
        states = sorted([*records.open(), *ended], key=lambda state: (state.received_us, state.id, state.revision))
        # One that was asked for again is open as well as ended.
        last = {state.id: state for state in states}
        for state in last.values():
            click.echo(json.dumps(asdict(state)) if as_json else _line(archive, state))
        if not last and not as_json:
            click.echo("no storage commitment is open")


def _line(archive: Archive, state: State) -> str:
    counted = f"{state.references} instances" + (f", {state.failed} not committed" if state.failed else "")
    text = f"{state.id[:12]}  {iso_utc(state.received_us)[:19]}  {_phase(state)}  {state.ae_title}  {counted}"
    why = state.error
    peer = archive.settings.dimse.peers.get(state.ae_title)
    if not why and state.phase == REPORTING and (peer is None or not peer.host):
        why = f"{state.ae_title} is no peer with a host (dimse.peers)"
    return f"{text}\n    {why}" if why else text


def _phase(state: State) -> str:
    return "waiting for the spool" if state.waiting and not state.final else state.phase


@command.command()
@click.argument("commitment", metavar="ID")
def show(commitment: str) -> None:
    """Show one, with every instance that is not committed and why."""
    with open_archive() as archive:
        records = archive.commitments.records
        state = records.find(commitment)
        done = records.done(state.id) if state.final else None
        request, result = (done.request, done.result) if done is not None else (records.request(state), None)
        if done is None and state.result:
            with suppress(NotFoundError):
                result = records.result(state)
        click.echo(json.dumps(asdict(state) | {"received": iso_utc(state.received_us)}, indent=1))
        for line in _instances(request, result):
            click.echo(line)


def _instances(request: Request, result: Result | None) -> Iterable[str]:
    if result is None:
        yield f"{len(request.references)} instances, not decided yet"
        return
    yield f"{len(request.references) - len(result.failures)} instances committed"
    for reason, count in Counter(result.failures.values()).items():
        yield f"{count} not committed: {reason:04X}"
    for place, reason in sorted(result.failures.items()):
        yield f"  {reason:04X}  {request.references[place].instance}"


@command.command()
@click.argument("commitments", metavar="ID...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every one that is open.")
def retry(commitments: tuple[str, ...], everything: bool) -> None:
    """Look open ones up again, or report them, now; begin those anew that were given up or dropped."""
    if bool(commitments) == everything:
        raise click.UsageError("name at least one ID, or --all")
    with open_archive() as archive:
        records = archive.commitments.records
        states = list(records.open()) if everything else [records.find(each) for each in commitments]
        for state in states:
            if state.final:
                done = records.done(state.id)
                if done is None:
                    raise ConflictError(f"{state.id} is being cleared up; try again")
                records.create(done.request, 0)
            elif state.held(now_us()):
                click.echo(f"{state.id[:12]} is worked on")
                continue
            else:
                records.change(state, replace(state, due_us=now_us()))
            click.echo(f"{state.id[:12]} is due")


@command.command()
@click.argument("commitment", metavar="ID")
@click.option("--reason", required=True, help="Why; it is kept.")
def drop(commitment: str, reason: str) -> None:
    """End one that is open: nobody is told of it any more."""
    with open_archive() as archive:
        records = archive.commitments.records
        state = records.find(commitment)
        if state.final:
            raise ConflictError(f"{state.id} has ended: {state.phase}")
        if state.held(now_us()):
            raise ConflictError(f"{state.id} is worked on; try again")
        who = getpass.getuser()
        final = records.change(state, state.end(DROPPED, f"dropped by {who}: {reason}"))
        records.clear_up(final)
        what = "not decided" if state.phase == DECIDING else "not reported"
        person = Participant(who, requestor=True)
        detail = f"storage commitment {state.transaction} of {state.ae_title}, {what}, is dropped: {reason}"
        archive.audit.record(events.accessed(person, archive.process, (), action="D", detail=detail))
        click.echo(f"{state.id[:12]} is dropped")
