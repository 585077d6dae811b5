"""Links to a study: what they open, what they do not, and when they end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from tests.support.http_gateway import HttpGateway
from tests.support.ports import wait_until
from tests.support.real_files import real_file
from vna.security.principals import Role

STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"  # CT_small.dcm
OTHER = "1.3.6.1.4.1.5962.1.2.4.20040826185059.5457"  # MR_small.dcm
REPORT = dcmread(real_file("reportsi.dcm"))
OVERLAID = dcmread(real_file("examples_overlay.dcm"), stop_before_pixels=True)
PHRASE = "a much longer phrase"
NAMES = ("CompressedSamples", "1CT1")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(tmp_path_factory.mktemp("shares"), VNA_HTTP__ALLOW_ANONYMOUS="never")
    key = {"Authorization": f"Bearer {gateway.archive.accounts.add_key('sender', Role.TECHNOLOGIST)}"}
    for name in ("CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm", "reportsi.dcm"):
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + real_file(name).read_bytes() + b"\r\n--b--\r\n"
        kind = 'multipart/related; type="application/dicom"; boundary=b'
        answer = gateway.client.post("/studies", content=body, headers={"Content-Type": kind, **key})
        assert answer.status_code == 200, answer.text
    gateway.ingest()
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def stranger(gateway: HttpGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, headers={"Accept": "*/*"}, timeout=60, trust_env=False) as client:
        yield client


def pictures(page: str) -> list[str]:
    return re.findall(r"/dicom-web/[^\" ]+rendered[^\" ]*", page)


def follow(stranger: httpx.Client, token: str) -> str:
    opened = stranger.get(f"/ui/open/{token}")
    assert (opened.status_code, opened.headers["Location"]) == (303, "/ui/shared")
    shown = stranger.get("/ui/shared")
    assert shown.status_code == 200, shown.text
    return shown.text


def test_a_link_opens_its_study_and_no_other(gateway: HttpGateway, stranger: httpx.Client) -> None:
    _share, token = gateway.archive.shares.add(STUDY, "ann")
    text = follow(stranger, token)
    assert "CompressedSamples" in text
    assert token not in text
    assert stranger.get(f"/dicom-web/studies/{STUDY}/metadata").status_code == 200
    assert stranger.get(f"/ui/viewer?study={STUDY}").status_code != 403
    for path in (
        f"/dicom-web/studies/{OTHER}/metadata",
        f"/dicom-web/studies/{STUDY}1/metadata",
        "/dicom-web/studies",
        "/dicom-web/instances",
        f"/ui/viewer?study={OTHER}",
        f"/ui/viewer?study={STUDY}&study={OTHER}",
        "/ui/",
        "/ui/operations",
        "/ui/shares",
        "/metrics",
        f"/dicom-web/studies/{STUDY}/../{OTHER}/metadata",
    ):
        assert stranger.get(path).status_code == 403, path
    assert stranger.post("/dicom-web/studies", content=b"").status_code == 403
    assert stranger.post("/ui/shares", content=b"").status_code == 403


def test_pictures_only_tell_nothing_of_the_patient(gateway: HttpGateway, stranger: httpx.Client) -> None:
    _share, token = gateway.archive.shares.add(STUDY, "ann", hide_patient=True)
    text = follow(stranger, token)
    [series] = re.findall(r'href="(/ui/shared/[^"]+)"', text)
    strip = stranger.get(series).text
    for name in NAMES:
        assert name not in text + strip
    [picture, *_] = pictures(strip)
    shown = stranger.get(picture)
    assert (shown.status_code, shown.headers["Content-Type"]) == (200, "image/jpeg")
    bare = picture.partition("?")[0]
    for path in (
        f"{bare}?accept=image/jpeg&annotation=patient",
        f"{bare}?accept=application/pdf",
        f"{bare}?accept=image/jpeg&accept=application/pdf",
        bare,
        f"/dicom-web/studies/{STUDY}",
        f"/dicom-web/studies/{STUDY}/metadata",
        f"/dicom-web/studies/{STUDY}/series",
        f"/dicom-web/studies/{STUDY}?accept=image/jpeg",
        f"/dicom-web/studies/{OTHER}/rendered?accept=image/jpeg",
        f"/ui/viewer?study={STUDY}",
        f"/ui/studies/{STUDY}",
    ):
        assert stranger.get(path).status_code == 403, path


def test_pictures_only_show_no_document_however_it_is_asked_for(gateway: HttpGateway, stranger: httpx.Client) -> None:
    own = f"/series/{REPORT.SeriesInstanceUID}/instances/{REPORT.SOPInstanceUID}"
    for hide, expected in ((True, {403, 406}), (False, {200})):
        _share, token = gateway.archive.shares.add(REPORT.StudyInstanceUID, "ann", hide_patient=hide)
        follow(stranger, token)
        for below in ("", own):
            for accept in ("*/*", "text/html", "text/plain", "text/xml", "multipart/related; type=text/html"):
                path = f"/dicom-web/studies/{REPORT.StudyInstanceUID}{below}/rendered?accept=image/jpeg"
                answer = stranger.get(path, headers={"Accept": accept})
                assert answer.status_code in expected, (path, accept)
                assert hide is False or str(REPORT.PatientName.family_name) not in answer.text


def test_pictures_only_have_nothing_drawn_over_them(gateway: HttpGateway, stranger: httpx.Client) -> None:
    own = {"Authorization": f"Bearer {gateway.archive.accounts.add_key('sees-all', Role.VIEWER)}"}
    rendered = f"/dicom-web/studies/{OVERLAID.StudyInstanceUID}/rendered?accept=image/jpeg"
    plain, shown = [], []
    for hide in (True, False):
        _share, token = gateway.archive.shares.add(OVERLAID.StudyInstanceUID, "ann", hide_patient=hide)
        follow(stranger, token)
        (plain if hide else shown).append(stranger.get(rendered).content)
    shown.append(httpx.get(gateway.url + rendered, headers=own, trust_env=False).content)
    assert shown[0] == shown[1]
    # White letters: they take room in a picture.
    assert plain[0] != shown[0]
    greys = [np.asarray(Image.open(BytesIO(each)).convert("L")) for each in (plain[0], shown[0])]
    assert (greys[0] > 250).sum() < (greys[1] > 250).sum()


def test_a_link_that_was_revoked_or_never_made_opens_nothing(gateway: HttpGateway, stranger: httpx.Client) -> None:
    share, token = gateway.archive.shares.add(STUDY, "ann")
    follow(stranger, token)
    gateway.archive.shares.remove(share.id)
    assert stranger.get(f"/ui/open/{token}").status_code == 404
    for wrong in (token[:-1] + ("a" if token[-1] != "a" else "b"), "x", f"{share.id}-", "0" * 16 + "-" + "a" * 43):
        assert stranger.get(f"/ui/open/{wrong}").status_code == 404
    # What the gateway had found holds for two seconds.
    wait_until(lambda: stranger.get("/ui/shared").status_code != 200, 10, "the link is forgotten")
    assert stranger.get(f"/dicom-web/studies/{STUDY}/metadata").status_code == 401


def test_a_person_makes_a_link_and_revokes_it(gateway: HttpGateway, stranger: httpx.Client) -> None:
    gateway.archive.accounts.add_user("ann", Role.VIEWER, PHRASE)
    own = {"Origin": gateway.url, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    with httpx.Client(base_url=gateway.url, headers=own, trust_env=False) as browser:

        def token(path: str) -> str:
            found = re.search(r'name="token" value="([^"]+)"', browser.get(path).text)
            assert found
            return found[1]

        browser.post("/ui/sign-in", data={"token": token("/ui/sign-in"), "name": "ann", "password": PHRASE})
        form = {"study": STUDY, "days": "3", "note": "Dr <b>Who</b>", "hide": "on"}
        page = f"/ui/shares?study={STUDY}"
        assert browser.post("/ui/shares", data=form).status_code == 403
        made = browser.post("/ui/shares", data=form | {"token": token(page)})
        assert made.status_code == 200
        assert "Dr &lt;b&gt;Who&lt;/b&gt;" in made.text
        [link] = re.findall(rf'value="{gateway.url}/ui/open/([^"]+)"', made.text)
        assert "CompressedSamples" not in follow(stranger, link)
        assert browser.post("/ui/shares", data=form | {"token": token(page), "days": "400"}).status_code == 400
        [identity] = [each.id for each in gateway.archive.shares.list(STUDY) if each.note.startswith("Dr ")]
        assert link not in browser.get(page).text
        gone = browser.post(f"/ui/shares/{identity}/revoke", data={"token": token(page)})
        assert gone.status_code == 303
    assert stranger.get(f"/ui/open/{link}").status_code == 404
