"""Whoever reads for a person reads by their view: no handler reaches past it to what finds and has everything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "vna"
SOURCES = sorted([*(ROOT / "gateways" / "dicomweb").glob("*.py"), *(ROOT / "web").glob("*.py")])
# These read for nobody: they say how the archive is, to those who may see that.
OF_THE_ARCHIVE = {"health.py", "view_operations.py"}
# These keep documents of their own beside the instances: wishes to delete, the state of the audit trail.
WITH_DOCUMENTS = {*OF_THE_ARCHIVE, "deletion.py", "pages_audit.py"}


def reaching_past(source: str, part: str = "index") -> Iterator[int]:
    """Yield the lines that take an index, or the objects, from anything but a view."""
    tree = ast.parse(source)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == part and id(node) not in called:
            owner = node.value
            by_call = (
                isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute) and owner.func.attr == "view"
            )
            by_name = isinstance(owner, ast.Name) and owner.id == "view"
            if not (by_call or by_name):
                yield node.lineno
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("vna.index", "vna.store")):
            yield node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_handler_reaches_past_the_view(path: Path) -> None:
    if path.name not in OF_THE_ARCHIVE:
        assert list(reaching_past(path.read_text())) == []
    if path.name not in WITH_DOCUMENTS:
        assert list(reaching_past(path.read_text(), "objects")) == []


def test_reaching_past_is_seen() -> None:
    for line in ("gateway.archive.index", "index = archive.index", "from vna.index.sqlite import SqliteIndex"):
        assert list(reaching_past(line)) == [1], line
    for line in ("gateway.view(request).index", "view.index.query(query)", "text.index('a')"):
        assert list(reaching_past(line)) == [], line
    assert list(reaching_past("load(gateway.archive.objects, location)", "objects")) == [1]
    assert list(reaching_past("load(gateway.view(request).objects, location)", "objects")) == []
