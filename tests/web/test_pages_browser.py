"""The pages in a real Chromium, for people who signed in: nobody else gets in here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.support.browser import Watched, browser, filled, sign_in, watched
from tests.support.http_gateway import HttpGateway
from tests.support.instances import part10, spool_one
from tests.support.npm import axe_script
from tests.support.real_files import real_file
from vna.lifecycle.tiers import advance
from vna.security.principals import Role

__all__ = ["browser"]

PHRASE = "a much longer phrase"
CT = pydicom.dcmread(real_file("CT_small.dcm"), stop_before_pixels=True)
SERIES = f"{CT.StudyInstanceUID}/{CT.SeriesInstanceUID}"
# A series without a picture is no error of the page.
PICTURE_MISSING = "Failed to load resource"

AXE = """axe.run({ runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] } })
  .then((found) => found.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}: ${nodes[0].failureSummary}`))"""


def assert_accessible(page: Page) -> None:
    page.evaluate(axe_script())
    found = page.evaluate(AXE)
    assert not found, "\n".join((page.url, *found))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(tmp_path_factory.mktemp("browser"), VNA_HTTP__ALLOW_ANONYMOUS="never")
    filled(gateway, [real_file("CT_small.dcm"), real_file("MR_small.dcm")])
    for broken in (b"no DICOM at all", b"nor is this one"):
        spool_one(gateway.archive.spool, broken)
    spool_one(gateway.archive.spool, part10(patient="<script>alert(1)</script>"))
    gateway.ingest()
    advance(gateway.archive.objects)
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(scope="module")
def administrator(browser: Browser, gateway: HttpGateway) -> StorageState:
    """Sign in as the first administrator does, with the one-time password."""
    given = gateway.archive.accounts.first_administrator()
    with watched(browser, gateway.url) as seen:
        page = seen.page
        page.goto("/ui/operations")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        sign_in(page, "admin", "not that one")
        expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong.")
        sign_in(page, "admin", given)
        expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
        # Nothing else opens before it is changed.
        page.goto("/ui/audit")
        expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
        page.get_by_label("Password that you were given").fill(given)
        page.get_by_label("New password, 12 characters or more").fill(PHRASE)
        page.get_by_label("New password, once more").fill(PHRASE)
        page.get_by_role("button", name="Change", exact=True).click()
        expect(page.locator(".me summary")).to_have_text("admin")
        expect(page.get_by_role("heading", name="3 studies")).to_be_visible()
        # What was refused is told by the browser as well.
        assert [each for each in seen.errors if "401" not in each] == []
        return page.context.storage_state()


@pytest.fixture
def seen(browser: Browser, gateway: HttpGateway, administrator: StorageState) -> Iterator[Watched]:
    with watched(browser, gateway.url, administrator) as seen:
        seen.page.on("dialog", lambda dialog: seen.errors.append(f"dialog: {dialog.message}"))
        yield seen
        assert [each for each in seen.errors if PICTURE_MISSING not in each] == []
        assert seen.strangers == []


@pytest.fixture
def page(seen: Watched) -> Page:
    return seen.page


def test_from_words_to_a_picture_by_keys_alone(page: Page) -> None:
    page.goto("/ui/")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("compressedsamples")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("2 studies")
    for key, who in (("ArrowDown", "MR1"), ("j", "CT1"), ("k", "MR1"), ("ArrowUp", "MR1"), ("ArrowDown", "CT1")):
        page.keyboard.press(key)
        expect(page.locator("tr.chosen .who")).to_contain_text(who)
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/studies/**")
    expect(page.locator(".crumb")).to_have_text("CompressedSamples, CT1")
    expect(page.locator(".picture img")).to_have_js_property("naturalWidth", 128)
    page.go_back()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("v")
    page.wait_for_url("**/ui/viewer?study=*")
    page.wait_for_selector("#picture[aria-label^='Picture ']:not([hidden])")


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
    page.goto(f"/ui/instances/{SERIES}")
    page.fill("#filter", "rescaleintercept")
    expect(page.locator("#attributes tbody tr:visible")).to_have_count(1)


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
    spool = page.locator(".tiles li", has=page.get_by_role("heading", name="Spool"))
    expect(spool.locator(".big")).to_have_text("1")
    # It is tried again, and is no more DICOM than it was: the page shows that by itself.
    gateway.ingest()
    expect(page.locator("#live")).to_contain_text(re.compile(r"refreshed \d"), timeout=15_000)
    expect(page.locator(".quarantine tbody tr")).to_have_count(1, timeout=15_000)
    expect(page.locator(".quarantine .reason")).to_contain_text("not DICOM")
    expect(spool.locator(".big")).to_have_text("0")


def test_who_did_what_is_found_on_the_page(page: Page) -> None:
    page.goto("/ui/audit")
    page.get_by_label("User, AE title or address").fill("ADMIN")
    page.get_by_label("Event", exact=True).select_option(label="User Authentication")
    page.get_by_role("button", name="Apply").click()
    events = page.locator(".events tbody tr")
    expect(events).to_have_count(2)
    expect(events.nth(0)).to_contain_text("Login")
    expect(events.nth(1)).to_contain_text("minor failure")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="User Authentication")).to_be_visible()
    expect(page.locator("pre")).to_contain_text('csd-code="110114"')
    page.go_back()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download messages").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 2
    assert all(line.startswith("<AuditMessage>") for line in lines)


def test_a_link_that_is_made_opens_elsewhere_until_it_is_revoked(
    page: Page, browser: Browser, gateway: HttpGateway
) -> None:
    page.goto(f"/ui/studies/{CT.StudyInstanceUID}")
    page.get_by_role("link", name="Share").click()
    page.get_by_label("For whom").fill("Dr Who")
    page.get_by_label("Pictures only").check()
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("Link", exact=True).input_value()
    with watched(browser, gateway.url) as other:
        stranger = other.page
        stranger.goto(link)
        expect(stranger.get_by_role("heading", name="Shared study")).to_be_visible()
        expect(stranger.locator(".picture img")).to_have_js_property("complete", True)
        assert stranger.locator(".picture img").evaluate("image => image.naturalWidth") > 0
        assert_accessible(stranger)
        stranger.locator(".picture").click()
        expect(stranger.locator("#picture")).to_have_js_property("complete", True)
        assert stranger.locator("#picture").evaluate("image => image.naturalWidth") > 0
        assert_accessible(stranger)
        assert "CompressedSamples" not in stranger.content()
        assert link.rsplit("/", 1)[1] not in stranger.url
        assert (other.errors, other.strangers) == ([], [])
        page.goto("/ui/shares")
        page.get_by_role("row", name="Dr Who").get_by_role("button", name="Revoke").click()
        expect(page.locator("main")).to_contain_text("Nothing is shared")
        stranger.goto(link)
        expect(stranger.get_by_role("heading", name="This link opens nothing")).to_be_visible()
        stranger.wait_for_timeout(2500)  # what the gateway had found holds for two seconds
        stranger.goto("/ui/shared")
        expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()


EVERYWHERE = (
    "/ui/",
    "/ui/?q=nobody",
    f"/ui/patients?id={CT.PatientID}",
    f"/ui/studies/{CT.StudyInstanceUID}",
    f"/ui/instances/{SERIES}",
    f"/ui/viewer?study={CT.StudyInstanceUID}",
    "/ui/operations",
    "/ui/audit",
    f"/ui/shares?study={CT.StudyInstanceUID}",
    "/ui/shares",
    "/ui/password",
    "/ui/studies/1.2.3.4.5",
)


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_every_page_is_accessible_and_no_wider_than_the_screen(page: Page, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    for path in EVERYWHERE:
        page.goto(path)
        page.wait_for_selector("[aria-busy]", state="detached")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert_accessible(page)


def test_signing_out_closes_every_page(browser: Browser, gateway: HttpGateway) -> None:
    gateway.archive.accounts.add_user("leaver", Role.VIEWER, PHRASE)
    with watched(browser, gateway.url) as seen:
        page = seen.page
        page.goto(f"/ui/?q={CT.PatientID}")
        sign_in(page, "leaver", PHRASE)
        # Back where the person wanted to be, and with no page that is not for them.
        expect(page.get_by_role("heading", name="1 study")).to_be_visible()
        expect(page.get_by_role("navigation", name="Pages", exact=True).get_by_role("link")).to_have_text(["Studies"])
        page.locator(".me summary").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.go_back()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert_accessible(page)
        assert (seen.errors, seen.strangers) == ([], [])
