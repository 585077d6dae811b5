"""How long a person waits for the first picture of a series: 300 CT of 512x512, JPEG 2000 lossless.

Run as ``python -m tests.benchmarks.bench_pictures [ROUNDS]``; prints the median of the rounds
and the slowest, in milliseconds. Each round starts the HTTP gateway anew.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless

from tests.benchmarks.data import write_series
from tests.support.browser import CHROMIUM, SIZE
from tests.support.http_gateway import HttpGateway

COUNT = 300
_DIFFERENT = 10
_PICTURE = "#picture[aria-label^='Picture ']:not([hidden])"
_A_LOOK = 1.5  # what somebody takes at least to find a study in a list, seconds


def write(folder: Path) -> list[Path]:
    """Write the series: a body of soft tissue with noise, in air."""
    paths = write_series(folder, COUNT, 512, series=1)
    generator = np.random.default_rng(1)
    rows, columns = np.mgrid[-256:256, -256:256]
    body = np.where((rows / 170) ** 2 + (columns / 230) ** 2 < 1, 1064.0, 24.0)
    encoded = []
    for number, path in enumerate(paths):
        data = dcmread(path)
        if number < _DIFFERENT:
            noisy = np.clip(body + 100 * np.sin(rows / (9 + number)) + generator.normal(0, 20, body.shape), 0, 4095)
            data.compress(JPEG2000Lossless, noisy.astype(np.uint16), generate_instance_uid=False)
            encoded.append(data.PixelData)
        data.PixelData = encoded[number % _DIFFERENT]
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = JPEG2000Lossless
        data.save_as(path, enforce_file_format=True)
    return paths


@contextmanager
def gateway(data: Path) -> Iterator[HttpGateway]:
    running = HttpGateway(data, develop=False)
    try:
        yield running
    finally:
        running.stop()


class Measured:
    """Milliseconds by what was measured."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {}

    def take(self, name: str, call: Callable[[], object]) -> None:
        begin = time.perf_counter()
        call()
        self.found.setdefault(name, []).append(1000 * (time.perf_counter() - begin))

    def show(self) -> None:
        print("| what | median ms | slowest ms |\n|---|---|---|")
        for name, times in self.found.items():
            print(f"| {name} | {statistics.median(times):.0f} | {max(times):.0f} |")


def over_http(data: Path, study: str, series: str, sop: str, measured: Measured) -> None:
    """Measure single requests, each as the first of a gateway."""
    of_series = f"/studies/{study}/series/{series}"
    picture = f"{of_series}/instances/{sop}"

    def get(running: HttpGateway, path: str, accept: str = "*/*") -> None:
        answer = running.client.get(path, headers={"Accept": accept})
        assert answer.status_code == 200, answer.text

    octets = 'multipart/related; type="application/octet-stream"'
    with gateway(data) as running:
        measured.take("rendered frame, first request of all", lambda: get(running, f"{picture}/rendered"))
        measured.take("rendered frame, later", lambda: get(running, f"{picture}/rendered"))
    with gateway(data) as running:
        get(running, f"{running.url}/ui/")
        time.sleep(_A_LOOK)
        measured.take("rendered frame, after the worklist", lambda: get(running, f"{picture}/rendered"))
    with gateway(data) as running:
        get(running, f"{running.url}/ui/")
        time.sleep(_A_LOOK)
        measured.take("metadata of the series, first", lambda: get(running, f"{of_series}/metadata"))
        measured.take("metadata of the series, later", lambda: get(running, f"{of_series}/metadata"))
        measured.take("decoded frame, first", lambda: get(running, f"{picture}/frames/1", octets))
        measured.take("decoded frame, later", lambda: get(running, f"{picture}/frames/1", octets))
        children = psutil.Process(running.process.pid).children()
        print("gateway", psutil.Process(running.process.pid).memory_full_info().uss >> 20, "MiB,", end=" ")
        print("children", [child.memory_full_info().uss >> 20 for child in children], "MiB")


def in_browser(data: Path, study: str, series: str, page: Page, measured: Measured) -> None:
    """Measure from the click to the picture on the screen, in the built-in viewer."""
    with gateway(data) as running:
        page.goto(f"{running.url}/ui/")
        time.sleep(_A_LOOK)

        def click() -> None:
            page.locator(f"a[href*='/ui/viewer?study={study}']").first.click()
            page.wait_for_selector(_PICTURE)

        measured.take("viewer, from the click in the worklist", click)
        page.goto(f"{running.url}/ui/")
        measured.take("viewer, a second time", click)
    with gateway(data) as running:

        def bookmark() -> None:
            page.goto(f"{running.url}/ui/viewer?study={study}&series={series}")
            page.wait_for_selector(_PICTURE)

        measured.take("viewer, by its address as the first request of all", bookmark)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    measured = Measured()
    with TemporaryDirectory() as folder:
        paths = write(Path(folder, "files"))
        data = Path(folder, "data")
        one = dcmread(paths[0], stop_before_pixels=True)
        with gateway(data) as running:
            for path in paths:
                body, kind = path.read_bytes(), {"Content-Type": "application/dicom"}
                assert running.client.post("/studies", content=body, headers=kind).status_code == 200
            assert not running.ingest().failed
        print(f"{COUNT} instances, {paths[0].stat().st_size >> 10} KiB each")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
            for _ in range(rounds):
                over_http(data, one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID, measured)
                context = browser.new_context(viewport=SIZE)
                in_browser(data, one.StudyInstanceUID, one.SeriesInstanceUID, context.new_page(), measured)
                context.close()
            browser.close()
    measured.show()


if __name__ == "__main__":
    main()
