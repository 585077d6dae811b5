"""From the bytes of frames to a picture. Runs in a limited child process, so it may import what it likes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vna.dicom.decode import frame_array
from vna.domain.errors import InvalidInputError, UnsupportedError
from vna.retrieve.overlays import Overlay
from vna.retrieve.render_attributes import Display
from vna.retrieve.render_job import Picture
from vna.retrieve.render_lut import Array, Extent, Values, coloured, modality, stretched, voi_lut, windowed
from vna.retrieve.render_request import Options, Viewport, Window

Bytes = npt.NDArray[np.uint8]

_STRIP = 1 << 20


def pixels_of(data: bytes, picture: Picture) -> tuple[Array, str]:
    """Return a frame's stored values, colour as RGB by pixel, and the photometric interpretation they are in now."""
    array, made = frame_array(data, picture.transfer_syntax, picture.image, keyword=picture.keyword)
    return array, str(made["photometric_interpretation"])


def picture(job: Picture) -> bytes:
    """Return the file of a picture, of several frames an animation."""
    images = [_drawn(data, job, number) for number, data in enumerate(job.frames)]
    more: dict[str, Any] = {}
    if job.options.profile != "no":
        # Seldom asked for, and colour management takes its part of the memory that there is for a picture.
        from vna.retrieve.render_profile import with_profile

        images[0], profile = with_profile(images[0], job.options.profile, job.profile)
        more = {"icc_profile": profile}
    return _encoded(images, job.options, job.milliseconds, **more)


def _drawn(data: bytes, job: Picture, number: int) -> Image.Image:
    array, photometric = pixels_of(data, job)
    shown = grey_or_colour(array, photometric, job.displays[number], job.options.window)
    for overlay in job.displays[number].overlays:
        shown = _overlaid(shown, overlay)
    image = _placed(Image.fromarray(shown), job.options.viewport)
    if job.texts:
        _write(image, job.texts)
    return image


def grey_or_colour(array: Array, photometric: str, display: Display, window: Window | None) -> Bytes:
    """Return what is to be seen: rows by columns of greys, or of red, green and blue."""
    if photometric == "PALETTE COLOR":
        if display.palette is None:
            raise UnsupportedError("the instance is of palette colour and has no palette")
        return coloured(array, display.palette)
    if array.ndim == 3 and array.shape[2] == 3:
        return _eight_bits(array)
    if array.ndim != 2:
        raise UnsupportedError(f"images of {array.shape[-1]} samples a pixel ({photometric}) are not shown")
    return _grey(array, display, window)


