"""What the pages make of texts: the worklist's URL, values for a person, attributes, and forms."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from pydicom import DataElement, Dataset, Sequence, config, dcmread
from starlette.requests import Request
from starlette.types import Message

from tests.support.instances import part10
from vna.domain.errors import InvalidQueryError
from vna.domain.origin import Origin
from vna.domain.query import AnyOf, Range, Wildcard, Words
from vna.ingest.document import build, parse_metadata
from vna.ports.index import IndexCounts
from vna.web import pages_http, view_text
from vna.web.view_attributes import table
from vna.web.view_operations import Rate
from vna.web.view_search import Asked

TODAY = date(2026, 3, 31)


def asked(**parameters: str) -> Asked:
    return Asked.parse(list(parameters.items()))


def test_the_url_says_the_whole_state() -> None:
    pairs = [("q", "thorax & co"), ("name", "doe"), ("modality", "CT"), ("modality", "MR"), ("when", "week")]
    state = Asked.parse([*pairs, ("sort", "-name"), ("page", "3")])
    assert Asked.parse(parse_qsl(state.query(page=3).removeprefix("?"))) == state
    assert "page" not in state.query()
    assert "modality=CT" not in state.toggled("modality", "CT")
    assert "modality=MR" in state.toggled("modality", "CT")
    assert [chip[1] for chip in state.chips] == ["thorax & co", "doe", "Last 7 days", "CT", "MR"]


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 30, ""])
def test_what_is_no_page_is_the_first(page: str) -> None:
    assert asked(page=page, sort="size", when="ever") == Asked()


def test_no_page_has_more_links_than_somebody_chooses_values() -> None:
    state = Asked.parse([("body", str(number)) for number in range(5000)])
    assert len(state.facets) == 50
    assert len(state.chips) == 50


def test_criteria_of_words_fields_and_dates() -> None:
    found = asked(q="Dörr,CT", name="Doe", id="A?", accession="7", birth="1950-01-02", when="week").criteria(TODAY)
    assert found == (
        Words(("dorr", "ct")),
        Wildcard("00100010", "doe*"),
        Wildcard("00100020", "A?"),
        AnyOf("00100030", ("19500102",)),
        Wildcard("00080050", "7*"),
        Range("00080020", "20260324", "20260331"),
    )
    assert asked(start="2026-01-01").criteria(TODAY) == (Range("00080020", "20260101", None),)
    with pytest.raises(InvalidQueryError, match="no date"):
        asked(end="yesterday").criteria(TODAY)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("Doe^Jane^M^Dr", "Doe, Jane M"), ("Doe", "Doe"), ("^Jane", "Jane"), ("Doe^^", "Doe"), ("^^^Dr", "Dr"), ("", "")],
)
def test_names(raw: str, shown: str) -> None:
    assert view_text.name(raw) == shown


def test_dates_and_times_that_are_none_stay_as_they_are() -> None:
    assert [view_text.date(text) for text in ("20260301", "2026", "")] == ["2026-03-01", "2026", ""]
    assert [view_text.time(text) for text in ("101530.5", "10", "noon")] == ["10:15", "10", "noon"]


def test_rate_is_between_two_looks() -> None:
    now = [100.0]
    rate = Rate(lambda: now[0])
    assert rate.note(IndexCounts(1, 1, 1, 10, 1000)) is None
    now[0] += 10
    assert rate.note(IndexCounts(1, 1, 1, 60, 6000)) == (5.0, 500.0, 10.0)
    now[0] += 1000
    assert rate.note(IndexCounts(1, 1, 1, 60, 6000)) is None


def test_attributes_beside_what_normalisation_shows(tmp_path: Path) -> None:
    ds = dcmread(BytesIO(part10()))
    ds[0x00080020] = DataElement(0x00080020, "DA", "2026.03.01", validation_mode=config.IGNORE)
    item = Dataset()
    item.ScheduledProcedureStepID = "S1"
    ds.RequestAttributesSequence = Sequence([item])
    block = ds.private_block(0x0019, "ACME 1.1", create=True)
    block.add_new(0x02, "LO", "secret sauce")
    path = tmp_path / "one.dcm"
    ds.save_as(path)
    metadata = parse_metadata(build(path, "0" * 64, path.stat().st_size, 0, Origin("import")).metadata)
    found = table(metadata)
    rows = {row.tag: row for row in found.rows}
    assert rows["(0008,0020)"].value == "2026.03.01"
    assert [change.after for change in rows["(0008,0020)"].changes] == ["20260301"]
    assert [(row.name, row.change.before, row.change.after) for row in found.changed] == [
        ("StudyDate", "2026.03.01", "20260301")
    ]
    assert (rows["(0019,1002)"].creator, rows["(0019,1002)"].value) == ("ACME 1.1", "secret sauce")
    assert rows["(0040,0275)"].value == "1 item"
    assert rows["(0040,0009)"].depth == 2
    assert "kept with the instance" in rows["(7FE0,0010)"].value
    assert any(row.tag == "(0002,0010)" for row in found.meta)


def form_request(body: bytes, **headers: str) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    fields = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": fields}, receive)


TOKEN = "t" * 43
GOOD = {"host": "a:1", "origin": "http://a:1", "sec_fetch_site": "same-origin", "cookie": f"vna-form={TOKEN}"}


@pytest.mark.parametrize(
    ("change", "token", "taken"),
    [
        ({}, TOKEN, True),
        ({"sec_fetch_site": ""}, TOKEN, False),
        ({"sec_fetch_site": "cross-site"}, TOKEN, False),
        ({"sec_fetch_site": "same-site"}, TOKEN, False),
        ({"origin": "http://evil.example"}, TOKEN, False),
        ({"origin": "null"}, TOKEN, False),
        ({"cookie": ""}, TOKEN, False),
        ({"cookie": "vna-form="}, "", False),
        ({}, "u" * 43, False),
    ],
)
@pytest.mark.anyio
async def test_forms_of_others_are_refused(change: dict[str, str], token: str, taken: bool) -> None:
    request = form_request(f"token={token}&reason=old".encode(), **(GOOD | change))
    found = await pages_http.read_form(request)
    assert (found == {"token": token, "reason": "old"}) is taken
    assert (found is None) is not taken


@pytest.mark.anyio
async def test_a_form_without_a_sign_of_its_origin_is_refused() -> None:
    request = form_request(f"token={TOKEN}".encode(), host="a:1", cookie=GOOD["cookie"])
    assert await pages_http.read_form(request) is None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
