"""``vna config``: every setting with its value, its environment variable and what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from pydantic import BaseModel, SecretStr
from rich.console import Console
from rich.table import Table

from vna.config import Settings, load_settings


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
            {key: item.model_dump() if isinstance(item, BaseModel) else item for key, item in value.items()}
        )
    if isinstance(value, tuple):
        return json.dumps(list(value))
    return "" if value is None else str(value)


@click.command("config", short_help="Show every setting, its value and where it may be set.")
@click.option("--changed", is_flag=True, help="Only settings that differ from their default.")
def command(changed: bool) -> None:
    """Show every setting, its value and what it means.

    A wrong value is named with the variable or the key it came from.
    """
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
