"""ICC profiles in pictures (PS3.18 8.3.5.1.5). Runs in a limited child process."""

from __future__ import annotations

import io
import struct
from functools import cache

from PIL import Image, ImageCms

_D50 = (0.9642, 1.0, 0.8249)
# Colorants adapted to D50, and gamma: Adobe RGB (1998) 4.3, ISO 22028-2 (ROMM RGB).
_SPACES = {
    "adobergb": (((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)), 563 / 256),
    "rommrgb": (((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)), 1.8),
}


def with_profile(image: Image.Image, wanted: str, source: bytes) -> tuple[Image.Image, bytes]:
    """Return a picture in the colour space that is asked for, and the profile to embed.

    Parameters
    ----------
    image
        Greys or red, green and blue.
    wanted
        ``yes``, ``srgb``, ``adobergb`` or ``rommrgb``.
    source
        ICC profile of the image's attributes, empty if it has none: it is taken for sRGB then, as it is when the
        profile is none of red, green and blue.
    """
    colour = image.convert("RGB")
    own = source if image.mode == "RGB" and _is_rgb(source) else b""
    if wanted == "yes":
        return colour, own or _profile("srgb")
    target = _profile(wanted)
    if own or wanted != "srgb":
        before, after = (_opened(data) for data in (own or _profile("srgb"), target))
        made = ImageCms.profileToProfile(colour, before, after)
        assert made is not None  # nothing is done in place
        colour = made
    return colour, target


def _opened(data: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(data))


def _is_rgb(data: bytes) -> bool:
    try:
        return bool(data) and _opened(data).profile.xcolor_space.strip() == "RGB"
    except (OSError, ImageCms.PyCMSError):
        return False


@cache
def _profile(name: str) -> bytes:
    if name == "srgb":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colorants, gamma = _SPACES[name]
    title = name.encode()
    described = b"desc" + bytes(4) + struct.pack(">I", len(title) + 1) + title + bytes(1 + 8 + 3 + 67)
    tags = [(b"desc", described), (b"cprt", b"text" + bytes(4) + b"CC0\0"), (b"wtpt", _xyz(_D50))]
    tags += [(channel + b"XYZ", _xyz(value)) for channel, value in zip((b"r", b"g", b"b"), colorants, strict=True)]
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    return _written([*tags, *((channel + b"TRC", curve) for channel in (b"r", b"g", b"b"))])


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(value)


def _fixed(value: tuple[float, float, float]) -> bytes:
    return struct.pack(">3i", *(round(part * 65536) for part in value))


def _written(tags: list[tuple[bytes, bytes]]) -> bytes:
    """Return a profile of version 2.4 (ISO 15076-1 7) with these tags: a display of red, green and blue."""
    place = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags:
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI", place + len(body), 0x02400000) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(_D50) + bytes(48)
    return head + table + body
