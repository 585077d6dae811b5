"""What of a data set decides how a frame is shown, found in the data set or its functional groups (PS3.3 C.7.6.16)."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vna.domain.records import Attributes
from vna.ingest.document import Metadata
from vna.retrieve.overlays import Overlay, overlays
from vna.retrieve.render_request import Window
from vna.retrieve.values import ValueReader

_SHARED, _PER_FRAME = "52009229", "52009230"
_MOST_LUT_BYTES = 1 << 18
_MOST_PROFILE_BYTES = 1 << 23


@dataclass(frozen=True, slots=True)
class Lut:
    """A lookup table: its descriptor and its data as little endian words, or bytes (PS3.3 C.11.1.1)."""

    entries: int
    first: int
    bits: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Palette:
    """Lookup tables for red, green and blue (PS3.3 C.7.9)."""

    channels: tuple[Lut, Lut, Lut]
    segmented: bool


@dataclass(frozen=True, slots=True)
class Display:
    """How one frame is shown, unless the client asks for another window."""

    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: Lut | None = None
    window: Window | None = None
    voi_lut: Lut | None = None
    inverted: bool = False
    palette: Palette | None = None
    padding: tuple[float, float] | None = None
    overlays: tuple[Overlay, ...] = ()


class DisplayReader:
    """Reads how the frames of an instance are shown.

    Parameters
    ----------
    metadata
        Of the instance.
    reader
        Reads lookup tables that are bulk values.
    """

    def __init__(self, metadata: Metadata, reader: ValueReader) -> None:
        self._header = metadata.header
        self._attributes = metadata.header.attributes
        self._reader = reader
        self._signed = bool(_first(self._attributes, "00280103"))

    def of(self, frame: int, *, overlaid: bool = False) -> Display:
        """Return how a frame is shown, by its number from 1; with what lies over it if wanted."""
        transformation = self._group(frame, "00289145")
        slope = _float(_first(transformation, "00281053"), 1.0)
        intercept = _float(_first(transformation, "00281052"), 0.0)
        photometric = str(_first(self._attributes, "00280004") or "").strip()
        shape = str(_first(self._attributes, "20500020") or "").strip()
        return Display(
            slope=slope,
            intercept=intercept,
            modality_lut=self._lut(_item(transformation, "00283000"), self._signed),
            window=self._window(frame),
            voi_lut=self._lut(_item(self._group(frame, "00289132"), "00283010"), self._signed or intercept < 0),
            # PS3.3 C.11.6.1.2: INVERSE says of MONOCHROME1 what it says itself.
            inverted=photometric == "MONOCHROME1" or shape == "INVERSE",
            palette=self._palette() if photometric == "PALETTE COLOR" else None,
            padding=self._padding(),
            overlays=tuple(overlays(self._attributes, self._bytes, frame)) if overlaid else (),
        )

    def profile(self) -> bytes:
        """Return the ICC Profile (0028,2000) of the image or of its first optical path; empty if there is none."""
        path = _item(self._attributes, "00480105")
        return self._bytes(self._attributes.get("00282000") or path.get("00282000"), _MOST_PROFILE_BYTES, unit=None)

    def _groups(self, frame: int, tag: str) -> Iterator[Attributes]:
        items = (self._attributes.get(_PER_FRAME) or {}).get("Value") or []
        if frame <= len(items):
            yield _item(items[frame - 1], tag)
        yield _item(_item(self._attributes, _SHARED), tag)
        yield self._attributes

    def _group(self, frame: int, tag: str) -> Attributes:
        """Return the macro of a frame, from its own or the shared functional groups, or the data set."""
        return next(group for group in self._groups(frame, tag) if group)

    def _window(self, frame: int) -> Window | None:
        group = self._group(frame, "00289132")
        centre, width = _first(group, "00281050"), _first(group, "00281051")
        if centre is None or width is None:
            return None
        function = str(_first(group, "00281056") or "LINEAR").strip()
        if function not in {"LINEAR", "LINEAR_EXACT", "SIGMOID"}:
            function = "LINEAR"
        window = Window(_float(centre, math.nan), _float(width, math.nan), function)
        return window if window.usable else None

    def _padding(self) -> tuple[float, float] | None:
        value = _first(self._attributes, "00280120")
        if value is None:
            value = _first(self._attributes, "00280122")
        if value is None:
            value = _first(self._attributes, "00280123")
        number = _float(value, math.nan)
        if math.isnan(number):
            return None
        limit = _float(_first(self._attributes, "00280121"), number)
        pair = [self._as_pixel(number), self._as_pixel(limit)]
        return min(pair), max(pair)

    def _as_pixel(self, number: float) -> float:
        bits = int(_float(_first(self._attributes, "00280100"), 16))
        return number - (1 << bits) if self._signed and bits <= 32 and number >= 1 << (bits - 1) else number

    def _palette(self) -> Palette | None:
        for first, segmented in ((0x00281221, True), (0x00281201, False)):
            channels = []
            for number in range(3):
                data = self._bytes(self._attributes.get(f"{first + number:08X}"))
                descriptor = self._attributes.get(f"{0x00281101 + number:08X}", {}).get("Value") or []
                if data and len(descriptor) == 3:
                    channels.append(_lut(descriptor, data, self._signed))
            if len(channels) == 3:
                red, green, blue = channels
                return Palette((red, green, blue), segmented)
        return None

    def _lut(self, item: Attributes, signed: bool) -> Lut | None:
        descriptor = item.get("00283002", {}).get("Value") or []
        data = self._bytes(item.get("00283006"))
        return _lut(descriptor, data, signed) if data and len(descriptor) == 3 else None

    def _bytes(self, field: dict[str, Any] | None, most: int = _MOST_LUT_BYTES, *, unit: int | None = 2) -> bytes:
        if not field:
            return b""
        if "InlineBinary" in field:
            return base64.b64decode(field["InlineBinary"])
        if "Value" in field:
            return b"".join(struct.pack("<H", int(value) & 0xFFFF) for value in field["Value"])
        bulk = self._header.bulk.get(field.get("BulkDataURI", ""))
        if bulk is None or bulk.encapsulated or bulk.length > most:
            return b""
        return b"".join(self._reader.read(bulk, unit=unit))


def _lut(descriptor: list[Any], data: bytes, signed: bool) -> Lut:
    entries, first, bits = (int(value) for value in descriptor)
    entries &= 0xFFFF
    if signed and first > 0x7FFF:
        first -= 0x10000
    return Lut(entries or 0x10000, first, min(16, max(1, bits & 0xFFFF)), data)


def _item(attributes: Attributes, tag: str) -> Attributes:
    items = (attributes.get(tag) or {}).get("Value") or [{}]
    return items[0] if isinstance(items[0], dict) else {}


def _first(attributes: Attributes, tag: str) -> Any:
    values = (attributes.get(tag) or {}).get("Value") or [None]
    return values[0]


def _float(value: Any, default: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if math.isfinite(number) else default
