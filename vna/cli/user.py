"""``vna user``: the people who may sign in."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Column, Table

from vna.cli.open_archive import open_archive
from vna.security.limits import Limits
from vna.security.principals import Role

ONLY = click.option(
    "--only",
    metavar="KEYWORD=VALUE",
    multiple=True,
    help="Limit to instances with this value, such as InstitutionalDepartmentName=Cardiology. Several values of one"
    " attribute are alternatives; several attributes must all hold.",
)
_ROLE = click.Choice([role.value for role in Role])


@click.group("user", short_help="Add, change and disable the people who may sign in.")
def command() -> None:
    """Add, change and disable the people who may sign in.

    A new user gets a one-time password, which is printed once and has to be
    changed at the first sign-in.
    """


@command.command("add")
@click.argument("name")
@click.option("--role", type=_ROLE, required=True, help="What the user may do.")
@ONLY
def add(name: str, role: str, only: tuple[str, ...]) -> None:
    """Add a user and print the one-time password."""
    with open_archive() as archive:
        given = archive.accounts.add_user(name, Role(role), limits=Limits.parse(only))
    click.echo(f"{name.lower()} ({role}) may sign in with the one-time password  {given}")


@command.command("list")
def show() -> None:
    """List the users."""
    with open_archive() as archive:
        users = sorted(archive.accounts.users(), key=lambda user: user.name)
    if not users:
        click.echo("there is no user; `vna up` makes the first one, or: vna user add NAME --role administrator")
        return
    columns = (Column(name, overflow="fold") for name in ("name", "role", "only", "state"))
    table = Table(*columns, box=None, pad_edge=False)
    for user in users:
        state = "disabled" if user.disabled else "has a one-time password" if user.must_change else ""
        table.add_row(user.name, user.role, "\n".join(user.limits.texts), state)
    Console().print(table)


@command.command("reset")
@click.argument("name")
def reset(name: str) -> None:
    """Give a user a new one-time password, and end their sessions."""
    with open_archive() as archive:
        given = archive.accounts.reset_password(name)
    click.echo(f"{name.lower()} may sign in with the one-time password  {given}")


@command.command("role")
@click.argument("name")
@click.argument("role", type=_ROLE)
def role(name: str, role: str) -> None:
    """Give a user another role."""
    with open_archive() as archive:
        archive.accounts.set_role(name, Role(role))
    click.echo(f"{name.lower()} is {role} now")


@command.command("only")
@click.argument("name")
@click.argument("limits", metavar="[KEYWORD=VALUE]...", nargs=-1)
@click.option("--everything", is_flag=True, help="Lift the limits.")
def only(name: str, limits: tuple[str, ...], everything: bool) -> None:
    """Limit what a user sees to instances with these values, in place of any limits there were."""
    if bool(limits) == everything:
        raise click.UsageError("give limits, or --everything to lift them")
    found = Limits.parse(limits)
    with open_archive() as archive:
        archive.accounts.set_limits(name, found)
    click.echo(f"{name.lower()} sees {', '.join(found.texts) or 'everything'} now")


@command.command("disable")
@click.argument("name")
def disable(name: str) -> None:
    """Have a user sign in no more; `reset` undoes it."""
    with open_archive() as archive:
        archive.accounts.disable(name)
    click.echo(f"{name.lower()} may not sign in any more")
