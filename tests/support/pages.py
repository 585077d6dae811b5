"""An archive whose pages are read, and what is read out of their HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from tests.support.http_gateway import HttpGateway
from tests.support.instances import part10, spool_one
from tests.support.ports import wait_until
from tests.support.real_files import real_file

SCRIPT = "<script>alert(1)</script>"
CT = dcmread(real_file("CT_small.dcm"), stop_before_pixels=True)
PAGES = (
    "/ui/",
    "/ui/?q=row&facets=1",
    "/ui/facets",
    f"/ui/patients?id={CT.PatientID}",
    f"/ui/studies/{CT.StudyInstanceUID}",
    f"/ui/instances/{CT.StudyInstanceUID}/{CT.SeriesInstanceUID}",
    f"/ui/instances/{CT.StudyInstanceUID}/{CT.SeriesInstanceUID}/{CT.SOPInstanceUID}",
    "/ui/audit",
    "/ui/operations",
    "/ui/operations/state",
    "/ui/operations/quarantine",
    "/ui/studies/1.2.3.4.5.6.7",
)


def named(data: bytes, **changes: str) -> bytes:
    ds = dcmread(BytesIO(data))
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    target = BytesIO()
    ds.save_as(target)
    return target.getvalue()


def files() -> Iterator[bytes]:
    """Yield 63 studies of one series and instance each."""
    changed = {"PatientName": SCRIPT, "StudyDescription": SCRIPT, "PatientID": f"{SCRIPT}/.."}
    yield named(part10(study=1, patient="P1"), **changed)
    yield real_file("CT_small.dcm").read_bytes()
    yield real_file("MR_small.dcm").read_bytes()
    for number in range(100, 160):
        changes = {
            "PatientName": f"Row^N{number}",
            "StudyDate": f"2020{1 + number % 12:02}{1 + number % 28:02}",
            "Manufacturer": "ACME" if number % 2 else "Other",
            "Modality": "MR" if number % 3 else "CT",
        }
        yield named(part10(study=number, patient=f"R{number // 2}"), **changes)


def gateway_with_studies(folder: Path, **settings: str) -> HttpGateway:
    """Start a gateway on an archive that has them, and two entries in quarantine."""
    gateway = HttpGateway(folder, **settings)
    for data in files():
        spool_one(gateway.archive.spool, data)
    spool_one(gateway.archive.spool, named(part10(study=2), StudyInstanceUID=""))
    spool_one(gateway.archive.spool, b"this is not DICOM at all")
    gateway.ingest()
    return gateway


def wait_for(ask: Callable[[], list[str]], count: int) -> list[str]:
    """Ask until there are so many: the trail is written a moment after the answer."""
    found: list[str] = []

    def enough() -> bool:
        found[:] = ask()
        return len(found) >= count

    wait_until(enough, 10, "the trail has it")
    return found


def names(text: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'<td class="who"[^>]*><a[^>]*>([^<]*)</a>', text)]


def links(text: str, start: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'(?:href|src|action)="([^"]*)"', text) if found.startswith(start)]


def facet(text: str, label: str) -> dict[str, int]:
    [section] = re.findall(rf"<h2>{label} .*?</section>", text, re.DOTALL)
    values = re.findall(r'title="([^"]*)">[^<]*</span><span class="count">(\d+)', section)
    return {value: int(count) for value, count in values}


def cells(row: str) -> list[str]:
    found = (re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL))
    return [unescape(cell) for cell in found]


def stored(text: str) -> dict[str, list[list[str]]]:
    """Return the tables of what is stored, by what."""
    parts = re.findall(r"<section>(.*?)</section>", text, re.DOTALL)
    return {re.findall(r"<h3>(\w+)", part)[0]: [cells(row) for row in part.split("<tr>")[2:]] for part in parts}


def rows(text: str) -> list[str]:
    return [re.sub(r"<[^>]+>|\s+", " ", row) for row in re.findall(r"<tr data-href=.*?</tr>", text, re.DOTALL)]
