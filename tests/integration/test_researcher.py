"""A researcher gets nothing that tells whose a study is, by no route there is, and gets the rest."""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import pydicom
import pytest
from starlette.routing import Route

from tests.support import known_patient as known
from tests.support.http_gateway import HttpGateway
from tests.support.ports import wait_until
from vna.gateways.dicomweb.app import ROUTES
from vna.gateways.dicomweb.context import Gateway
from vna.peers.oidc import _ORDER
from vna.security.limits import Limits
from vna.security.principals import Role
from vna.web import ohif, routes, shares, sign_in, sign_in_oidc, viewer
from vna.web.pages_http import Site

PATIENT = known.known_patient()
FORMS = (
    *("", "application/dicom+json", 'multipart/related; type="application/dicom+xml"', "application/dicom"),
    *('multipart/related; type="application/dicom"; transfer-syntax=*', "application/zip", "text/html"),
    *('multipart/related; type="application/octet-stream"', "application/octet-stream", "image/png", "image/jpeg"),
    *('multipart/related; type="image/png"', "application/pdf", "application/dicom; transfer-syntax=*"),
    *(
        'multipart/related; type="image/dicom-rle"',
        'multipart/related; type="application/octet-stream"; transfer-syntax=*',
    ),
)
QUERIES = ("", "includefield=all", "annotation=patient,technique", "facets=1&n=2")
OPEN = ("/health", "/ready")


