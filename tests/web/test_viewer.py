"""The built-in viewer in a real Chromium, on real files: what is on the canvas is what the standard says."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from playwright.sync_api import Browser, Page, expect
from pydicom.pixels import apply_color_lut, apply_rescale

from tests.support.browser import Watched, browser, filled, watched
from tests.support.http_gateway import HttpGateway
from tests.support.real_files import real_file, real_files

__all__ = ["browser"]

GREY = ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm"]
COLOUR = ["examples_rgb_color.dcm", "examples_ybr_color.dcm", "examples_palette.dcm"]
STACK = sorted(path for path in real_files() if path.parts[-3:-1] == ("98892001", "CT5N"))
NOT_A_PICTURE = next(path for path in real_files() if path.name == "IM000000" and "TINY_ALPHA" in path.parts)
PICTURE = "#picture[aria-label^='Picture ']:not([hidden])"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(tmp_path_factory.mktemp("viewer"), develop=False)
    try:
        yield filled(gateway, [*(real_file(name) for name in GREY + COLOUR), *STACK, NOT_A_PICTURE])
    finally:
        gateway.stop()


@pytest.fixture
def view(browser: Browser, archive: HttpGateway) -> Iterator[Watched]:
    with watched(browser, archive.url) as page:
        yield page
        assert page.errors == []
        assert page.strangers == []


def open_viewer(page: Page, file: Path, shown: str = PICTURE) -> pydicom.Dataset:
    data = pydicom.dcmread(file)
    page.goto(f"/ui/viewer?study={data.StudyInstanceUID}&series={data.SeriesInstanceUID}")
    page.wait_for_selector(shown)
    return data


def pixels(page: Page) -> np.ndarray:
    """Return what is on the canvas: rows, columns, RGB."""
    width, height, data = page.evaluate(
        """async () => {
          const canvas = document.getElementById("picture");
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const reader = new FileReader();
          await new Promise((done) => { reader.onload = done; reader.readAsDataURL(new Blob([data])); });
          return [canvas.width, canvas.height, reader.result.split(",")[1] ];
        }"""
    )
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3].astype(int)


def shades(data: pydicom.Dataset, low: float, high: float) -> np.ndarray:
    """Return the values of an image as greys, the ends of the window at 0 and 255."""
    values = apply_rescale(data.pixel_array, data).astype(float)
    return np.clip((values - low) / (high - low), 0, 1) * 255


@pytest.mark.parametrize("name", GREY)
def test_greys_are_those_of_rescale_and_window(view: Watched, name: str) -> None:
    data = open_viewer(view.page, real_file(name))
    values = apply_rescale(data.pixel_array, data)
    centre, width = {
        "CT_small.dcm": (40, 400),  # without a window of its own a CT begins with soft tissue
        "MR_small.dcm": (data.get("WindowCenter"), data.get("WindowWidth")),
        "JPEG2000.dcm": (None, None),
    }[name]
    # PS3.3 C.11.2.1.2.1, with both ends of the ramp written out.
    ends = (values.min(), values.max())
    if centre is not None:
        ends = (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    shown = pixels(view.page)
    assert np.ptp(shown) > 200
    assert np.abs(shown - shades(data, *ends)[..., None]).max() <= 1


@pytest.mark.parametrize("name", COLOUR)
def test_colours_are_those_of_the_file(view: Watched, name: str) -> None:
    data = open_viewer(view.page, real_file(name))
    expected = data.pixel_array
    if data.PhotometricInterpretation == "PALETTE COLOR":
        expected = apply_color_lut(expected, data) >> 8
    if expected.ndim == 4:
        expected = expected[0]
    assert np.abs(pixels(view.page) - expected).max() <= 1
    assert view.page.locator("#presets").is_disabled()


def test_from_the_worklist_to_the_picture(view: Watched) -> None:
    page = view.page
    data = pydicom.dcmread(real_file("CT_small.dcm"))
    page.goto(f"/ui/?q={data.PatientID}")
    page.locator(f"a[href*='/ui/viewer?study={data.StudyInstanceUID}']").first.click()
    page.wait_for_selector(PICTURE)
    assert np.ptp(pixels(page)) > 200
    expect(page.locator("#top-left")).to_contain_text(str(data.PatientID))
    expect(page.locator("#series button[aria-current=true] img")).to_have_js_property("complete", True)


def test_scrolling_goes_through_the_stack_in_the_order_of_space(view: Watched) -> None:
    page = view.page
    open_viewer(page, STACK[0])
    where = page.locator("#bottom-left")
    stage = page.locator("#stage")
    stage.hover()
    first = pixels(page)
    page.mouse.wheel(0, 120)
    expect(where).to_contain_text("2 / 5")
    assert (pixels(page) != first).any()
    page.keyboard.press("ArrowDown")
    expect(where).to_contain_text("3 / 5")
    page.keyboard.press("End")
    expect(where).to_contain_text("5 / 5")
    page.locator("#slider").fill("4")
    expect(where).to_contain_text("4 / 5")
    page.keyboard.press("Home")
    expect(where).to_contain_text("1 / 5")
    assert (pixels(page) == first).all()
    depths = []
    for number in range(1, 6):
        expect(where).to_contain_text(f"{number} / 5")
        depths.append(float(where.inner_text().split("Position ")[1].split(" mm")[0]))
        page.keyboard.press("ArrowDown")
    assert depths in (sorted(depths), sorted(depths, reverse=True))
    assert len(set(depths)) == len(STACK) == 5


def test_window_zoom_invert_and_reset(view: Watched) -> None:
    page = view.page
    data = open_viewer(page, real_file("CT_small.dcm"))
    before = pixels(page)
    box = page.locator("#stage").bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    # What lies under the pointer is named with its value.
    row, column = data.Rows // 2, data.Columns // 2
    values = apply_rescale(data.pixel_array, data)
    near = {f"({x}, {y}) {values[y, x]:.0f} HU" for y in (row - 1, row) for x in (column - 1, column)}
    assert page.locator("#bottom-right").inner_text().split("\n")[0] in near
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 40, steps=4)
    page.mouse.up()
    expect(page.locator("#presets option:checked")).to_contain_text("Set by hand")
    assert (pixels(page) != before).any()
    page.keyboard.press("r")
    assert (pixels(page) == before).all()
    page.keyboard.press("i")
    assert (pixels(page) == 255 - before).all()
    page.keyboard.press("r")
    page.locator("#presets").select_option(label="Lung  -600 / 1500")
    assert np.abs(pixels(page) - shades(data, -1350, 149)[..., None]).max() <= 1
    narrow = page.locator("#picture").bounding_box()
    page.keyboard.press("+")
    wide = page.locator("#picture").bounding_box()
    assert narrow is not None
    assert wide is not None
    assert wide["width"] == pytest.approx(1.25 * narrow["width"], rel=0.01)


def test_many_frames_play(view: Watched) -> None:
    page = view.page
    open_viewer(page, real_file("examples_ybr_color.dcm"))
    where = page.locator("#bottom-left")
    expect(where).to_contain_text("1 / 30")
    first = pixels(page)
    page.get_by_role("button", name="Play").click()
    expect(where).not_to_contain_text("1 / 30")
    page.get_by_role("button", name="Stop").click()
    page.keyboard.press("End")
    expect(where).to_contain_text("30 / 30")
    assert (pixels(page) != first).any()


def test_the_keys_are_listed(view: Watched) -> None:
    open_viewer(view.page, real_file("MR_small.dcm"))
    view.page.keyboard.press("?")
    expect(view.page.get_by_role("dialog", name="Keys")).to_be_visible()
    view.page.keyboard.press("Escape")
    expect(view.page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_what_cannot_be_shown_says_why(browser: Browser, archive: HttpGateway) -> None:
    with watched(browser, archive.url) as view:
        open_viewer(view.page, NOT_A_PICTURE, "#problem:not([hidden])")
        expect(view.page.get_by_role("alert")).to_contain_text("The object holds no picture")
        view.page.goto("/ui/viewer?study=1.2.3.4")
        expect(view.page.get_by_role("alert")).to_contain_text("The archive has no such study")
        view.page.goto("/ui/viewer")
        expect(view.page.get_by_role("heading", name="No study is named")).to_be_visible()


def test_the_first_picture_is_there_within_a_second(view: Watched) -> None:
    # The aim is 1 s; of three looks the best counts, since the machine does other things, too.
    took = []
    for _ in range(3):
        view.page.goto("about:blank")
        started = time.monotonic()
        open_viewer(view.page, real_file("CT_small.dcm"))
        took.append(time.monotonic() - started)
    assert min(took) < 1, took
