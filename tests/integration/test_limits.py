"""Who is limited gets nothing of what is outside of their limits, by no resource: it is as if it were not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO

import httpx
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.uid import UID
from starlette.routing import Route

from tests.support.http_gateway import HttpGateway
from tests.support.instances import part10
from tests.support.ports import wait_until
from vna.gateways.dicomweb.app import routes
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.credentials import Credentials
from vna.security.limits import Limits
from vna.security.principals import Role
from vna.security.throttle import Throttle
from vna.web.pages_http import Site

PHRASE = "a much longer phrase"
ONLY = Limits.parse(["InstitutionalDepartmentName=Cardiology"])
# The mixed study has a series within the limits and one outside; the hidden one is outside as a whole.
MIXED, HIDDEN = "1.2.700.1", "1.2.777.1"
SEEN, UNSEEN = (MIXED, "1.2.700.1.1", "1.2.700.1.1.1"), (MIXED, "1.2.777.5", "1.2.777.5.1")
HIDDEN_SERIES = (HIDDEN, "1.2.777.1.1", "1.2.777.1.1.1")
MARK = re.compile(rb"1\.2\.777|zyx", re.IGNORECASE)
"""What is outside of the limits has one of these wherever it is named."""

SEARCHES = {"/dicom-web/studies", "/dicom-web/series", "/dicom-web/instances", "/ui/", "/ui/facets", "/ui/shares"}
BY_QUERY = {"/dicom-web/wado", "/ui/patients", "/ui/viewer"}
FORBIDDEN = ("/metrics", "/ui/operations", "/ui/audit", "/dicom-web/workitems", "/dicom-web/subscribers")
OF_NOBODY = (
    "/health", "/ready", "/ui/static/", "/ui/sign-in", "/ui/sign-out", "/ui/password", "/ui/open/", "/ui/shared",
    "/ohif",
)  # fmt: skip
OF_NOBODY_ALONE = {"/", "/ui"}
OF_SHARES = "/ui/shares/{share}/revoke"


def file(uids: tuple[str, str, str], **attributes: str) -> bytes:
    dataset = dcmread(BytesIO(part10()))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = map(UID, uids)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(uids[2])
    dataset.SamplesPerPixel, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 1, 16, 15, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    target = BytesIO()
    dcmwrite(target, dataset, enforce_file_format=True)
    return target.getvalue()


FILES = (
    file(SEEN, PatientID="Open1", InstitutionalDepartmentName="Cardiology"),
    file((*SEEN[:2], f"{SEEN[1]}.2"), PatientID="Open1", InstitutionalDepartmentName="Cardiology"),
    file(
        UNSEEN, PatientID="Open1", InstitutionalDepartmentName="Zyxology", InstitutionName="Zyx North", Modality="MR",
        SeriesDescription="Zyx series", Manufacturer="Zyxmed", BodyPartExamined="ZYXBONE",
    ),
    file(
        HIDDEN_SERIES, PatientID="Zyx1", PatientName="Zyxname^Ann", InstitutionalDepartmentName="Zyxology",
        StudyDescription="Zyx study", AccessionNumber="ZYX7", IssuerOfPatientID="ZYXHOSP", InstitutionName="Zyx North",
    ),
)  # fmt: skip


def send(gateway: HttpGateway, headers: dict[str, str], *files: bytes, study: str = "") -> httpx.Response:
    body = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files) + b"--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    return gateway.client.post(f"/studies{study}", content=body, headers={"Content-Type": kind, **headers})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(tmp_path_factory.mktemp("limits"), develop=False, VNA_HTTP__ALLOW_ANONYMOUS="never")
    key = {"Authorization": f"Bearer {gateway.archive.accounts.add_key('sender', Role.TECHNOLOGIST)}"}
    assert send(gateway, key, *FILES).status_code == 200
    gateway.ingest()
    yield gateway
    assert gateway.stop() == 0


def client(gateway: HttpGateway, limits: Limits) -> httpx.Client:
    token = gateway.archive.accounts.add_key("somebody", Role.ADMINISTRATOR, limits=limits)
    headers = {"Authorization": f"Bearer {token}", "Accept": "*/*", "Sec-Fetch-Site": "same-origin"}
    return httpx.Client(base_url=gateway.url, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def limited(gateway: HttpGateway) -> Iterator[httpx.Client]:
    with client(gateway, ONLY) as made:
        yield made


@pytest.fixture(scope="module")
def everything(gateway: HttpGateway) -> Iterator[httpx.Client]:
    with client(gateway, Limits()) as made:
        yield made


@pytest.fixture(scope="module")
def resources(gateway: HttpGateway) -> list[tuple[str, str]]:
    """Return method and path of every resource of the gateway."""
    made = Gateway(gateway.archive)
    site = Site(gateway.archive, made.in_thread)
    found = routes(made, site, Throttle(), Credentials(made, Throttle()))
    return sorted(
        {(method, each.path) for each in found if isinstance(each, Route) for method in (each.methods or ())}
        - {("HEAD", each.path) for each in found if isinstance(each, Route)}
    )


def of_a_study(resources: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        each
        for each in resources
        if "{study}" in each[1] and each[0] != "OPTIONS" and not each[1].startswith(FORBIDDEN)
    ]


def filled(path: str, uids: tuple[str, str, str]) -> str:
    return path.format(study=uids[0], series=uids[1], instance=uids[2], frames="1", path="7FE00010")


def same(answer: httpx.Response, uids: tuple[str, ...], other: httpx.Response, others: tuple[str, ...]) -> bool:
    """Say whether two answers differ in nothing but the UIDs that were asked for."""
    mine, theirs = answer.content, other.content
    for one, another in sorted(zip(uids, others, strict=True), reverse=True):
        mine, theirs = mine.replace(one.encode(), b"UID"), theirs.replace(another.encode(), b"UID")
    fields = {"date", "content-length", "set-cookie"}
    heads = [{name: value for name, value in each.headers.items() if name not in fields} for each in (answer, other)]
    return answer.status_code == other.status_code and mine == theirs and heads[0] == heads[1]


def test_every_resource_is_looked_at_here(resources: list[tuple[str, str]]) -> None:
    for method, path in resources:
        if method == "OPTIONS":
            continue
        kinds = [
            "{study}" in path and not path.startswith(FORBIDDEN),
            path in SEARCHES,
            path in BY_QUERY,
            path.startswith(FORBIDDEN),
            path.startswith(OF_NOBODY) or path in OF_NOBODY_ALONE,
            path == OF_SHARES,
        ]
        assert sum(kinds) == 1, f"{method} {path}: say here what somebody with limits gets of it"


@pytest.mark.parametrize("uids", [HIDDEN_SERIES, UNSEEN], ids=["a hidden study", "a hidden series of a study"])
def test_what_is_outside_is_as_if_it_were_not_there(
    limited: httpx.Client, everything: httpx.Client, resources: list[tuple[str, str]], uids: tuple[str, str, str]
) -> None:
    unknown = (uids[0] if uids[0] == MIXED else "1.2.888.1", "1.2.888.5", "1.2.888.5.1")
    looked = 0
    for method, path in of_a_study(resources):
        if method == "POST" or (uids[0] == MIXED and "{series}" not in path):
            continue
        asked, other = filled(path, uids), filled(path, unknown)
        answer = limited.request(method, asked)
        assert answer.status_code in {204, 400, 404}, f"{method} {asked}: {answer.status_code}"
        assert same(answer, uids, limited.request(method, other), unknown), f"{method} {asked}"
        if method == "GET":
            shown = everything.get(asked)
            assert shown.status_code == 200, f"{asked}: {shown.status_code} {shown.text[:200]}"
            assert limited.get(asked, headers={"If-None-Match": shown.headers.get("etag", "*")}).status_code != 304
            looked += 1
    assert looked > 12


def test_of_a_study_that_is_there_in_part_there_is_that_part(
    limited: httpx.Client, everything: httpx.Client, resources: list[tuple[str, str]]
) -> None:
    told = 0
    for method, path in of_a_study(resources):
        if method != "GET":
            continue
        answer = limited.get(filled(path, SEEN))
        assert answer.status_code == 200, path
        assert not MARK.search(answer.content), path
        if not {"{series}", "{instance}"} & set(re.findall(r"{\w+}", path)):
            all_of_it = everything.get(filled(path, SEEN))
            told += bool(MARK.search(all_of_it.content))
            etags = [each.headers.get("etag") for each in (answer, all_of_it)]
            assert etags == [None, None] or etags[0] != etags[1], path
    assert told > 4


def test_no_search_finds_it_or_counts_it(limited: httpx.Client, everything: httpx.Client) -> None:
    for path in sorted(SEARCHES):
        for query in ("", "?facets=1", "?includefield=all", "?q=open1", "?sort=name"):
            answer = limited.get(path + (query if path.startswith("/ui") or "=all" in query else ""))
            assert answer.status_code == 200, path
            assert not MARK.search(answer.content), f"{path}{query}"
    [study] = limited.get("/dicom-web/studies", params={"includefield": "ModalitiesInStudy"}).json()
    assert study["00080061"]["Value"] == ["CT"]
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([1], [2])
    assert len(everything.get("/dicom-web/studies").json()) == 2
    for hidden in (
        "studies?ModalitiesInStudy=MR", "series?Modality=MR", "instances?Modality=MR", "studies?PatientName=Zyx*",
        f"series?ModalitiesInStudy=MR&StudyInstanceUID={MIXED}", "studies?AccessionNumber=ZYX7",
        "studies?PatientName=zyxname&fuzzymatching=true", f"instances?SOPInstanceUID={UNSEEN[2]}",
    ):  # fmt: skip
        assert limited.get(f"/dicom-web/{hidden}").status_code == 204, hidden
        assert everything.get(f"/dicom-web/{hidden}").status_code == 200, hidden
    for words in ("zyx", "zyxbone", "mr"):
        assert MIXED not in limited.get("/ui/", params={"q": words}).text
        assert MIXED in everything.get("/ui/", params={"q": words}).text


def test_no_resource_that_names_a_study_in_its_query_shows_it(limited: httpx.Client, everything: httpx.Client) -> None:
    for uids in (HIDDEN_SERIES, UNSEEN):
        asked = dict(zip(("studyUID", "seriesUID", "objectUID"), uids, strict=True)) | {"requestType": "WADO"}
        assert everything.get("/dicom-web/wado", params=asked).status_code == 200
        assert limited.get("/dicom-web/wado", params=asked).status_code == 404
    patient = {"id": "Zyx1", "issuer": "ZYXHOSP"}
    assert everything.get("/ui/patients", params=patient).status_code == 200
    assert limited.get("/ui/patients", params=patient).status_code == 404
    open_one = limited.get("/ui/patients", params={"id": "Open1"})
    assert (open_one.status_code, bool(MARK.search(open_one.content))) == (200, False)
    # The viewer's page holds what it was asked for and nothing of the archive; it fetches by DICOMweb.
    assert b"zyx" not in limited.get("/ui/viewer", params={"study": HIDDEN}).content.lower()


def test_what_is_of_the_archive_as_a_whole_is_forbidden(
    limited: httpx.Client, resources: list[tuple[str, str]]
) -> None:
    paths = [each for each in resources if each[1].startswith(FORBIDDEN) and each[0] != "OPTIONS"]
    assert len(paths) > 8
    for method, path in paths:
        answer = limited.request(method, re.sub(r"{\w+}", "1", path))
        assert answer.status_code == 403, f"{method} {path}"
    assert "with limits" in limited.get("/metrics").json()["detail"]


def test_a_store_tells_nothing_of_what_is_there(gateway: HttpGateway, limited: httpx.Client) -> None:
    headers = {"Authorization": limited.headers["Authorization"]}
    new = ("1.2.888.1", "1.2.888.1.1", "1.2.888.1.1.1")
    known = send(gateway, headers, FILES[3])
    assert known.status_code == 200
    assert same(known, HIDDEN_SERIES, send(gateway, headers, file(new)), new)


def test_a_request_to_delete_is_of_what_is_there_alone(limited: httpx.Client, everything: httpx.Client) -> None:
    asked, whole = (each.delete(f"/dicom-web/studies/{MIXED}").json() for each in (limited, everything))
    assert (asked["instances"], whole["instances"]) == (2, 3)
    assert asked["request"] != whole["request"]
    assert limited.delete(f"/dicom-web/studies/{MIXED}").json() == asked


def test_a_link_shows_no_more_than_who_made_it_sees(gateway: HttpGateway, everything: httpx.Client) -> None:
    gateway.archive.accounts.add_user("ann", Role.VIEWER, PHRASE, limits=ONLY)
    own = {"Origin": gateway.url, "Sec-Fetch-Site": "same-origin", "Accept": "*/*"}

    def token(browser: httpx.Client, path: str) -> str:
        found = re.search(r'name="token" value="([^"]+)"', browser.get(path).text)
        assert found
        return found[1]

    with httpx.Client(base_url=gateway.url, headers=own, trust_env=False) as browser:
        browser.post("/ui/sign-in", data={"token": token(browser, "/ui/sign-in"), "name": "ann", "password": PHRASE})
        form = {"days": "3", "note": "", "token": token(browser, "/ui/shares")}
        assert browser.post("/ui/shares", data=form | {"study": HIDDEN}).status_code == 404
        made = browser.post("/ui/shares", data=form | {"study": MIXED})
        [link] = re.findall(r"/ui/open/[0-9a-f]{16}-[A-Za-z0-9_-]{43}", made.text)
        others, _ = gateway.archive.shares.add(HIDDEN, "zyx")
        assert not MARK.search(browser.get("/ui/shares").content)
        assert MARK.search(everything.get("/ui/shares").content)
        assert browser.post(f"/ui/shares/{others.id}/revoke", data=form).status_code == 404
        assert gateway.archive.shares.get(others.id) == others
        # A change of the limits ends the session, as one of the role does.
        gateway.archive.accounts.set_limits("ann", Limits())
        wait_until(lambda: browser.get("/ui/").status_code == 401, 10, "the session ends")
    with httpx.Client(base_url=gateway.url, headers={"Accept": "*/*"}, trust_env=False) as stranger:
        stranger.get(link)
        assert stranger.get("/ui/shared").status_code == 200
        assert not MARK.search(stranger.get("/ui/shared").content)
        metadata = stranger.get(f"/dicom-web/studies/{MIXED}/metadata")
        assert (len(metadata.json()), bool(MARK.search(metadata.content))) == (2, False)


def test_a_key_may_have_limits_by_what_the_study_is_of(gateway: HttpGateway) -> None:
    for texts, found in (
        (["IssuerOfPatientID=ZYXHOSP"], {HIDDEN}),
        (["IssuerOfPatientID="], {MIXED}),
        (["StudyInstanceUID=1.2.777.1", "StudyInstanceUID=1.2.700.1"], {HIDDEN, MIXED}),
        (["AccessionNumber=ZYX7"], {HIDDEN}),
        (["InstitutionName=Zyx North", "Modality=MR"], {MIXED}),
        (["InstitutionName=Zyx North", "Modality=US"], set()),
    ):
        with client(gateway, Limits.parse(texts)) as one:
            answer = one.get("/dicom-web/studies")
            studies = {each["0020000D"]["Value"][0] for each in answer.json()} if answer.content else set()
            assert studies == found, texts
