"""What the documents say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vna.cli.config import variable, walk
from vna.config import Settings
from vna.gateways.dicomweb.app import ROUTES
from vna.gateways.dicomweb.errors import _STATUS
from vna.gateways.dicomweb.qido import _INSTANCE, _SERIES, _STUDY
from vna.gateways.dimse import command, rejection, statuses
from vna.gateways.dimse.sop_classes import markdown

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
STATEMENT = (DOCS / "conformance-statement.md").read_text()


def test_the_page_of_sop_classes_is_what_is_supported() -> None:
    assert (DOCS / "sop-classes.md").read_text() == "\n".join(markdown()) + "\n"


@pytest.mark.parametrize("path", sorted({path for _method, path, _name, _handler in ROUTES}))
def test_every_resource_is_in_the_statement(path: str) -> None:
    assert f"`{path.removeprefix('/dicom-web')}`" in STATEMENT


def test_every_dimse_status_is_in_the_statement() -> None:
    codes = {
        value
        for module in (command, statuses)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int) and re.fullmatch(r"[0-9A-F]{4}", f"{value:04X}")
        and not name.startswith(("C_", "MAX", "LONGEST", "ABORT", "_")) and name != "RESPONSE"
    }  # fmt: skip
    assert len(codes) > 12
    assert [f"{code:04X}" for code in sorted(codes) if f"{code:04X}" not in STATEMENT] == []


def test_every_rejection_is_in_the_statement() -> None:
    rejections = [make("") for name, make in vars(rejection).items() if name.startswith("reject_")]
    assert len(rejections) == 5
    for each in rejections:
        assert f"| {each.result} | {each.source} | {each.reason} |" in STATEMENT


def test_every_http_status_of_an_error_is_in_the_statement() -> None:
    assert [name for _kind, _status, name in _STATUS if f"`{name}`" not in STATEMENT] == []


@pytest.mark.parametrize("tags", [_STUDY, _SERIES, _INSTANCE])
def test_every_attribute_of_a_search_result_is_in_the_statement(tags: list[str]) -> None:
    assert [tag for tag in tags if f"{tag[:4]},{tag[4:]}" not in STATEMENT] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_a_page_names_is_one(page: Path) -> None:
    known = {variable(path) for path, _value, _text in walk(Settings.model_construct())} | {"VNA_CONFIG"}
    named = re.findall(r"\bVNA_[A-Z][A-Z_]*[A-Z](?![A-Z_*]|_)", page.read_text())
    assert [name for name in named if name not in known and not name.startswith("VNA_TEST_")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        if not aim.exists() or (anchor and anchor not in _anchors(aim)):
            lost.append(target)
    assert lost == []


def _anchors(page: Path) -> set[str]:
    text = page.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    made = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', text))
