"""Whoever reads for a person reads by their view: no handler reaches past it to the index that finds everything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "vna"
SOURCES = sorted([*(ROOT / "gateways" / "dicomweb").glob("*.py"), *(ROOT / "web").glob("*.py")])
# These read for nobody: they say how the archive is, to those who may see that.
OF_THE_ARCHIVE = {"health.py", "view_operations.py"}


def reaching_past(source: str) -> Iterator[int]:
    """Yield the lines that take an index from anything but a view."""
    tree = ast.parse(source)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "index" and id(node) not in called:
            owner = node.value
            by_call = (
                isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute) and owner.func.attr == "view"
            )
            by_name = isinstance(owner, ast.Name) and owner.id == "view"
            if not (by_call or by_name):
                yield node.lineno
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vna.index"):
            yield node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_handler_reaches_past_the_view(path: Path) -> None:
    if path.name not in OF_THE_ARCHIVE:
        assert list(reaching_past(path.read_text())) == []


def test_reaching_past_is_seen() -> None:
    for line in ("gateway.archive.index", "index = archive.index", "from vna.index.sqlite import SqliteIndex"):
        assert list(reaching_past(line)) == [1], line
    for line in ("gateway.view(request).index", "view.index.query(query)", "text.index('a')"):
        assert list(reaching_past(line)) == [], line
