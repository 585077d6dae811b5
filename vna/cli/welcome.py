"""What ``vna up`` tells a person: what runs where, and the way in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vna.cli.network import reachable
from vna.config import Settings
from vna.domain.errors import ArchiveError

if TYPE_CHECKING:
    from vna.bootstrap import Archive


def describe(settings: Settings, console: Console) -> None:
    """Print what runs where."""
    dimse, http, store, index = settings.dimse, settings.http, settings.store, settings.index
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("DIMSE", f"{dimse.ae_title} at {dimse.host}:{dimse.port}{' (TLS)' if dimse.tls.certificate else ''}")
    table.add_row("DICOMweb", f"{_scheme(settings)}://{http.host}:{http.port}/dicom-web")
    table.add_row(
        "objects",
        f"bucket {store.bucket} at {store.endpoint or 'AWS'}" if store.kind == "s3" else str(settings.objects_path),
    )
    table.add_row("index", ", ".join(index.hosts) if index.kind == "elasticsearch" else str(settings.index_path))
    table.add_row("broker", _without_password(settings.broker_url))
    table.add_row("spool", str(settings.spool_path))
    table.add_row("logs", str(settings.run_path / "logs"))
    console.print(table)


def first_steps(settings: Settings, console: Console, *, data: Path | None = None) -> None:
    """Print how a person signs in, what a program needs, and what to do then.

    Parameters
    ----------
    settings
        What runs.
    console
        Where.
    data
        The data folder, if it was given by an option: other commands then have to be told of it.
    """
    dimse, http = settings.dimse, settings.http
    url = http.base_url or f"{_scheme(settings)}://{_host(reachable(http.host))}:{http.port}"
    url, vna = escape(url), escape(_command(data))
    from vna.bootstrap import Archive

    archive = Archive(settings)
    try:
        sign_in, faults = _sign_in(archive, f"{url}/ui/", vna), _faults(archive, vna)
    finally:
        archive.close()
    lines = [
        *sign_in,
        *_heading("Send a first file:"),
        f"  storescu -aec {dimse.ae_title} {reachable(dimse.host)} {dimse.port} FILE.dcm        (dcmtk)",
        f"  {vna} load FOLDER        (any folder of DICOM files)",
        *_heading("Let a program in with a key of its own, and try it:"),
        f"  KEY=$({vna} key add my-program --role viewer)",
        f'  curl -H "Authorization: Bearer $KEY" "{url}/dicom-web/studies?limit=5"',
    ]
    if http.allow_anonymous != "never":
        whom = "loopback" if http.allow_anonymous == "loopback" else "everywhere"
        lines.append(f"Without credentials, requests from {whom} are answered, too (VNA_HTTP__ALLOW_ANONYMOUS).")
    lines += faults
    lines.append(f"What happens: `{vna} status`. Ctrl-C stops everything.")
    console.print()
    for line in lines:
        # Not wrapped: what is to be copied stays on one line.
        console.print(line, highlight=False, soft_wrap=True)


def _heading(text: str) -> list[str]:
    return [f"[bold]{text}[/bold]"]


def _sign_in(archive: Archive, url: str, vna: str) -> list[str]:
    """Make the first administrator where there is no user yet, and tell the one-time password."""
    try:
        given = archive.accounts.first_administrator()
    except ArchiveError as error:
        return [f"No first administrator yet: {error}; later: {vna} user add NAME --role administrator"]
    lines = [*_heading("Sign in:"), f"  {url}"]
    if given:
        lines.append(f"  as admin with the one-time password [bold]{given}[/bold] (told this once; you choose another)")
    else:
        lines.append(f"  users: {vna} user list; a new password: {vna} user reset NAME")
    return lines


def _faults(archive: Archive, vna: str) -> list[str]:
    from vna.lifecycle.index_loss import find_loss

    try:
        loss = find_loss(archive.objects, archive.index)
        outdated = archive.index.outdated()
    except ArchiveError:
        return []  # what is wrong with it, its own part tells
    if loss is not None:
        return [f"[bold red]{str(loss).replace('`vna reindex`', f'`{vna} reindex`')}[/bold red]"]
    return [f"[bold]An earlier version made the index:[/bold] {vna} reindex"] if outdated else []


def _command(data: Path | None) -> str:
    """Return how this command is called from where it was called."""
    called = Path(sys.argv[0])
    command = "vna" if shutil.which("vna") == str(called) else str(called)
    return f"VNA_DATA={data} {command}" if data else command


def _scheme(settings: Settings) -> str:
    return "https" if settings.http.tls.certificate else "http"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@")
