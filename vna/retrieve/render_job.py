"""What is handed to a limited child process: pictures to draw, frames to decode.

Small to import: the process that hands it over needs neither numpy nor a decoder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from vna.dicom.decode import Decoded, ImagePixel, decode_frame
from vna.retrieve.render_attributes import Display
from vna.retrieve.render_request import Options


class Job(ABC):
    """Something that a child does."""

    @abstractmethod
    def run(self) -> tuple[dict[str, Any], bytes]:
        """Do it, in the child; return facts that JSON can say, and bytes."""


@dataclass(frozen=True, slots=True)
class Picture(Job):
    """Frames to draw as one picture.

    Attributes
    ----------
    frames
        Bytes of each, compressed or native.
    transfer_syntax
        Of the frames; Explicit VR Little Endian for native ones.
    keyword
        Which of the attributes of pixel data they are of.
    image
        Their layout.
    displays
        How each is shown.
    options
        What the client asked for.
    texts
        Lines to write into it.
    milliseconds
        How long each is shown in an animation.
    profile
        ICC profile of the image, where one is to be in the picture and the image has one.
    """

    frames: tuple[bytes, ...]
    transfer_syntax: str
    keyword: str
    image: ImagePixel
    displays: tuple[Display, ...]
    options: Options
    texts: tuple[str, ...] = ()
    milliseconds: int = 100
    profile: bytes = b""

    def run(self) -> tuple[dict[str, Any], bytes]:
        """Draw it."""
        from vna.retrieve.render import picture

        return {}, picture(self)


@dataclass(frozen=True, slots=True)
class Decode(Job):
    """A compressed frame to decode."""

    data: bytes
    transfer_syntax: str
    image: ImagePixel

    def run(self) -> tuple[dict[str, Any], bytes]:
        """Decode it."""
        made = decode_frame(self.data, self.transfer_syntax, self.image)
        return {
            "photometric": made.photometric,
            "samples": made.samples,
            "bits_allocated": made.bits_allocated,
        }, made.data

    @staticmethod
    def result(facts: dict[str, Any], data: bytes) -> Decoded:
        """Return what was decoded of what the child returned."""
        return Decoded(data, str(facts["photometric"]), int(facts["samples"]), int(facts["bits_allocated"]))
