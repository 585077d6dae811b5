"""``vna config``: every setting with its value, its environment variable and what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from pydantic import BaseModel, SecretStr
from rich.console import Console
from rich.table import Table

from vna.config import PeerSettings, Settings, load_settings


def walk(model: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """Yield ``(path, value, description)`` of every setting below a section."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from walk(value, (*path, name))
        else:
            yield (*path, name), value, field.description or ""


def variable(path: tuple[str, ...]) -> str:
    """Return the environment variable of a setting."""
    return "VNA_" + "__".join(part.upper() for part in path)


def shown(value: Any) -> str:
    """Return a value as a person may see it: secrets are hidden."""
    if isinstance(value, SecretStr):
        return "(hidden)"
    if isinstance(value, dict):
        return json.dumps(
            {key: item.model_dump(mode="json") if isinstance(item, BaseModel) else item for key, item in value.items()}
        )
    if isinstance(value, tuple):
        return json.dumps(list(value))
    return "" if value is None else str(value)


def markdown() -> Iterator[str]:
    """Yield the lines of the page that documents every setting."""
    yield "# Settings"
    yield ""
    yield "Each is an environment variable, or a key of the TOML file that `VNA_CONFIG` names (`[dimse]` `port = 104`)."
    yield "The environment wins; an empty variable counts as not set. Lists and tables are JSON in a variable:"
    yield """`VNA_DIMSE__PEERS='{"CT01": {"host": "10.0.0.21", "port": 104}}'`."""
    yield "This page is written by `vna config --markdown`."
    yield ""
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    for path, value, text in walk(Settings.model_construct()):
        default = "this host's name" if path == ("host_id",) else f"`{shown(value)}`" if shown(value) else ""
        yield f"| `{variable(path)}` | {default} | {text} |"
    yield ""
    yield "A peer (`VNA_DIMSE__PEERS`, by AE title) has:"
    yield ""
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    for path, value, text in walk(PeerSettings.model_construct()):
        yield f"| `{path[0]}` | {f'`{shown(value)}`' if shown(value) else ''} | {text} |"


@click.command("config", short_help="Show every setting, its value and where it may be set.")
@click.option("--changed", is_flag=True, help="Only settings that differ from their default.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The page that documents the settings, with defaults.")
def command(changed: bool, as_markdown: bool) -> None:
    """Show every setting, its value and what it means.

    A wrong value is named with the variable or the key it came from.
    """
    if as_markdown:
        click.echo("\n".join(markdown()))
        return
    settings = load_settings()
    defaults = {path: value for path, value, _text in walk(Settings.model_construct())}
    table = Table(box=None, pad_edge=False)
    table.add_column("variable", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("meaning", overflow="fold")
    for path, value, text in walk(settings):
        if not changed or defaults.get(path) != value:
            table.add_row(variable(path), shown(value), text)
    Console().print(table)
