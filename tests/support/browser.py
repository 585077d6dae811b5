"""A real Chromium without a screen, driven by Playwright, and what a page did wrong in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    StorageState,
    sync_playwright,
)

from tests.support.elasticsearch import services_cache
from tests.support.http_gateway import HttpGateway
from tests.support.npm import AXE, installed
from vna.cli.ohif import VERSION, install
from vna.security.principals import Role

CHROMIUM = os.environ.get("VNA_TEST_CHROMIUM", "/usr/bin/chromium")
SIZE = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the system. Of a module, since Playwright's event loop stays in the thread until it ends."""
    assert Path(CHROMIUM).exists(), f"there is no {CHROMIUM}; deploy/services/install installs it"
    with sync_playwright() as playwright:
        # As root Chromium has no sandbox; the pages are the archive's own. WebGL is drawn by the processor.
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            yield running
        finally:
            running.close()


class Watched:
    """A page, and what went wrong on it: errors of scripts and of the policy, requests to other hosts."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.failed: list[str] = []
        self._origin = urlsplit(origin).netloc
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._request)
        page.on("response", lambda answer: answer.ok or answer.status < 400 or self.failed.append(answer.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" or "Content Security Policy" in message.text:
            self.errors.append(message.text)

    def _request(self, request: Request) -> None:
        where = urlsplit(request.url)
        if where.scheme not in {"data", "blob"} and where.netloc != self._origin:
            self.strangers.append(request.url)


@contextmanager
def watched(browser: Browser, origin: str, signed_in: StorageState | None = None) -> Iterator[Watched]:
    """Open a page of its own, with no cookie or cache but those of somebody who signed in, for a block."""
    context: BrowserContext = browser.new_context(viewport=SIZE, base_url=origin, storage_state=signed_in)
    context.set_default_timeout(20_000)
    try:
        yield Watched(context.new_page(), origin)
    finally:
        context.close()


def sign_in(page: Page, name: str, password: str) -> None:
    """Sign in on the page for it, where the browser was sent."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()


def ohif_folder() -> Path:
    """Return a folder with OHIF in it, kept outside of the tree; it is installed if it is not there."""
    folder = services_cache() / f"ohif-{VERSION}"
    install(folder)
    return folder


def filled(gateway: HttpGateway, files: list[Path]) -> HttpGateway:
    """Store files in an archive, and return it when they can be found."""
    key = gateway.archive.accounts.add_key(f"filler-{len(files)}", Role.TECHNOLOGIST)
    headers = {"Content-Type": "application/dicom", "Authorization": f"Bearer {key}"}
    for file in files:
        answer = gateway.client.post("/studies", content=file.read_bytes(), headers=headers)
        assert answer.status_code == 200, f"{file.name}: {answer.text}"
    report = gateway.ingest()
    assert not report.failed, report
    return gateway


if __name__ == "__main__":
    print(ohif_folder())  # installs it, as `--install` of the other services does
    installed(*AXE)
