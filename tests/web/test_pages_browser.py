"""The pages in a real Chromium: keys, facets, themes, forms, narrow screens."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import browser, filled, watched
from tests.support.http_gateway import HttpGateway
from tests.support.instances import part10, spool_one
from tests.support.real_files import real_file

__all__ = ["browser"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(tmp_path_factory.mktemp("browser"))
    filled(gateway, [real_file("CT_small.dcm"), real_file("MR_small.dcm")])
    for broken in (b"no DICOM at all", b"nor is this one"):
        spool_one(gateway.archive.spool, broken)
    spool_one(gateway.archive.spool, part10(patient="<script>alert(1)</script>"))
    gateway.ingest()
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def page(browser: Browser, gateway: HttpGateway) -> Iterator[Page]:
    with watched(browser, gateway.url) as seen:
        seen.page.on("dialog", lambda dialog: seen.errors.append(f"dialog: {dialog.message}"))
        yield seen.page
        # A series without a picture is no error of the page.
        assert [each for each in seen.errors if "Failed to load resource" not in each] == []
        assert seen.strangers == []


def test_from_words_to_a_study_by_keys_alone(page: Page) -> None:
    page.goto("/ui/")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("compressedsamples")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("2 studies")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("tr.chosen .who")).to_contain_text("CT1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/studies/**")
    expect(page.locator(".crumb")).to_have_text("CompressedSamples, CT1")


def test_facets_come_after_the_list_and_narrow_it(page: Page) -> None:
    page.goto("/ui/")
    page.locator(".facet a", has_text="TOSHIBA_MEC").click()
    expect(page.locator("h1")).to_have_text("1 study")
    page.locator(".chips a").click()
    expect(page.locator("h1")).to_have_text("3 studies")


def test_the_theme_is_kept(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.goto("/ui/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    page.goto("/ui/operations")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_attributes_are_filtered(page: Page) -> None:
    page.goto("/ui/?q=CT1")
    page.locator(".who a").click()
    page.get_by_role("link", name="Attributes").click()
    page.fill("#filter", "rescaleintercept")
    expect(page.locator("#attributes tbody tr:visible")).to_have_count(1)


def test_nothing_is_wider_than_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in (
        "/ui/",
        "/ui/operations",
        "/ui/patients?id=1CT1",
        "/ui/studies/1.2.3.1",
        "/ui/instances/1.2.3.1/1.2.3.1.1",
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_quarantine_by_buttons_and_the_page_refreshes_itself(page: Page, gateway: HttpGateway) -> None:
    page.goto("/ui/operations")
    expect(page.locator(".quarantine tbody tr")).to_have_count(2)
    page.locator("summary", has_text="Drop").first.click()
    page.locator("input[name=reason]").first.fill("not ours")
    page.get_by_role("button", name="Destroy").first.click()
    expect(page.locator(".notice")).to_contain_text("destroyed")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".notice")).to_contain_text("in the spool again")
    assert gateway.archive.quarantine.count() == 0
    expect(page.locator("#live")).to_contain_text(re.compile(r"refreshed \d"), timeout=15_000)
    spool = page.locator(".tiles li", has=page.get_by_role("heading", name="Spool"))
    expect(spool.locator(".big")).to_have_text("1")
