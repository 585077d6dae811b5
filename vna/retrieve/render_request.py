"""What a client asks of a picture: the rendering parameters of PS3.18 8.3.5, read and checked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from vna.domain.errors import InvalidInputError

LARGEST_SIDE = 8192
"""Most columns or rows of a viewport."""

FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "linear_exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
ANNOTATIONS = frozenset({"patient", "technique"})
PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb")
"""Values of ``iccprofile``."""
_NUMBER = re.compile(r"[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,2})?")


@dataclass(frozen=True, slots=True)
class Window:
    """A window (PS3.3 C.11.2.1.2) in the values that the Modality LUT gives."""

    centre: float
    width: float
    function: str = "LINEAR"

    @property
    def usable(self) -> bool:
        """Whether its width is one that the function is defined for."""
        numbers = math.isfinite(self.centre) and math.isfinite(self.width)
        return numbers and (self.width >= 1 if self.function == "LINEAR" else self.width > 0)


@dataclass(frozen=True, slots=True)
class Viewport:
    """What of the image is shown, and how large (PS3.18 8.3.5.1.3).

    ``width`` and ``height`` are those of the picture, 0 for as the image has
    them; the region is in pixels of the image, ``region_width`` and
    ``region_height`` ``None`` for all that is there, negative to flip.
    """

    width: int = 0
    height: int = 0
    left: float = 0
    top: float = 0
    region_width: float | None = None
    region_height: float | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """All that a picture depends on beside the instance; ``overlays``: whether overlay planes lie over it."""

    media: str = "image/jpeg"
    window: Window | None = None
    viewport: Viewport = Viewport()
    quality: int = 90
    annotation: tuple[str, ...] = ()
    profile: str = "no"
    overlays: bool = False


def number(text: str, what: str) -> float:
    """Read a number; raises ``InvalidInputError`` that says what it is of."""
    if not _NUMBER.fullmatch(text.strip()):
        raise InvalidInputError(f"{what}: {text[:60]!r} is no number")
    return float(text)


def whole(text: str, what: str, least: int, most: int) -> int:
    """Read a whole number within limits."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise InvalidInputError(f"{what}: {text[:60]!r} is no whole number from {least} to {most}")
    return int(text)


def window_of(centre: float, width: float, function: str) -> Window:
    """Return a window; raises ``InvalidInputError`` for a width that its function has no meaning for."""
    window = Window(centre, width, function)
    if not window.usable:
        least = "at least 1" if function == "LINEAR" else "greater than 0"
        raise InvalidInputError(f"window: its width is to be {least} (PS3.3 C.11.2.1.2), not {width:g}")
    return window


def parse_window(text: str) -> Window:
    """Read ``window=center,width,function`` (PS3.18 8.3.5.1.4)."""
    parts = text.split(",")
    if len(parts) != 3:
        raise InvalidInputError(f"window: {text[:60]!r} is not center,width,function")
    name = parts[2].strip().lower()
    if name not in FUNCTIONS:
        raise InvalidInputError(f"window: {name[:60]!r} is not linear, linear-exact or sigmoid")
    return window_of(number(parts[0], "window center"), number(parts[1], "window width"), FUNCTIONS[name])


def parse_viewport(text: str) -> Viewport:
    """Read ``viewport=vw,vh[,sx,sy,sw,sh]`` (PS3.18 8.3.5.1.3); values of the region may be left empty."""
    parts = [part.strip() for part in text.split(",")]
    if not 2 <= len(parts) <= 6:
        raise InvalidInputError(f"viewport: {text[:60]!r} is not vw,vh or vw,vh,sx,sy,sw,sh")
    width, height = (whole(part, "viewport", 1, LARGEST_SIDE) for part in parts[:2])
    region: list[float | None] = [
        number(part, "viewport") if part else None for part in parts[2:] + [""] * (6 - len(parts))
    ]
    left, top, region_width, region_height = region
    if (left or 0) < 0 or (top or 0) < 0:
        raise InvalidInputError("viewport: sx and sy are not to be negative")
    if region_width == 0 or region_height == 0:
        raise InvalidInputError("viewport: sw and sh are not to be 0")
    return Viewport(width, height, left or 0, top or 0, region_width, region_height)


def parse_annotation(text: str) -> tuple[str, ...]:
    """Read ``annotation=patient,technique`` (PS3.18 8.3.5.1.1)."""
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    if wrong := [name for name in names if name not in ANNOTATIONS]:
        raise InvalidInputError(f"annotation: {wrong[0][:60]!r} is not patient or technique")
    return names


def parse_profile(text: str) -> str:
    """Read ``iccprofile`` (PS3.18 8.3.5.1.5)."""
    if text not in PROFILES:
        raise InvalidInputError(f"iccprofile: {text[:60]!r} is none of {', '.join(PROFILES)}")
    return text


def parse_size(text: str) -> Viewport:
    """Read ``viewport=vw,vh``, which is all that there is for a thumbnail (PS3.18 8.3.5.1.3, 8.3.5.2)."""
    if text.count(",") != 1:
        raise InvalidInputError(f"viewport: {text[:60]!r} is not vw,vh: a thumbnail is of the whole image")
    return parse_viewport(text)


def parse_quality(text: str) -> int:
    """Read ``quality`` (PS3.18 8.3.5.1.2): 1 to 100."""
    return whole(text, "quality", 1, 100)
