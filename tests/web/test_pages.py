"""The pages of a real gateway, as a browser without scripts gets them."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin

import httpx
import pytest

from tests.support.pages import CT, PAGES, SCRIPT, facet, links, names


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_closed_to_others_and_kept_by_nobody(reader: httpx.Client, path: str) -> None:
    answer = reader.get(path)
    assert answer.status_code == (404 if path.endswith(".6.7") else 200)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert not re.search(r"\sstyle=|\son\w+=|<script>|<style", answer.text)
    # Nothing comes from elsewhere.
    assert not links(answer.text, "http")
    assert not links(answer.text, "//")
    for link in links(answer.text, "/ui/static/"):
        assert reader.get(link).headers["cache-control"].endswith("immutable")


def test_a_browser_at_the_root_comes_to_the_pages(reader: httpx.Client) -> None:
    answer = reader.get("/", headers={"Accept": "text/html,application/xhtml+xml"})
    assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")
    assert reader.get("/").json()["pages"].endswith("/ui/")


def test_static_files_and_nothing_else(reader: httpx.Client) -> None:
    for name in ("style.css", "app.js", "theme.js", "icon.svg"):
        assert reader.get(f"/ui/static/{name}").status_code == 200
    for name in ("..%2fpages_http.py", "%2e%2e/routes.py", "pages_http.py", "none.css", ".css"):
        assert reader.get(f"/ui/static/{name}").status_code == 404


def test_values_are_text_and_never_markup(reader: httpx.Client) -> None:
    listed = reader.get("/ui/?q=%3Cscript%3E")
    assert names(listed.text) == [SCRIPT]
    [study] = set(links(listed.text, "/ui/studies/"))
    [patient] = set(links(listed.text, "/ui/patients"))
    shown = [listed, reader.get(study), reader.get(patient)]
    shown.append(reader.get(links(shown[1].text, "/ui/instances")[0]))
    for page in shown:
        assert page.status_code == 200
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
        assert "<script>alert" not in page.text
    for page in (
        reader.get(f"/ui/?q={SCRIPT}&id={SCRIPT}&body={SCRIPT}"),
        reader.get("/ui/studies/<script>alert(1)"),
    ):
        assert "<script>alert" not in page.text


def test_pages_of_the_worklist_hold_each_study_once(reader: httpx.Client) -> None:
    for sort in ("-date", "date", "name", "-name"):
        first = reader.get("/ui/", params={"q": "row", "sort": sort}).text
        [link] = re.findall(r'rel="next" href="([^"]*)"', first)
        second = reader.get(urljoin("/ui/", unescape(link))).text
        found = names(first) + names(second)
        assert (len(names(first)), len(found), len(set(found))) == (50, 60, 60), sort
        if sort == "name":
            assert found == sorted(found)
        if sort == "-name":
            assert found == sorted(found, reverse=True)
        dates = re.findall(r"2020-\d\d-\d\d", first + second)
        if sort == "-date":
            assert dates == sorted(dates, reverse=True)
        if sort == "date":
            assert dates == sorted(dates)
    assert names(reader.get("/ui/?q=row&page=99").text) == names(reader.get("/ui/?q=row&page=2").text)


def test_facets_narrow_and_count_what_the_others_leave(reader: httpx.Client) -> None:
    query = "name=Row&modality=CT&manufacturer=ACME"
    listed = reader.get(f"/ui/?{query}")
    assert "<h1>10 studies</h1>" in listed.text
    counted = reader.get(f"/ui/facets?{query}").text
    assert facet(counted, "Modality") == {"CT": 10, "MR": 20}
    assert facet(counted, "Manufacturer") == {"ACME": 10, "Other": 10}
    by_words = reader.get("/ui/facets?q=row").text
    assert facet(by_words, "Manufacturer") == {"ACME": 30, "Other": 30}
    assert "<h1>60 studies</h1>" in reader.get("/ui/?name=row&modality=CT&modality=MR").text


def test_fields_and_dates(reader: httpx.Client) -> None:
    assert len(names(reader.get("/ui/?id=R50").text)) == 2
    assert len(names(reader.get("/ui/?name=Row&start=2020-03-01&end=2020-03-31").text)) == 5
    assert "No study matches" in reader.get("/ui/?when=today&q=row").text
    wrong = reader.get("/ui/?start=yesterday")
    assert wrong.status_code == 400
    assert "is no date" in wrong.text


def test_a_patient_is_an_id_within_its_issuer(reader: httpx.Client) -> None:
    page = reader.get("/ui/patients?id=R50").text
    assert len(set(links(page, "/ui/studies/"))) == 2
    assert "Row, N100; Row, N101" in unescape(page) or "Row, N101; Row, N100" in unescape(page)
    assert reader.get("/ui/patients?id=R50&issuer=elsewhere").status_code == 404


def test_a_study_leads_to_pictures_viewers_and_files(reader: httpx.Client) -> None:
    uid, series = CT.StudyInstanceUID, CT.SeriesInstanceUID
    page = reader.get(f"/ui/studies/{uid}").text
    for link in (
        f"/dicom-web/studies/{uid}/series/{series}/thumbnail",
        f"/ui/viewer?study={uid}",
        f"/ohif/viewer?StudyInstanceUIDs={uid}",
        f"/dicom-web/studies/{uid}?accept=application/zip",
        f"/ui/instances/{uid}/{series}",
    ):
        assert link in unescape(page), link
    assert 'loading="lazy"' in page


def test_attributes_of_a_real_file(reader: httpx.Client) -> None:
    page = unescape(reader.get(f"/ui/instances/{CT.StudyInstanceUID}/{CT.SeriesInstanceUID}").text)
    for text in ("PatientName", "CompressedSamples^CT1", "GEMS_PARM_01", "(0002,0010)", "CT Image Storage"):
        assert text in page, text
    assert reader.get(f"/ui/instances/{CT.StudyInstanceUID}/{CT.SeriesInstanceUID}?n=2").status_code == 404