def _overlaid(shown: Bytes, overlay: Overlay) -> Bytes:
    """Draw a plane, as bright as can be (PS3.3 C.9.2); what of it lies beside the image is left out."""
    first, count = overlay.start, overlay.rows * overlay.columns
    packed = np.frombuffer(overlay.data, np.uint8)[first // 8 : (first + count + 7) // 8]
    bits = np.unpackbits(packed, bitorder="little")[first % 8 :][:count].reshape(overlay.rows, overlay.columns)
    rows, columns = shown.shape[:2]
    top, left = max(0, overlay.top), max(0, overlay.left)
    down, across = max(0, rows - overlay.top), max(0, columns - overlay.left)
    seen = bits[top - overlay.top : down, left - overlay.left : across]
    shown = shown.copy()
    shown[top : top + seen.shape[0], left : left + seen.shape[1]][seen == 1] = 255
    return shown


def _eight_bits(array: Array) -> Bytes:
    if array.dtype == np.uint8:
        return cast("Bytes", array)
    if array.dtype.kind == "u":
        return cast("Bytes", (array >> (array.dtype.itemsize * 8 - 8)).astype(np.uint8))
    raise UnsupportedError("colour of signed or real numbers is not shown")


def _grey(array: Array, display: Display, window: Window | None) -> Bytes:
    extent = None
    if window is None and display.window is None and display.voi_lut is None:
        extent = Extent.of(array, display.padding)

    def show(stored: Array) -> Bytes:
        return _shown(stored, display, window, extent)

    if array.dtype.kind in "ui" and array.dtype.itemsize <= 2:
        # Every value that there can be goes through the steps once, and not every pixel.
        kind = np.dtype(f"u{array.dtype.itemsize}")
        every = np.arange(1 << (8 * kind.itemsize), dtype=kind).view(array.dtype.newbyteorder("="))
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        return cast("Bytes", show(every)[native.view(kind)])
    result = np.empty(array.shape, np.uint8)
    rows = max(1, _STRIP // max(1, array.shape[1]))
    for start in range(0, array.shape[0], rows):
        result[start : start + rows] = show(array[start : start + rows])
    return result


def _shown(stored: Array, display: Display, window: Window | None, extent: Extent | None) -> Bytes:
    values = modality(stored, display.slope, display.intercept, display.modality_lut)
    window = window or display.window
    if window is not None:
        grey: Values = windowed(values, window)
    elif display.voi_lut is not None:
        grey = voi_lut(values, display.voi_lut)
    else:
        assert extent is not None
        ends = np.array([extent.least, extent.most])
        ends = np.sort(modality(ends, display.slope, display.intercept, display.modality_lut))
        grey = stretched(values, float(ends[0]), float(ends[1]))
    grey = np.nan_to_num(grey, nan=0.0)
    if display.inverted:
        grey = 1 - grey
    return cast("Bytes", np.rint(grey * 255).astype(np.uint8))


def _placed(image: Image.Image, viewport: Viewport) -> Image.Image:
    """Cut out the region and scale it to fit, its proportions kept (PS3.18 8.3.5.1.3)."""
    columns, rows = image.size
    left, top = viewport.left, viewport.top
    across = columns - left if viewport.region_width is None else viewport.region_width
    down = rows - top if viewport.region_height is None else viewport.region_height
    right, bottom = left + abs(across), top + abs(down)
    if left >= columns or top >= rows or right > columns or bottom > rows:
        size_of = f"{columns} columns and {rows} rows"
        raise InvalidInputError(f"viewport: the region is not within the image, which has {size_of}")
    if not viewport.width and not viewport.height:
        factor = 1.0
    else:
        width, height = viewport.width or float("inf"), viewport.height or float("inf")
        factor = min(width / (right - left), height / (bottom - top))
    size = max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor))
    # What is outside of the region does not shine into it: it is cut out before anything is scaled.
    corner = math.floor(left), math.floor(top)
    image = image.crop((*corner, math.ceil(right), math.ceil(bottom)))
    box = (left - corner[0], top - corner[1], right - corner[0], bottom - corner[1])
    if size != image.size or box != (0, 0, *image.size):
        filter_ = Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC
        image = image.resize(size, filter_, box)
    if across < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if down < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def _write(image: Image.Image, texts: Sequence[str]) -> None:
    """Write lines into the upper left corner, light with a dark edge so that they are read on any ground."""
    size = max(9, min(24, image.height // 28))
    font = ImageFont.load_default(size)
    light: Any = 255 if image.mode == "L" else (255, 255, 255)
    dark: Any = 0 if image.mode == "L" else (0, 0, 0)
    draw = ImageDraw.Draw(image)
    for number, text in enumerate(texts):
        place = (size // 2, size // 2 + number * (size + size // 4))
        draw.text(place, text, fill=light, font=font, stroke_width=1, stroke_fill=dark)


def _encoded(images: Sequence[Image.Image], options: Options, milliseconds: int, **more: Any) -> bytes:
    result = io.BytesIO()
    first = images[0]
    if options.media == "image/jpeg":
        first.save(result, "JPEG", quality=options.quality, **more)
    elif options.media == "image/png":
        first.save(result, "PNG", compress_level=1, **more)
    elif len(images) == 1:
        first.save(result, "GIF")
    else:
        first.save(result, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0)
    return result.getvalue()
