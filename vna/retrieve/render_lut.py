"""The steps from stored values to grey and colour (PS3.3 C.11.1, C.11.2, C.11.6, C.7.6.3.1.5; PS3.4 N.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vna.domain.errors import UnsupportedError
from vna.retrieve.render_attributes import Lut, Palette
from vna.retrieve.render_request import Window

Values = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

_STRIP = 1 << 20
_LONGEST = 65536


def lut_values(lut: Lut) -> Array:
    """Return the entries of a lookup table (PS3.3 C.11.1.1.1)."""
    data = lut.data
    if lut.bits <= 8 and len(data) in {lut.entries, lut.entries + lut.entries % 2}:
        return np.frombuffer(data, np.uint8)[: lut.entries]
    values = np.frombuffer(data[: len(data) // 2 * 2], "<u2")[: lut.entries]
    if not len(values):
        raise UnsupportedError("a lookup table of the instance is empty")
    return values


def look_up(lut: Lut, values: Array) -> Values:
    """Map values by a lookup table; below its first and above its last entry these are taken."""
    table = lut_values(lut)
    index = np.clip(np.rint(values) - lut.first, 0, len(table) - 1).astype(np.int64)
    return np.asarray(table[index], np.float64)


def modality(values: Array, slope: float, intercept: float, lut: Lut | None) -> Values:
    """Apply the Modality LUT (PS3.3 C.11.1)."""
    if lut is not None:
        return look_up(lut, values)
    return values.astype(np.float64) * slope + intercept


def windowed(values: Values, window: Window) -> Values:
    """Apply a window (PS3.3 C.11.2.1.2, C.11.2.1.3); the result lies between 0 and 1."""
    centre, width = window.centre, window.width
    if window.function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)), np.float64)
    if window.function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    centre, width = centre - 0.5, width - 1
    if width <= 0:
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0, 1)


def voi_lut(values: Values, lut: Lut) -> Values:
    """Apply a VOI LUT (PS3.3 C.11.2.1.1); the result lies between 0 and 1."""
    return np.clip(look_up(lut, values) / ((1 << lut.bits) - 1), 0, 1)


def stretched(values: Values, least: float, most: float) -> Values:
    """Spread what there is over all greys, where the instance asks for no window."""
    if most <= least:
        return np.zeros_like(values)
    return np.clip((values - least) / (most - least), 0, 1)


@dataclass(frozen=True, slots=True)
class Extent:
    """The least and the greatest stored value of a frame, the padding left out (PS3.3 C.7.5.1.1.2)."""

    least: float
    most: float

    @classmethod
    def of(cls, pixels: Array, padding: tuple[float, float] | None) -> Extent:
        """Find them."""
        flat = pixels.reshape(-1)
        least, most = np.inf, -np.inf
        for start in range(0, flat.size, _STRIP):
            part = flat[start : start + _STRIP]
            if padding is not None:
                part = part[(part < padding[0]) | (part > padding[1])]
            if part.dtype.kind == "f":
                part = part[np.isfinite(part)]
            if part.size:
                least, most = min(least, float(part.min())), max(most, float(part.max()))
        return cls(least, most) if least <= most else cls(0.0, 0.0)


def palette_table(palette: Palette) -> npt.NDArray[np.uint8]:
    """Return red, green and blue of every entry (PS3.3 C.7.6.3.1.5, C.7.9.2)."""
    channels = []
    for lut in palette.channels:
        if palette.segmented:
            values = np.array(_segments(lut), np.int64)[: lut.entries]
        else:
            values = lut_values(lut).astype(np.int64)
        if not len(values):
            raise UnsupportedError("the palette of the instance is empty")
        # Some writers say 16 bits and fill eight of them.
        if lut.bits > 8 and values.max() > 255:
            values = values >> 8
        channels.append(values.astype(np.uint8))
    length = min(len(channel) for channel in channels)
    return np.stack([channel[:length] for channel in channels], axis=-1)


def coloured(pixels: Array, palette: Palette) -> npt.NDArray[np.uint8]:
    """Map indices to colours."""
    table = palette_table(palette)
    index = np.clip(pixels.astype(np.int64) - palette.channels[0].first, 0, len(table) - 1)
    return table[index]


def _segments(lut: Lut) -> list[int]:
    """Expand segmented palette data (PS3.3 C.7.9.2): discrete, linear and indirect segments."""
    data = lut.data
    words = list(data) if lut.bits <= 8 else np.frombuffer(data[: len(data) // 2 * 2], "<u2").tolist()
    result: list[int] = []
    _expand(words, 0, None, result, lut, indirect=True)
    return result


def _expand(words: list[int], at: int, count: int | None, result: list[int], lut: Lut, *, indirect: bool) -> None:
    most = min(lut.entries, _LONGEST)
    while at + 1 < len(words) and len(result) < most and (count is None or count > 0):
        kind, length = words[at], words[at + 1]
        if kind == 0:
            result += words[at + 2 : at + 2 + length]
            at += 2 + length
        elif kind == 1 and result and at + 2 < len(words):
            start, end = result[-1], words[at + 2]
            result += [round(start + (end - start) * step / length) for step in range(1, length + 1)]
            at += 3
        elif kind == 2 and indirect:
            # The offset has 32 bits: two words, or four bytes.
            size = 2 if lut.bits > 8 else 4
            offset = sum(word << (32 // size * place) for place, word in enumerate(words[at + 2 : at + 2 + size]))
            _expand(words, offset, length, result, lut, indirect=False)
            at += 2 + size
        else:
            raise UnsupportedError("the segmented palette of the instance is broken")
        count = None if count is None else count - 1
