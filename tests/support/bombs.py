"""Frames that say they are far larger than they are."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def ramp() -> np.ndarray:
    return np.arange(64, dtype=np.uint8).reshape(8, 8)


def lying_frame(rows: int, columns: int) -> bytes:
    """A JPEG 2000 frame that says in its own header how large it is."""
    image = io.BytesIO()
    Image.fromarray(ramp()).save(image, "JPEG2000", no_jp2=True)
    frame = bytearray(image.getvalue())
    size = frame.index(b"\xff\x51") + 6
    for at, value in ((0, columns), (4, rows), (16, columns), (20, rows)):
        frame[size + at : size + at + 4] = value.to_bytes(4, "big")
    return bytes(frame)


BOMBS: dict[str, tuple[bytes, int, int]] = {
    "said by the data set": (lying_frame(60000, 60000), 60000, 60000),
    "said by the frame alone": (lying_frame(60000, 60000), 8, 8),
    "within the limit of pixels": (lying_frame(14000, 14000), 14000, 14000),
}
"""A frame, and the rows and columns that its data set says."""
