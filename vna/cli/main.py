"""The ``vna`` command. Each subcommand lives in a file of its own and is imported when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from vna import __version__
from vna.domain.errors import ArchiveError

_COMMANDS = {
    "up": ("vna.cli.up", "Start the whole archive on this machine."),
    "status": ("vna.cli.status", "Show what runs, what waits and what is stored."),
    "load": ("vna.cli.load", "Take in every DICOM file below a folder."),
    "echo": ("vna.cli.echo", "Ask an application entity whether it answers (C-ECHO)."),
    "spool": ("vna.cli.spool", "List what is received but not yet stored."),
    "quarantine": ("vna.cli.quarantine", "List, show, retry or drop what could not be stored."),
    "commitment": ("vna.cli.commitment", "List, show, retry or drop storage commitments."),
    "deletion": ("vna.cli.deletion", "List and withdraw requests to delete."),
    "reindex": ("vna.cli.reindex", "Rebuild the index from the object store."),
    "verify": ("vna.cli.verify", "Compare what is stored with what was received."),
    "audit": ("vna.cli.audit", "Read, check and export the audit trail."),
    "user": ("vna.cli.user", "Add, change and disable the people who may sign in."),
    "key": ("vna.cli.key", "Make and remove API keys for machines."),
    "ohif": ("vna.cli.ohif", "Install the OHIF viewer."),
    "share": ("vna.cli.share", "Make and revoke links to a study for somebody without an account."),
    "config": ("vna.cli.config", "Show every setting, its value and where it may be set."),
}


class _Lazy(click.Group):
    """Imports a subcommand only when it is called, so that ``vna --help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order that a newcomer needs them."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_module, text) in _COMMANDS.items()])


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings come from VNA_... variables and the TOML file that VNA_CONFIG names; see `vna config`.",
)
@click.version_option(__version__, prog_name="vna")
def cli() -> None:
    """Vendor-neutral archive for medical images."""


def main() -> None:
    """Run the command line; errors of the archive are one clear message and exit code 1."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ArchiveError as error:
        click.echo(f"vna: {error}", err=True)
        sys.exit(1)
    except OSError as error:  # a folder that is not there or may not be written, a full disk
        if error.filename is None:
            raise
        click.echo(f"vna: {error.filename}: {error.strerror}", err=True)
        sys.exit(1)
