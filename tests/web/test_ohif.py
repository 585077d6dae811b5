"""OHIF in a real Chromium: installed by the command, served by the archive, pointed at it and at nothing else."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pytest
from playwright.sync_api import Browser, Locator

from tests.support.browser import browser, filled, ohif_folder, sign_in, watched
from tests.support.http_gateway import HttpGateway
from tests.support.real_files import real_file
from vna.cli.ohif import install
from vna.domain.errors import ConfigurationError, IntegrityError
from vna.security.principals import Role

__all__ = ["browser"]

# Stored native, and in JPEG 2000, which OHIF decodes by itself.
PHRASE = "a much longer phrase"
STUDIES = ("CT_small.dcm", "693_J2KI.dcm")
WITHOUT_MODALITY = "image6.dcm"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    settings = {"VNA_HTTP__OHIF_PATH": str(ohif_folder()), "VNA_HTTP__ALLOW_ANONYMOUS": "never"}
    gateway = HttpGateway(tmp_path_factory.mktemp("ohif"), develop=False, **settings)
    gateway.archive.accounts.add_user("ann", Role.VIEWER, PHRASE)
    try:
        yield filled(gateway, [real_file(name) for name in (*STUDIES, WITHOUT_MODALITY)])
    finally:
        gateway.stop()


def greys(canvas: Locator) -> int:
    """Return how many shades of grey its middle has."""
    found = canvas.evaluate(
        """(canvas) => {
          const [width, height] = [canvas.width >> 1, canvas.height >> 1];
          if (!width || !height) return 0;
          const data = canvas.getContext("2d").getImageData(width >> 1, height >> 1, width, height).data;
          return new Set(data.filter((_, at) => at % 4 === 0)).size;
        }"""
    )
    return int(found)


def test_somebody_who_signed_in_comes_from_words_to_a_picture_and_no_other_host_is_asked(
    browser: Browser, archive: HttpGateway
) -> None:
    with watched(browser, archive.url) as view:
        view.page.goto("/ohif/viewer")
        sign_in(view.page, "ann", PHRASE)
        for name in STUDIES:
            data = pydicom.dcmread(real_file(name), stop_before_pixels=True)
            view.page.goto("/ui/")
            view.page.get_by_role("searchbox").fill(str(data.PatientID))
            view.page.keyboard.press("Enter")
            view.page.locator(".worklist .who a").click()
            view.page.get_by_role("link", name="Open in OHIF").click()
            canvas = view.page.locator("canvas.cornerstone-canvas").first
            canvas.wait_for(timeout=40_000)
            for _ in range(80):
                if (shades := greys(canvas)) > 40:
                    break
                view.page.wait_for_timeout(250)
            assert shades > 40, f"{name}: the canvas is blank; {view.errors} {view.failed}"
            # The tour of a first visit would lie over the picture.
            assert view.page.locator(".shepherd-element").count() == 0
        assert view.strangers == []
        assert view.errors == []


def test_its_list_has_a_study_of_which_no_modality_is_known(browser: Browser, archive: HttpGateway) -> None:
    with watched(browser, archive.url) as view:
        view.page.goto("/ohif/")
        sign_in(view.page, "ann", PHRASE)
        view.page.get_by_text("noisy feather").first.wait_for()
        assert view.errors == []


def test_its_files_have_types_policies_and_small_forms(archive: HttpGateway) -> None:
    key = archive.archive.accounts.add_key("reader", Role.VIEWER)
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=archive.url, trust_env=False, headers=headers) as client:
        page = client.get("/ohif/viewer")
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        assert '<base href="/ohif/">' in page.text
        assert 'src="/app' not in page.text
        script = next(part.split('"')[0] for part in page.text.split('src="') if part.startswith("/ohif/app.bundle"))
        small = client.get(script)
        assert small.headers["content-encoding"] == "gzip"
        assert "immutable" in small.headers["cache-control"]
        again = client.get(script, headers={"If-None-Match": small.headers["etag"]})
        assert again.status_code == 304
        wasm = next(path.name for path in ohif_folder().glob("*.wasm"))
        assert client.get(f"/ohif/{wasm}").headers["content-type"] == "application/wasm"
        assert client.get("/ohif/nothing.js").status_code == 404
        assert client.get("/ohif/..%2f..%2fetc/passwd.json").status_code == 404
        config = client.get("/ohif/app-config.js")
        assert config.headers["content-type"].startswith("text/javascript")
        assert "://" not in config.text
        assert client.get("/ohif").headers["location"] == "/ohif/"


def test_without_it_the_page_says_how_to_install_it(tmp_path: Path) -> None:
    gateway = HttpGateway(tmp_path / "none", develop=False)
    try:
        answer = httpx.get(f"{gateway.url}/ohif/", trust_env=False)
        assert answer.status_code == 404
        assert "vna ohif install" in answer.text
    finally:
        gateway.stop()


def test_another_package_is_not_installed(tmp_path: Path) -> None:
    false = tmp_path / "false.tgz"
    (tmp_path / "index.html").write_text("not OHIF")
    with tarfile.open(false, "w:gz") as package:
        package.add(tmp_path / "index.html", "package/dist/index.html")
    with pytest.raises(IntegrityError, match="SHA-512"):
        install(tmp_path / "ohif", false)
    assert not (tmp_path / "ohif").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("all of it")
    with pytest.raises(ConfigurationError, match="something else"):
        install(folder)
    assert (folder / "thesis.txt").read_text() == "all of it"
