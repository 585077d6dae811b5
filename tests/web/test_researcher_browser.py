"""A researcher in a real Chromium: from the sign-in to the picture, and nowhere a name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.support import known_patient as known
from tests.support.browser import browser, ohif_folder, sign_in, watched
from tests.support.http_gateway import HttpGateway
from tests.support.known_patient import secrets_in
from vna.security.principals import Role

__all__ = ["browser"]

PHRASE = "a phrase for research"
PICTURE = "#picture[aria-label^='Picture ']:not([hidden])"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    folder = tmp_path_factory.mktemp("research-browser")
    gateway = HttpGateway(
        folder, develop=False, VNA_HTTP__ALLOW_ANONYMOUS="never", VNA_HTTP__OHIF_PATH=str(ohif_folder())
    )
    try:
        key = gateway.archive.accounts.add_key("modality", Role.TECHNOLOGIST)
        headers = {"Content-Type": "application/dicom", "Authorization": f"Bearer {key}"}
        for data in known.known_patient().files.values():
            answer = gateway.client.post("/studies", content=data, headers=headers)
            assert answer.status_code == 200
        assert not gateway.ingest().failed
        yield gateway
    finally:
        gateway.stop()


def shot(page: Page, name: str) -> None:
    """Keep a picture of a page where somebody asks for it, to be looked at."""
    if folder := os.environ.get("VNA_TEST_SHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def test_a_researcher_sees_the_picture_and_no_name(browser: Browser, archive: HttpGateway) -> None:
    archive.archive.accounts.add_user("rae", Role.RESEARCHER, PHRASE)
    answers: list[tuple[str, str, bytes]] = []

    def listen(route: Route) -> None:
        answer = route.fetch(max_redirects=0)
        answers.append((route.request.url, str(answer.headers), answer.body()))
        route.fulfill(response=answer)

    with watched(browser, archive.url) as view:
        page = view.page
        seen: list[str] = []

        def look(name: str) -> None:
            shot(page, name)
            seen.append(f"{page.title()} {page.url} {page.locator('html').inner_html()}")

        page.goto("/ui/")
        sign_in(page, "rae", PHRASE)
        page.locator("#worklist tbody tr").wait_for()
        page.route(re.compile("/(dicom-web|ui)/(?!static/)"), listen)
        page.goto("/ui/")
        page.locator("#worklist tbody tr").wait_for()
        page.locator("#facets .facet").first.wait_for()
        assert page.locator(".facet h2").all_inner_texts() == ["Modality", "Manufacturer", "Body part"]
        assert page.locator("text=De-identified data").count() == 1
        assert page.locator("input[name=q], input[name=name], input[name=start]").count() == 0
        look("worklist")
        page.locator(".facet a", has_text="CT").first.click()
        page.locator("#worklist tbody tr").wait_for()
        page.locator("#worklist td.who a").click()
        page.locator("ul.series img").first.wait_for()
        page.wait_for_load_state("networkidle")
        look("study")
        links = page.locator("a").evaluate_all("(all) => all.map((each) => each.getAttribute('href'))")
        for link in links:
            assert page.request.get(link).status in {200, 206}, link
        page.locator("a", has_text="Attributes").first.click()
        page.locator("#attributes").wait_for()
        look("attributes")
        page.goto(f"/ui/viewer?study={known.STUDY}&series={known.CT_SERIES}")
        page.wait_for_selector(PICTURE)
        page.wait_for_load_state("networkidle")
        assert page.locator("#who").inner_text().startswith("P-")
        look("viewer")
        page.goto(f"/ui/viewer?study={known.STUDY}&series={known.SC_SERIES}")
        page.locator("#problem:not([hidden])").wait_for()
        assert "withheld" in page.locator("#problem").inner_text()
        look("withheld")
        page.goto(f"/ohif/viewer?StudyInstanceUIDs={known.STUDY}")
        page.locator("canvas.cornerstone-canvas").first.wait_for(timeout=40_000)
        page.wait_for_load_state("networkidle")
        look("ohif")
        for text in seen:
            assert secrets_in(text) == set()
        assert len(answers) > 15
        kinds = " ".join(headers for _, headers, _ in answers)
        assert all(kind in kinds for kind in ("text/html", "application/dicom+json", "image/jpeg", "multipart/related"))
        for url, headers, body in answers:
            for text in (headers, body.decode("utf-8", "replace"), body.decode("latin-1")):
                assert secrets_in(text) == set(), url
        assert view.strangers == []