@dataclass(frozen=True)
class Served:
    gateway: HttpGateway
    researcher: dict[str, str]
    viewer: dict[str, str]

    def get(self, path: str, who: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        return self.gateway.client.get(path, headers={**(who or self.researcher), **headers})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    gateway = HttpGateway(tmp_path_factory.mktemp("research"))
    for data in PATIENT.files.values():
        answer = gateway.client.post("/studies", content=data, headers={"Content-Type": "application/dicom"})
        assert answer.status_code == 200, answer.text
    report = gateway.ingest()
    assert not report.failed
    tokens = [gateway.archive.accounts.add_key(role.value, role) for role in (Role.RESEARCHER, Role.VIEWER)]
    yield Served(gateway, *({"Authorization": f"Bearer {token}"} for token in tokens))
    assert gateway.stop() == 0


def texts(answer: httpx.Response) -> Iterator[str]:
    """Yield all that an answer says, as texts: header fields, the body, what is packed in it."""
    yield " ".join(f"{name}: {value}" for name, value in answer.headers.items())
    yield from decoded(answer.content)
    if answer.content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            for entry in archive.infolist():
                yield entry.filename
                yield from decoded(archive.read(entry))


def decoded(data: bytes) -> Iterator[str]:
    yield data.decode("utf-8", "replace")
    yield data.decode("latin-1")
    yield data.decode("utf-16-le", "replace")


def secrets_in(answer: httpx.Response) -> set[str]:
    return {secret for text in texts(answer) for secret in known.secrets_in(text)}


def paths(served: Served) -> list[str]:
    """Return every path that something is got from, for each of the instances."""
    gateway = Gateway(served.gateway.archive)
    site = Site(served.gateway.archive, gateway.in_thread)
    settings = served.gateway.archive.settings
    pages: list[Route] = [*routes.routes(site), *viewer.routes(settings), *ohif.routes(settings)]
    pages += [*sign_in.routes(site, None), *sign_in_oidc.routes(site), *shares.routes(site)]  # type: ignore[arg-type]
    templates = [path for method, path, _, _ in ROUTES if method == "GET"]
    templates += [page.path for page in pages if "GET" in (page.methods or ())]
    gateway.pictures.close()
    found: dict[str, None] = {}
    for template, (series, sop) in itertools.product(templates, INSTANCES):
        values = {"study": known.STUDY, "series": series, "instance": sop, "frames": "1", "path:path": "index.html"}
        path = re.sub(r"\{([^}]+)\}", lambda name, values=values: values.get(name[1], "1"), template)
        found[path] = None
        if "{path}" in template:
            for bulk in ("7FE00010", "00420011", "00091001"):
                found[path.replace("/bulkdata/1", f"/bulkdata/{bulk}")] = None
    for series, sop in INSTANCES:
        uri = f"requestType=WADO&studyUID={known.STUDY}&seriesUID={series}&objectUID={sop}"
        for more in ("", "&contentType=application/dicom", "&contentType=application/dicom&transferSyntax=*"):
            found[f"/dicom-web/wado?{uri}{more}"] = None
        found[f"/dicom-web/wado?{uri}&annotation=patient&contentType=image/png"] = None
    found[f"/ui/viewer?study={known.STUDY}"] = None
    found["/ui/patients?id=BTLGS-42-ID&issuer=ISSUER-OF-GUILDFORD"] = None
    return list(found)


INSTANCES = (
    *((known.CT_SERIES, known.CT), (known.CT_SERIES, known.CT_RLE), (known.SC_SERIES, known.SC)),
    *((known.REPORT_SERIES, known.REPORT), (known.REPORT_SERIES, known.PDF)),
)


def test_no_route_gives_a_researcher_anything_that_tells_who_it_is(served: Served) -> None:
    answered = told = 0
    for path in paths(served):
        dicomweb = path.startswith("/dicom-web/")
        forms = FORMS if dicomweb and "wado?" not in path else ("", "text/html", "image/png")
        queries = QUERIES if "?" not in path and ("/rendered" in path or path.startswith("/ui/") or dicomweb) else ("",)
        for form, query in [(form, queries[0]) for form in forms] + [("", query) for query in queries[1:]]:
            url = f"{served.gateway.url}{path}" + (f"?{query}" if query else "")
            answer = served.get(url, Accept=form) if form else served.get(url)
            assert answer.status_code < 500, (url, form, answer.text)
            own = {secret for secret in known.SECRETS if secret in url}
            assert secrets_in(answer) - own == set(), (url, form, answer.status_code)
            answered += answer.status_code in {200, 206}
            tag = answer.headers.get("etag")
            if tag and tag.startswith('"'):
                part = served.get(url, Accept=form, Range="bytes=0-199")
                assert secrets_in(part) == set()
            if "/studies/" in path and not query and form in {"", FORMS[1], FORMS[5]}:
                # The same asked for by somebody who may see it: so what is looked for is there to be found.
                told += bool(secrets_in(served.get(url, served.viewer, Accept=form)))
    assert answered > 150
    assert told > 15


def test_search_shows_pseudonyms_and_answers_nothing_by_what_it_hides(served: Served) -> None:
    [study] = served.get("/studies?includefield=all").json()
    assert study["00100010"]["Value"][0]["Alphabetic"] == study["00100020"]["Value"][0]
    assert study["00100020"]["Value"][0].startswith("P-")
    assert study["0020000D"]["Value"] == [known.STUDY]
    assert "Value" not in study["00080020"]
    pseudonym = study["00100020"]["Value"][0]
    assert len(served.get("/studies?ModalitiesInStudy=CT").json()) == 1
    assert len(served.get(f"/series?PatientID={pseudonym}").json()) == 3
    assert served.get("/studies?PatientID=P-AAAAAAAAAAAAAAAA").status_code == 204
    assert len(served.get(f"/series?Modality=CT&StudyInstanceUID={known.STUDY}").json()) == 1
    assert served.get("/instances?SOPInstanceUID=" + known.SC).json()[0]["00080018"]["Value"] == [known.SC]
    for asked in (
        *(
            "PatientName=Dent*",
            "PatientName=Dentarthurdent^Prefect",
            "PatientID=BTLGS-42-ID",
            "PatientBirthDate=19520311",
        ),
        *("AccessionNumber=ACC-31415", "StudyDate=20231118", "StudyDate=20230101-20241231", "StudyTime=0700-0800"),
        *("StudyDescription=towel*", "ReferringPhysicianName=S*", "fuzzymatching=true&PatientName=dentarthurdent"),
        *("0009xx01@VOGON=Vogon*", "RequestAttributesSequence.RequestedProcedureID=ACC-31415", "PatientSex=M"),
        *("PatientAge=071Y", "InstitutionName=Saint*", "StudyDate=20231118&StudyTime=074512"),
    ):
        for level in ("studies", "series", "instances"):
            answer = served.get(f"/{level}?{asked}")
            assert answer.status_code == 400, asked
            assert answer.json()["error"] == "invalid-query"
    worklist = served.get(f"{served.gateway.url}/ui/?q=dentarthurdent")
    assert worklist.status_code == 400
    assert "no search by words" in worklist.text


def test_what_may_be_read_is_whole_and_agrees(served: Served) -> None:
    where = f"/studies/{known.STUDY}/series/{known.CT_SERIES}/instances/{known.CT}"
    [metadata] = served.get(f"{where}/metadata").json()
    file = pydicom.dcmread(io.BytesIO(served.get(where, Accept="application/dicom").content))
    assert file.PatientID == metadata["00100020"]["Value"][0]
    assert file.PatientIdentityRemoved == "YES"
    original = pydicom.dcmread(io.BytesIO(PATIENT.files[known.CT]))
    assert file.PixelData == original.PixelData
    frame = served.get(f"{where}/frames/1", Accept="application/octet-stream").content
    assert frame == original.PixelData
    link = metadata["7FE00010"]["BulkDataURI"]
    part = served.get(link, Accept="application/octet-stream", Range="bytes=100-299")
    assert (part.status_code, part.content) == (206, original.PixelData[100:300])
    packed = served.get(
        f"/studies/{known.STUDY}/series/{known.CT_SERIES}/instances/{known.CT_RLE}",
        Accept="application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
    )
    assert np.array_equal(pydicom.dcmread(io.BytesIO(packed.content)).pixel_array, original.pixel_array)
    both = [
        served.get(f"{where}/rendered", who, Accept="image/png").content for who in (served.researcher, served.viewer)
    ]
    assert both[0] == both[1]
    assert served.get(f"{where}/thumbnail").status_code == 200
    tags = [
        served.get(where, who, Accept="application/dicom").headers["etag"] for who in (served.researcher, served.viewer)
    ]
    assert tags[0] != tags[1]
    assert served.get(where, Accept="application/dicom", **{"If-None-Match": tags[0]}).status_code == 304


def test_what_may_show_a_name_is_withheld_and_left_out(served: Served) -> None:
    screen = f"/studies/{known.STUDY}/series/{known.SC_SERIES}/instances/{known.SC}"
    for path in ("", "/frames/1", "/rendered", "/frames/1/rendered", "/bulkdata/7FE00010", "/thumbnail", "/pixeldata"):
        answer = served.get(screen + path)
        assert answer.status_code == 403, path
        assert answer.json()["error"] == "withheld"
        assert "BurnedInAnnotation" in answer.json()["detail"]
    assert served.get(screen + "/metadata").status_code == 200
    letter = served.get(f"/studies/{known.STUDY}/series/{known.REPORT_SERIES}/instances/{known.PDF}/rendered")
    assert (letter.status_code, letter.json()["error"]) == (403, "withheld")
    whole = served.get(
        f"/studies/{known.STUDY}", Accept='multipart/related; type="application/dicom"; transfer-syntax=*'
    )
    assert whole.status_code == 206
    assert whole.headers["warning"] == '299 vna "3 of the instances are withheld from this role"'
    assert whole.content.count(b"DICM") == 2
    packed = served.get(f"/studies/{known.STUDY}", Accept="application/zip")
    assert packed.status_code == 200
    assert "3 of the instances are withheld" in packed.headers["warning"]
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert sorted(archive.namelist()) == [f"{known.CT_SERIES}/{uid}.dcm" for uid in (known.CT, known.CT_RLE)]
        assert archive.testzip() is None
    assert served.get(f"/studies/{known.STUDY}/thumbnail").status_code == 200


def test_a_researcher_changes_nothing_and_sees_no_other_pages(served: Served) -> None:
    client, url = served.gateway.client, served.gateway.url
    study = f"/studies/{known.STUDY}"
    assert client.delete(study, headers=served.researcher).status_code == 403
    sent = client.post(
        "/studies", content=PATIENT.files[known.CT], headers=served.researcher | {"Content-Type": "application/dicom"}
    )
    assert sent.status_code == 403
    for path in ("/ui/operations", "/ui/audit", "/metrics", "/ui/patients?id=1", f"/ui/shares?study={known.STUDY}"):
        assert served.get(url + path).status_code == 403, path
    assert served.get("/workitems").status_code in {403, 404}
    page = served.get(f"{url}/ui/studies/{known.STUDY}").text
    assert "De-identified data" in page
    for dead in ("/ui/patients", "/ui/shares", "/ui/operations"):
        assert dead not in page + served.get(f"{url}/ui/").text


def test_a_provider_gives_the_role_to_who_has_no_other() -> None:
    assert set(_ORDER) == set(Role)
    assert _ORDER[-1] is Role.RESEARCHER


def test_limits_hold_for_a_researcher_too(served: Served) -> None:
    accounts = served.gateway.archive.accounts
    token = accounts.add_key("narrow", Role.RESEARCHER, None, Limits.parse(["Modality=MR"]))
    answer = served.get(f"/studies/{known.STUDY}/metadata", {"Authorization": f"Bearer {token}"})
    assert answer.status_code == 404


def test_the_trail_says_that_the_view_was_de_identified(served: Served) -> None:
    assert served.get(f"/studies/{known.STUDY}/series/{known.SC_SERIES}/pixeldata").status_code == 403
    served.get(f"/studies/{known.STUDY}/series/{known.CT_SERIES}/metadata")
    path = served.gateway.archive.settings.audit_path

    def lines(with_: str) -> list[str]:
        every = [line for file in path.rglob("*") if file.is_file() for line in file.read_text().splitlines()]
        return [line for line in every if with_ in line]

    wait_until(lambda: bool(lines('"detail":"retrieve-metadata, de-identified"')), 10, "the trail tells of it")
    # What a viewer asks for as it shows a study is nothing to be warned of.
    assert [line for line in lines("security-alert") if known.SC_SERIES in line] == []
